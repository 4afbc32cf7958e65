.DEFAULT_GOAL := help
.PHONY: help install test lint types verify benchmark notebooks experiments figures
PYTHON ?= python3
BIN := .venv/bin

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: ## make .venv and install the package with the test extras, at the pinned versions
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e '.[test]'

test: ## run the tests on two cores
	$(BIN)/pytest -n 2

lint: ## lint and format check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: ## type check
	$(BIN)/mypy

verify: ## check the paper's statements on real data (about four minutes)
	$(BIN)/kwta verify

experiments: ## run every experiment at the quick budget into results/ (under ten minutes)
	set -e; for script in experiments/*.py; do echo "$$script"; $(BIN)/python $$script --quiet; done

figures: experiments ## run them and put their figures into docs/
	mkdir -p docs/figures/experiments
	cp results/*/*.png docs/figures/experiments/
	$(BIN)/python docs/gallery.py

notebooks: ## execute the notebooks in place and keep their outputs
	$(BIN)/python notebooks/execute.py

benchmark: ## print the tables of speed and memory
	$(BIN)/python benchmarks/gram_against_dense.py
	$(BIN)/python benchmarks/peak_memory.py
