"""The scripts on disjoint patterns, interpolation and Example 1: each runs at a tiny budget; a wrong law is noticed."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import itertools
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linear_sum_assignment

from kwta_theory import campaign, inputs, simulation, theory
from kwta_theory.report.experiment import Experiment, main, measure, verdict

FOLDER = Path(__file__).parents[2] / "experiments"
# For each script some of its tasks that are quick to draw and to judge, by their parameters.
SCRIPTS = {
    "theorem_10_width": {"width": (100, 1e4), "inputs": ("cosine",)},
    "theorem_10_k": {"k": (1, 2, 4), "width": (1000,)},
    "theorem_10_cosine": {"width": (1000,), "cosine": (0.0, 0.5, 0.9)},
    "theorem_10_points": {"points": (2, 3, 5), "inputs": ("cosine",)},
    "theorem_2_mnist": {"width": (1e300,)},
    "theorem_2_fixed_ratio": {"width": (50, 100), "cosine": (0.8,)},
    "theorem_11": {"width": (64,), "k": (1, 2, 10)},
    "example_1": {"input_dim": (6, 784), "width": (20, 100)},
}
# What the figures draw beside the tasks, cut down.
FEWER = {
    "theorem_10_width": {"PAIRS": {0.5: "C0"}, "COLORS": {"cosine": "C0"}},
    "theorem_10_k": {"WINNERS": (1, 2), "NEEDED": {0.5: "C0"}, "WIDTHS": {1e3: ("1e3", "C0")}},
    "theorem_10_cosine": {"NEEDED": (0.6, 0.8), "WIDTHS": {1000: ("C0", "1e3")}},
    "theorem_2_fixed_ratio": {"COSINES": {0.8: "C0"}},
    "example_1": {"RATIOS": {0.1: "C0"}},
}


@functools.cache
def script(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def tiny(name: str, trials: int = 200) -> Experiment:
    """Some of the tasks, in one small chunk each."""
    experiment = script(name).EXPERIMENT
    chosen = [
        dataclasses.replace(task, chunk_trials=trials)
        for task in experiment.tasks("quick")
        if all(task.parameters[key] in values for key, values in SCRIPTS[name].items())
    ]
    assert chosen
    return dataclasses.replace(
        experiment, tasks=lambda _: chosen, until=lambda _: campaign.Until(trials=trials), figures={}, table=None
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_describes_itself_and_its_tasks_are_allowed(name: str) -> None:
    experiment = script(name).EXPERIMENT
    assert experiment.name == name
    assert "Claimed" in experiment.summary
    assert "Seen" in experiment.summary
    sizes = [experiment.until(budget).trials for budget in ("quick", "standard", "thorough")]
    assert sizes == sorted(set(sizes))
    for budget in ("quick", "thorough"):
        tasks = experiment.tasks(budget)
        assert len(set(tasks)) == len(tasks)
        assert tasks == experiment.tasks("quick")  # a larger budget goes on with the trials of a smaller one


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_writes_its_files_and_its_intervals_meet_what_is_exact(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = tiny(name)
    whole = script(name).EXPERIMENT
    for variable, value in FEWER.get(name, {}).items():
        monkeypatch.setattr(script(name), variable, value)
    experiment = dataclasses.replace(experiment, figures=whole.figures, table=whole.table)
    folder = tmp_path / "results of äö"
    assert main(experiment, ["--results", str(folder), "--workers", "1", "--quiet"]) == 0
    pictures = {f"{stem}{ending}" for stem in whole.figures for ending in (".png", ".svg")}
    assert {f"{name}.csv", *pictures} <= {path.name for path in folder.iterdir()}
    assert min((folder / picture).stat().st_size for picture in pictures) > 5000
    judged = [line.split(",") for line in (folder / f"{name}.csv").read_text().splitlines()]
    inside = judged[0].index("inside")
    assert {row[inside] for row in judged[1:]} == {"True"}
    assert "all intervals hold together" in capsys.readouterr().out


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_wrong_law_is_noticed(name: str, tmp_path: Path) -> None:
    """Negative control: the probability of the opposite. At 200 trials an interval is at most 0.35 wide."""
    right = tiny(name)

    def opposite(row):
        value = right.exact(row)
        if isinstance(value, tuple):
            return 1 - value[1], 1 - value[0]
        return None if value is None else 1 - value

    found = measure(dataclasses.replace(right, exact=opposite), tmp_path, "quick")
    assert not verdict(found)[1]


def test_one_winner_more_is_noticed(tmp_path: Path) -> None:
    """Negative control, finer: 1000 trials, intervals at most 0.16 wide, and 0.96 to 0.87 is the smallest step."""
    right = tiny("theorem_10_k", trials=1000)
    wrong = dataclasses.replace(right, exact=lambda row: right.exact(row | {"k": row["k"] + 1}))
    assert verdict(measure(right, tmp_path, "quick"))[1]
    assert not verdict(measure(wrong, tmp_path, "quick"))[1]


def test_width_that_a_pair_needs_has_the_level_there_and_not_below() -> None:
    """Two routes: the root of the failure in the log width, and the law of disjoint patterns at that width."""
    for name, arguments in (("theorem_10_k", (4, 0.5)), ("theorem_10_cosine", (0.8,))):
        k, cosine = (4, 0.5) if name == "theorem_10_k" else (1, 0.8)
        log_width = script(name).needed_log_width(*arguments)
        at = theory.disjoint_patterns(None, k, cosine, log_width=log_width)
        below = theory.disjoint_patterns(None, k, cosine, log_width=log_width * (1 - 1e-3))
        assert below < 0.95 <= at < 0.9501


# Theorem 11: a vector exists exactly when the images can be matched to winners of their own.


def matched(patterns: np.ndarray, width: int) -> bool:
    """Hall's condition for one layer, by an assignment of least cost."""
    cost = np.ones((len(patterns), width))
    np.put_along_axis(cost, patterns, 0.0, axis=1)
    return cost[linear_sum_assignment(cost)].sum() == 0


def test_a_vector_exists_as_often_as_a_matching() -> None:
    """Ten images, k = 2, width 32: p is about 0.35. 2000 against 2000 trials see a difference of 0.07 at |z| = 4.6."""
    points = inputs.mnist_images(10, seed=0).points
    assert np.linalg.matrix_rank(points) == 10  # the hypothesis of the argument
    width, trials = 32, 2000
    factor = np.linalg.cholesky(points @ points.T)
    generator = np.random.default_rng(np.random.SeedSequence(11))
    matches = every = 0
    for _ in range(trials):
        outputs = factor @ generator.standard_normal((10, width))
        patterns = np.argsort(-outputs, axis=1)[:, :2]
        matches += matched(patterns, width)
        every += len(np.unique(patterns)) == 20
    found = simulation.interpolation(width, 2, [1.0] * 10, trials, points=points, seed=3).any_vector.successes
    pooled = (matches + found) / (2 * trials)
    deviation = math.sqrt(2 * pooled * (1 - pooled) / trials)
    assert abs(matches - found) / trials / deviation < 4.6
    assert abs(every - found) / trials / deviation > 4.6  # negative control: disjointness instead of a matching


def test_with_as_many_winners_as_points_any_pattern_can_be_matched() -> None:
    """All 20^3 patterns of three points in a layer of six: Hall's condition holds, and with two winners it does not."""
    for k, always in ((3, True), (2, False)):
        subsets = list(itertools.combinations(range(6), k))
        assert all(matched(np.array(chosen), 6) for chosen in itertools.product(subsets, repeat=3)) is always


# Example 1: the laws of random binary inputs.


def binary_vectors(dimension: int, probability: float) -> tuple[np.ndarray, np.ndarray]:
    vectors = np.array(list(itertools.product((0.0, 1.0), repeat=dimension)))
    ones = vectors.sum(axis=1)
    return vectors, probability**ones * (1 - probability) ** (dimension - ones)


def test_law_of_a_pair_against_enumeration() -> None:
    """All pairs of inputs in five dimensions, the law of the pattern at each of their cosines."""
    vectors, chances = binary_vectors(5, 0.45)
    width, k, total = 30, 3, 0.0
    same = {}
    for (x, p), (y, q) in itertools.product(zip(vectors, chances, strict=True), repeat=2):
        if not x.any() and not y.any():
            chance = 1.0
        elif not x.any() or not y.any():
            chance = 1 / math.comb(width, k)
        else:
            cosine = min(1.0, round(float(x @ y / math.sqrt(x.sum() * y.sum())), 14))
            chance = same.setdefault(cosine, theory.same_pattern(width, k, cosine))
        total += p * q * chance
    found = script("example_1").pair_alike(width, k, 5, 0.45)
    assert found == pytest.approx(total, rel=1e-5)
    assert script("example_1").pair_alike(width, k - 1, 5, 0.45) != pytest.approx(total, rel=1e-2)  # negative control


@pytest.mark.parametrize(("input_dim", "probability"), [(5, 0.45), (64, 0.3), (784, 0.45)])
def test_law_of_the_angle_is_a_law(input_dim: int, probability: float) -> None:
    angles, chances = script("example_1").angle_law(input_dim, probability)
    assert chances.sum() == pytest.approx(1.0, abs=1e-11)
    assert (np.diff(angles) > 0).all()
    assert 0 <= angles[0] < angles[-1] <= math.pi / 2


def test_law_of_the_pattern_as_a_polynomial_in_the_angle() -> None:
    polynomial = script("example_1").log_same(60, 18)
    for angle in (0.01, 0.3, 0.777, 1.2, 1.55):
        exact = theory.same_pattern(60, 18, math.cos(angle), log=True)
        assert polynomial(angle) == pytest.approx(exact, abs=1e-6)


def test_equal_inputs_against_enumeration() -> None:
    """Three inputs in three dimensions: all 512 triples."""
    _, chances = binary_vectors(3, 0.3)
    differ = sum(math.prod(chances[i] for i in triple) for triple in itertools.permutations(range(8), 3))
    some_equal = script("example_1").some_equal
    assert some_equal(3, 0.3, 3) == pytest.approx(1 - differ, rel=1e-12)
    assert some_equal(3, 0.3, 2) == pytest.approx((0.3**2 + 0.7**2) ** 3, rel=1e-12)
    assert some_equal(3, 0.5, 9) == pytest.approx(1.0, rel=1e-12)  # more inputs than vectors


def test_bracket_of_example_1_holds_the_frequency() -> None:
    """Eight dimensions, width 100: 4000 trials; the bracket, 0.807 to 0.825, is 3 standard errors wide."""
    exact = script("example_1").exact
    row = {"outcome": "distinct", "width": 100, "k": 10, "input_dim": 8, "probability": 0.45, "points": 10}
    lower, upper = exact(row)
    found = simulation.distinct_patterns(100, 10, 8, 10, 0.45, 4000, seed=5).distinct
    assert stats.binom.cdf(found.successes, 4000, lower) > 2e-6
    assert stats.binom.sf(found.successes - 1, 4000, upper) > 2e-6
    wrong = exact(row | {"probability": 0.35})  # negative control
    assert stats.binom.sf(found.successes - 1, 4000, wrong[1]) < 2e-6
