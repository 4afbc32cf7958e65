"""The script on the scaling law: its files, and its reading of widths and exponents on data made by a known law."""

from __future__ import annotations

import csv
import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from kwta_theory.geometry import RadiusDistribution
from kwta_theory.report.experiment import main
from kwta_theory.report.plots import scaling_fit

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "experiments" / "radius_scaling.py"))
SETTINGS = SCRIPT["table"].__globals__


def sample(width: int, low: list[float], high: list[float]) -> RadiusDistribution:
    return RadiusDistribution(width, 2, 1, 0, "box", np.array(low), np.array(high))


def curve(low: list[float], high: list[float], widths=(10, 20, 40)):
    samples = [sample(w, [a] * 5, [b] * 5) for w, a, b in zip(widths, low, high, strict=True)]
    return SCRIPT["Curve"](2, 0.1, 0.5, "1/2", samples)


def needed(low: list[float], high: list[float], beta: float) -> tuple[float, float]:
    return curve(low, high).read(np.array([low, high]).T, beta)


def test_a_power_law_is_inverted_exactly():
    squares = [100 / 10**2, 100 / 20**2, 100 / 40**2]  # R = 10 / l
    for width in (11.0, 20.0, 35.0):
        lower, upper = needed(squares, squares, 100 / width**2 * (1 + 1e-12))
        assert lower == pytest.approx(width)
        assert upper == pytest.approx(width)


def test_an_interval_of_the_quantile_gives_one_of_the_width_and_unknown_ends_go_to_the_safe_side():
    low, high = [1.0, 0.25, 0.06], [4.0, 1.0, 0.25]
    lower, upper = needed(low, high, 0.5)
    assert lower == pytest.approx(10 * math.sqrt(2))
    assert upper == pytest.approx(20 * math.sqrt(2))
    # below and above the grid as if l R were constant; at an infinite end the next width that is known
    assert needed(low, [math.inf, 1.0, 0.25], 2.0) == (pytest.approx(10 / math.sqrt(2)), pytest.approx(20.0))
    assert needed([1.0, 0.0, 0.0], high, 0.5)[0] == pytest.approx(10.0)
    lower, upper = needed(low, high, 0.1)
    assert lower == pytest.approx(20 * 2 ** (math.log(2.5) / math.log(0.25 / 0.06)))
    assert upper == pytest.approx(40 * math.sqrt(2.5))
    assert needed(low, [math.inf] * 3, 0.1)[1] == math.inf
    # bounds that rise with the width by chance are replaced by those of a decreasing quantile
    assert needed([0.2, 0.6, 0.06], [4.0, 1.0, 0.25], 0.5)[0] > 20


def test_the_bounds_of_a_width_need_no_grid_around_it():
    made = curve([0.0] * 3, [1.0] * 3)
    squares = 9 / np.array([10.0, 20, 40]) ** 2  # R = 3 / l: needed at R^2 = 1 is 3, below the grid
    assert made.bound(np.array([squares, squares]).T, 1.0) == (pytest.approx(3), 10)
    assert made.bound(np.array([squares, squares]).T, 1e-4) == (40, pytest.approx(300))  # beyond it
    wide = made.bound(np.array([squares / 2, squares * 2]).T, 0.0225)
    assert wide == (pytest.approx(20 / math.sqrt(2)), pytest.approx(20 * math.sqrt(2)))
    steep = np.array([np.inf, 0.0225, 0.001])  # falls faster than allowed for: still inside
    lower, upper = made.bound(np.array([steep, steep]).T, 0.01)
    assert lower <= 20 * (0.0225 / 0.01) ** 0.5 * (0.01 / 0.0225) ** 0.5 <= upper
    assert made.bound(np.array([[0.0, np.inf]] * 3), 0.1) == (0.0, math.inf)


def test_a_width_contains_that_of_the_sample_and_the_replicates_are_near():
    rng = np.random.default_rng(0)
    samples = [sample(w, *[list((10 / w) ** 2 * rng.lognormal(size=400))] * 2) for w in (5, 10, 20, 40)]
    made = SCRIPT["Curve"](2, 0.1, 0.5, "1/2", samples)
    (least, most), (lower, upper) = made.intervals(1.0, 1e-3)
    assert least == most
    assert lower < least < upper
    assert lower < 10 < upper
    again = made.resampled([1.0], np.random.default_rng(1))[:, 0]
    # a median of 400 normals has standard deviation 0.0627, and log l is half of log R^2
    assert np.std(np.log(again[:, 0])) == pytest.approx(0.031, rel=0.5)
    np.testing.assert_array_equal(again[:, 0], again[:, 1])


def rows(exponents: tuple[float, float, float], bend: float = 0.0, half: float = 0.01):
    """Widths by a power law, with intervals of a relative half width; ``bend`` adds a square of ``log m``."""
    found = []
    for m in (2, 4, 8, 16):
        for gamma in (0.05, 0.1, 0.4):
            for beta in (1.0, 0.1, 0.01):
                log_width = 1 + np.dot(exponents, np.log([m, 1 / gamma, 1 / beta])) + bend * math.log(m) ** 2
                low, high = np.exp(log_width + half * np.array([-1, 1]))
                found.append(
                    {"input_dim": m, "sparsity_ratio": gamma, "beta": beta, "level": "1/2", "lower": low, "upper": high}
                    | {"sample_lower": low, "sample_upper": high}
                    | {"width_sharper": m, "width_theorem": m / gamma / beta}
                    | {"width_proof": m, "width_exact_argument": m}
                )
    return found


def fit(data, replicas=3):
    ends = np.array([(row["lower"], row["upper"]) for row in data])
    return list(SCRIPT["exponents"](SCRIPT["MODELS"][0], data, np.repeat(ends[None], replicas, axis=0)))


def test_exponents_of_a_power_law_are_found_within_their_intervals():
    truth = (1.2, 0.7, 0.5)
    found = fit(rows(truth))
    for row, exponent in zip(found, truth, strict=True):
        assert row["estimate"] == pytest.approx(exponent)
        assert row["lower"] < exponent < row["upper"]
        assert row["band_lower"] == pytest.approx(row["lower"])
        assert row["misfit"] == pytest.approx(0, abs=1e-9)
        assert not row["lower"] < exponent + 0.1 < row["upper"]  # a wrong exponent is outside
    assert [row["width_theorem"] for row in found] == pytest.approx([1, 1, 1])
    assert [row["width_sharper"] for row in found] == pytest.approx([1, 0, 0], abs=1e-12)
    wide = fit(rows(truth, half=0.2))
    assert all(a["upper"] - a["lower"] > b["upper"] - b["lower"] for a, b in zip(wide, found, strict=True))


def test_the_interval_of_an_exponent_is_reached_by_widths_in_their_intervals():
    """The extreme choice of each width by the sign of its coefficient, through numpy's least squares."""
    data = rows((1.0, 0.5, 0.5), half=0.1)
    design = SCRIPT["MODELS"][0].design(data)
    row = fit(data)[0]
    signs = np.sign(np.linalg.lstsq(design, np.eye(len(data)), rcond=None)[0][1])
    chosen = [math.log(each["upper"] if sign > 0 else each["lower"]) for each, sign in zip(data, signs, strict=True)]
    assert np.linalg.lstsq(design, np.array(chosen), rcond=None)[0][1] == pytest.approx(row["upper"])


def test_a_law_that_is_no_power_is_seen_in_the_misfit_and_one_variable_agrees_with_the_fit_of_figures():
    bent = fit(rows((1.0, 0.5, 0.5), bend=0.3))
    assert bent[0]["misfit"] > 0.05
    exact = fit(rows((1.0, 0.5, 0.5), bend=0.3, half=0.0))
    m = np.array([2.0, 4, 8, 16])
    alone = scaling_fit(m, np.exp(np.log(m) + 0.3 * np.log(m) ** 2))
    assert exact[0]["estimate"] == pytest.approx(alone.slope)


def test_points_without_both_ends_are_left_out():
    data = rows((1.0, 0.5, 0.5))
    data[0] |= {"lower": 0.0}
    data[1] |= {"upper": math.inf}
    assert fit(data)[0]["points"] == len(data) - 2


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("radius_scaling")
    small = {"DRAWS": {"quick": {2: 80, 3: 12}}, "REPLICATES": 20, "BETAS": (1.0, 0.1), "WORKERS": 1}
    small |= {"FACTORS": (0.8, 3.0, 10.0), "FARTHER": 36.0}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small.items():
            patch.setitem(SETTINGS, name, value)
        patch.setitem(SETTINGS, "RATIOS", {"quick": (0.1, 0.4)})
        code = main(SCRIPT["EXPERIMENT"], ["--results", str(folder), "--quiet"])
    with (folder / "radius_scaling.csv").open() as file:
        return folder, code, list(csv.DictReader(file))


def test_the_script_writes_its_table_and_figures_and_contradicts_no_proof(finished):
    folder, code, found = finished
    assert code == 0
    kinds = [row["kind"] for row in found]
    assert {"radius", "width", "exponent"} == set(kinds)
    assert all(row["inside"] == "True" for row in found if row["kind"] == "width")
    assert {row["level"] for row in found} == {"1/2", "1 - 2^-m"}
    assert all(float(row["lower"]) <= float(row["estimate"]) <= float(row["upper"]) for row in found[-20:])
    for stem in SCRIPT["EXPERIMENT"].figures:
        assert (folder / f"{stem}.png").read_bytes()[:4] == b"\x89PNG"
        assert (folder / f"{stem}.svg").read_text().startswith("<svg")


def test_the_grid_has_whole_numbers_of_winners():
    for ratio in SETTINGS["RATIOS"]["standard"]:
        for input_dim in (2, 3, 8, 24):
            grid = SCRIPT["widths"](input_dim, ratio)
            assert all(abs(width * ratio - round(width * ratio)) < 1e-9 for width in grid)
            assert grid == sorted(set(grid))
