.DEFAULT_GOAL := help
.PHONY: help install test lint types verify benchmark notebooks experiments figures network-experiments
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

THEORY := $(filter-out experiments/table_% experiments/figure_%,$(wildcard experiments/*.py))
NETWORKS := $(wildcard experiments/table_*.py experiments/figure_*.py)

experiments: ## run every experiment of the theory at the quick budget into results/ (some ten minutes)
	set -e; for script in $(THEORY); do echo "$$script"; $(BIN)/python $$script --quiet; done

network-experiments: ## train, attack and draw the paper's tables and figures at the small scale (an hour)
	set -e; for script in $(NETWORKS); do echo "$$script"; $(BIN)/python $$script --scale small; done

figures: experiments ## run them and put their figures into docs/
	mkdir -p docs/figures/experiments
	for script in $(THEORY); do cp results/$$(basename $$script .py)/*.png docs/figures/experiments/; done
	$(BIN)/python docs/gallery.py

notebooks: ## execute the notebooks in place and keep their outputs
	$(BIN)/python notebooks/execute.py

benchmark: ## print the tables of speed and memory
	set -e; for script in benchmarks/*.py; do echo "$$script"; $(BIN)/python $$script; done
