"""The study's script: its plan, what it makes of networks that are finished, and how it ends."""

from __future__ import annotations

import csv
import functools
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from kwta_theory import campaign
from kwta_theory.campaign import Ledger, Moments, Tally
from kwta_theory.campaign.ledger import Chunk

PATH = Path(__file__).parents[2] / "experiments" / "density_and_robustness.py"


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("density_and_robustness", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.associations = functools.partial(module.associations, draws=200)  # sentences, not accuracy, are tested
    return module


def invented(task, random):
    """Numbers with a law: sparse networks have few boundaries; one suite leaves more of them, the other less."""
    kind, _, ratio = task.parameters["activation"].partition("-")
    sparse = float(ratio) if kind == "kwta" else 0.5
    numbers = {outcome.name: float(random.uniform(0.1, 1)) for outcome in task.outcomes}
    numbers |= {"clean": 0.95, "paper": 0.5 - 0.5 * sparse, "adaptive": 0.1 + 0.5 * sparse, "worst": 0.1}
    numbers["random_boundaries"] = 100 * sparse * (1 + 0.02 * random.uniform())
    numbers["random_jump"] = 0.0 if kind == "relu" else 1 / sparse
    if task.parameters["architecture"] == "smallcnn" and task.parameters["activation"] == "kwta-0.4":
        numbers["clean"] = 0.3
    return numbers


def fill(study, folder, keep=bool, seed=0):
    random = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    with Ledger(folder / "ledger.db") as ledger:
        tasks = study.plan()
        ledger.register(*tasks)
        for task in tasks:
            numbers = invented(task, random)
            if keep(task):
                tally = Tally(1, {}, {name: Moments.of([value]) for name, value in numbers.items()})
                ledger.record([(task, seed, Chunk(0, tally, 1.0))])
    return folder


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_plan_has_what_the_question_needs(study):
    tasks = study.plan()
    assert len(set(tasks)) == len(tasks) >= 24
    values = {name: {task.parameters[name] for task in tasks} for name in tasks[0].parameters}
    assert values["data"] == {"mnist"}
    assert {"natural", "at"} <= values["method"]
    assert len(values["width_factor"]) >= 3
    assert len(values["training_seed"]) == 3
    ratios = {float(name[5:]) for name in values["activation"] if name.startswith("kwta-")}
    assert min(ratios) < 0.0786 < 0.159 < max(ratios)
    assert {"relu", "lwta-2"} <= values["activation"]
    assert len(study.plan(1)) < len(tasks)


def test_finished_networks_become_tables_figures_and_sentences(study, tmp_path, capsys):
    folder = fill(study, tmp_path / "results")
    assert study.main(["--results", str(folder), "--quiet"]) == 0  # nothing is left to train
    said = capsys.readouterr().out
    assert "natural, MLP 256 (30 networks, 10 groups), left by the paper's suite" in said
    table = rows_of(folder / "density_and_robustness.csv")
    assert len(table) == len(study.plan())
    left_out = [row for row in table if row["learned"] == "False"]
    assert {(row["architecture"], row["activation"]) for row in left_out} == {("smallcnn", "kwta-0.4")}
    found = {
        (row["networks_of"], row["target"], row["statistic"]): row
        for row in rows_of(folder / "density_and_robustness_associations.csv")
    }
    assert float(found["natural, MLP 256", "paper", "random_boundaries"]["correlation"]) < -0.9
    assert float(found["natural, MLP 256", "adaptive", "random_boundaries"]["correlation"]) > 0.9
    assert int(found["all", "paper", "random_boundaries"]["networks"]) == len(table) - len(left_out)
    peaks = {(row["method"], row["of"]): row for row in rows_of(folder / "density_and_robustness_peaks.csv")}
    assert float(peaks["at", "adaptive"]["peak"]) == 0.4
    assert float(peaks["natural", "paper"]["peak"]) == 0.02
    assert float(peaks["natural", "random_boundaries"]["peak"]) == 0.4
    assert float(peaks["Gaussian layer", "quadratic variation"]["peak"]) == pytest.approx(0.0786, abs=1e-4)
    for stem in ("", "_associations", "_ratio"):
        for ending in ("png", "svg"):
            assert (folder / f"density_and_robustness{stem}.{ending}").stat().st_size > 5000
    before = (folder / "density_and_robustness.csv").read_bytes()
    assert study.main(["--results", str(folder), "--finished"]) == 0
    assert (folder / "density_and_robustness.csv").read_bytes() == before


def test_what_is_finished_of_a_part_of_the_plan_is_shown(study, tmp_path, capsys):
    folder = fill(study, tmp_path / "results", lambda task: task.parameters["architecture"] == "mlp")
    assert study.main(["--results", str(folder), "--finished"]) == 0
    table = rows_of(folder / "density_and_robustness.csv")
    assert {row["architecture"] for row in table} == {"mlp"}
    assert study.main(["--results", str(folder), "--finished", "--training-seeds", "1"]) == 0
    assert len(rows_of(folder / "density_and_robustness.csv")) == len(study.plan(1)) - 12


def test_the_seed_is_that_of_the_ledger_and_of_the_bootstrap(study, tmp_path, capsys):
    folder = fill(study, tmp_path / "results", seed=4)
    assert study.main(["--results", str(folder), "--finished", "--seed", "4"]) == 0
    capsys.readouterr()
    assert study.main(["--results", str(folder), "--finished"]) == 2
    assert "has no finished network with seed 0" in capsys.readouterr().err


def test_too_few_networks_are_refused_in_a_sentence(study, tmp_path, capsys):
    folder = fill(study, tmp_path / "results", lambda task: task.parameters["activation"] == "relu")
    assert study.main(["--results", str(folder), "--finished"]) == 2
    assert "groups has" in capsys.readouterr().err


def test_plan_and_bad_use(study, tmp_path, capsys, monkeypatch):
    assert study.main(["--plan", "--training-seeds", "1"]) == 0
    assert "mnist smallcnn x0.25 kwta-0.08 at, seed 0" in capsys.readouterr().out
    folder = tmp_path / "none"
    assert study.main(["--finished", "--results", str(folder)]) == 2
    assert "--finished needs" in capsys.readouterr().err
    assert study.main(["--workers", "0"]) == 2
    assert "workers=0 is not allowed" in capsys.readouterr().err
    assert study.main(["--training-seeds", "0"]) == 2
    capsys.readouterr()
    (tmp_path / "file").write_text("no ledger")
    assert study.main(["--results", str(tmp_path / "file")]) == 1

    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(campaign, "run", interrupt)
    assert study.main(["--results", str(folder), "--quiet"]) == 130
    assert "what was finished is in" in capsys.readouterr().err
