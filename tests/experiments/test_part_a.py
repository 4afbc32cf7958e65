"""The scripts of the pair laws and lemmas, at a tiny budget: files, agreement with theory, and wrong theory noticed."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from types import ModuleType
from typing import Any

import pytest

from kwta_theory import campaign, theory
from kwta_theory.campaign import Task
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, main, measure, verdict

ROOT = Path(__file__).parents[2]
Row = dict[str, Any]


def load(name: str) -> ModuleType:
    """Each script once: its estimator cannot be registered twice."""
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module(f"experiments.{name}")
    finally:
        sys.path.remove(str(ROOT))


def tiny(experiment: Experiment, keep: Callable[[Row], bool], trials: int) -> Experiment:
    """Some of the tasks, each with one chunk."""
    assert experiment.tasks is not None
    tasks = [
        Task.of(task.estimator, chunk_trials=trials, **task.parameters)
        for task in experiment.tasks("quick")
        if keep(dict(task.parameters))
    ]
    return dataclasses.replace(experiment, tasks=lambda _: tasks, until=lambda _: campaign.Until(trials=trials))


def read(path: Path) -> list[dict[str, str]]:
    """A table as text."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def wrong_theorem_8(row: Row) -> float:
    """A cosine squared: the law of another angle."""
    return theory.same_pattern(row["width"], row["k"], row["cosine"] ** 2)


def wrong_lemma_5(row: Row) -> float:
    """The margin twice."""
    return theory.same_pattern(row["width"], row["k"], row["cosine"], margin=2 * row["margin"])


def wrong_lemma_4(row: Row) -> float:
    """A degree of freedom too few."""
    m = row["input_dim"] - 1
    return -math.expm1(
        row["width"] * math.log1p(-math.exp(theory.chi_square_log_tail(row["length"] ** 2 * (m + 1), m)))
    )


def wrong_lemma_8(row: Row) -> float:
    """The tail beyond R instead of the part of it: r instead of r/(1+r)."""
    value = load("lemma_8").exact(row)
    return value / (1 - value)


def wrong_lemma_10(row: Row) -> float:
    """The bound instead of the area."""
    return math.exp(load("lemma_10").log_bound(row["input_dim"], row["cosine"]))


def wrong_claims(row: Row) -> float | None:
    """The printed bound of (13) instead of its tail."""
    epsilon = theory.lemma5_epsilon(row["cosine"])
    return math.exp(-epsilon * row["k"] / 8) if row["outcome"] in ("equation_13", "equation_14") else None


def wrong_density(row: Row) -> float | None:
    """The limit of large width."""
    limit = theory.limiting_boundary_density(row["k"] / row["width"]) * row["width"]
    return row["angle"] * limit if row["outcome"] == "changes" else None


def wrong_jumps(row: Row) -> float | None:
    """The limit of large width, where x* = q."""
    ratio = row["k"] / row["width"]
    squares = theory.limiting_boundary_density(ratio) * row["width"] * NormalDist().inv_cdf(ratio) ** 2
    return row["angle"] * squares if row["outcome"] == "squared_values" else None


@dataclasses.dataclass(frozen=True)
class Case:
    """A script, which of its tasks are drawn, how often, and a wrong law that this must be enough to reject.

    The numbers of trials make the half length of an interval (at most 4.5 standard errors, for the error of 1e-3
    shared by up to 40 outcomes) less than half of what the wrong law is off by.
    """

    name: str
    keep: Callable[[Row], bool]
    trials: int
    wrong: Callable[[Row], float | None]


CASES = (
    Case("theorem_8", lambda p: p["width"] in (20, 50), 2000, wrong_theorem_8),
    Case("lemma_5", lambda p: p["width"] in (20, 100), 2000, wrong_lemma_5),
    Case("lemma_4", lambda p: p["input_dim"] < 100, 500, wrong_lemma_4),
    Case("lemma_8", lambda p: p["radius"] < 25, 2000, wrong_lemma_8),
    Case("lemma_10", lambda p: p["input_dim"] < 5, 5000, wrong_lemma_10),
    Case("claims_4_to_6", lambda p: p["width"] in (300, 1000, 3000), 5000, wrong_claims),
    # A small k: the limit is 10 % off at width 16, the standard deviation of the changes 15 % of their mean.
    Case("boundary_density", lambda p: p["width"] <= 16 and p["k"] < 4, 300, wrong_density),
    Case("jump_size", lambda p: p["k"] in (1, 2, 3, 32), 100, wrong_jumps),
)
BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@BY_NAME
def test_budgets_grow_and_the_docstring_says_what_is_seen(case: Case) -> None:
    experiment: Experiment = load(case.name).EXPERIMENT
    assert experiment.name == case.name
    assert all(word in experiment.summary for word in ("Exact", "Drawn: ", "\nSeen"))
    assert experiment.tasks is not None
    assert experiment.until is not None
    trials = [experiment.until(budget).trials or 0 for budget in ("quick", "standard", "thorough")]
    assert 0 < trials[0] < trials[1] < trials[2]
    for budget in ("quick", "standard", "thorough"):
        tasks = list(experiment.tasks(budget))
        assert len(tasks) == len(set(tasks)) > 5


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer points where a curve is expensive; what is drawn through them stays the same code."""
    script = load("theorem_8")
    monkeypatch.setattr(script, "ANGLES", (0.6, 0.9))
    monkeypatch.setattr(script, "COSINES", {0.6: plots.PALETTE[0], 0.9: plots.PALETTE[1]})
    monkeypatch.setattr(script, "INPUT_DIM", 2)  # where "for every x'" is twice the law of one


@BY_NAME
@pytest.mark.usefixtures("cheap")
def test_files_are_written_and_every_interval_contains_the_exact_value(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = tiny(load(case.name).EXPERIMENT, case.keep, case.trials)
    stem, *others = experiment.figures
    # Saving is most of the time: one figure is written, the others are drawn.
    one = dataclasses.replace(experiment, figures={stem: experiment.figures[stem]})
    assert main(one, ["--results", str(tmp_path), "--workers", "1", "--quiet"]) == 0
    rows = read(tmp_path / f"{case.name}.csv")
    judged = [row["inside"] for row in rows if row["inside"]]
    assert len(judged) > 3
    assert set(judged) == {"True"}
    assert f"{len(judged)} of {len(judged)} intervals contain the exact value" in capsys.readouterr().out
    assert (tmp_path / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / f"{stem}.svg").read_text(encoding="utf-8")
    assert (tmp_path / f"{case.name}_table.csv").exists() == (experiment.table is not None)
    found = measure(experiment, tmp_path, "quick")
    for other in others:
        axes = experiment.figures[other](found).axes
        assert all(axis.get_xlabel() and axis.lines for axis in axes)
        assert axes[0].get_ylabel()


@BY_NAME
def test_a_wrong_law_is_noticed(case: Case, tmp_path: Path) -> None:
    experiment = tiny(load(case.name).EXPERIMENT, case.keep, case.trials)
    wrong = dataclasses.replace(experiment, exact=case.wrong, figures={}, table=None)
    assert main(wrong, ["--results", str(tmp_path), "--workers", "1", "--quiet"]) == 1
    found = measure(wrong, tmp_path, "quick")
    assert not verdict(found)[1]
    assert any(row["inside"] is False for row in found.rows)


# Each estimator of a script beside a second way to the same number, exact here, and what it must refuse.


def test_long_row_of_one_entry_is_a_normal_tail() -> None:
    script = load("lemma_4")
    assert math.exp(script.log_longer(1, 1, 1.96)) == pytest.approx(math.erfc(1.96 / math.sqrt(2)), rel=1e-12)
    # Two entries: chi-square of two degrees is exponential.
    assert math.exp(script.log_longer(3, 2, 1.5)) == pytest.approx(1 - (1 - math.exp(-(1.5**2))) ** 3, rel=1e-12)


def test_chi_square_tail_of_two_degrees_is_memoryless() -> None:
    value = load("lemma_8").exact({"radius": 7.0, "epsilon": 0.5, "degrees": 2})
    assert value == pytest.approx(math.exp(-0.5 * 3.5), rel=1e-12)


def test_cap_of_the_circle_is_its_angle() -> None:
    assert load("lemma_10").exact({"input_dim": 2, "cosine": 0.5}) == pytest.approx(1 / 3, rel=1e-12)


def test_draws_depend_on_the_seed_alone() -> None:
    given = {
        "lemma_4": {"width": 5, "input_dim": 2, "length": 1.5},
        "lemma_8": {"degrees": 4, "epsilon": 0.5, "radius": 5.0},
        "lemma_10": {"input_dim": 3, "cosine": 0.2},
        "claims_4_to_6": {"width": 1000, "k": 100, "cosine": 0.6},
    }
    for name, parameters in given.items():
        script = load(name)
        first, again, other = (script.draw(script.resolve(parameters), 500, seed) for seed in (1, 1, 2))
        assert first == again != other


@pytest.mark.parametrize(
    ("estimator", "parameters", "message"),
    [
        ("long-row", {"width": 0, "input_dim": 2, "length": 1.0}, "width=0 is not allowed"),
        ("long-row", {"width": 2, "input_dim": 2, "length": -1.0}, "length=-1.0 is not allowed"),
        ("chi-square-tail", {"degrees": 10, "epsilon": 0.5, "radius": 9.0}, "radius=9.0 is not allowed"),
        ("chi-square-tail", {"degrees": 10, "epsilon": 1.0, "radius": 11.0}, "epsilon=1.0 is not allowed"),
        ("cap", {"input_dim": 2, "cosine": 1.5}, "cosine=1.5 is not allowed"),
        ("lemma-5-steps", {"width": 100, "k": 50, "cosine": 0.9}, "k=50 is outside the hypothesis"),
        ("lemma-5-steps", {"width": 100, "k": 10, "cosine": 0.4}, "cosine=0.4 is not allowed"),
    ],
)
def test_estimators_refuse_by_a_sentence(estimator: str, parameters: Row, message: str) -> None:
    for name in ("lemma_4", "lemma_8", "lemma_10", "claims_4_to_6"):
        load(name)
    with pytest.raises(InvalidArgumentError, match=message):
        Task.of(estimator, **parameters)


def test_claim_3_is_a_table_alone(tmp_path: Path) -> None:
    experiment: Experiment = load("claim_3").EXPERIMENT
    assert main(experiment, ["--results", str(tmp_path), "--quiet"]) == 0
    rows = read(tmp_path / "claim_3.csv")
    shares = [float(row["exact"]) / float(row["claimed"]) for row in rows]
    assert len(rows) == 5 * 60
    # R2' - R1' = (4 eps gamma) / phi(somewhere between), here by the density in the middle.
    middle = float(rows[-1]["sparsity_ratio"])
    assert max(shares) == pytest.approx(4 * middle / (8 * math.exp(-0.5 * 0.0504**2)), rel=2e-3)
    assert (tmp_path / "claim_3.png").exists()


def test_a_sum_that_is_long_gives_a_bracket_and_a_short_one_nearly_a_number() -> None:
    script = load("claims_4_to_6")
    low, high = script.exact({"width": 1000, "k": 100, "cosine": 0.6, "outcome": "event"})
    assert low < high < low * (1 + 1e-7)
    low, high = script.exact({"width": 10**6, "k": 10**5, "cosine": 0.6, "outcome": "event"})
    assert high == 1.0
    assert 0.97 < low < 0.98
    assert isinstance(script.exact({"width": 1000, "k": 100, "cosine": 0.6, "outcome": "equation_11"}), float)


def test_the_sum_of_x_over_a_full_turn_is_not_judged_where_it_vanishes_in_every_trial() -> None:
    script = load("jump_size")
    row = {"width": 64, "k": 32, "angle": script.TURN, "outcome": "values"}
    assert script.exact(row) is None
    assert script.exact({**row, "k": 31}) > 0 > script.exact({**row, "k": 33})


def test_a_script_runs_from_the_command_line_and_shows_its_docstring(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "experiments" / "lemma_10.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "Claimed" in done.stdout
    assert "--budget" in done.stdout
    assert not list(tmp_path.iterdir())
