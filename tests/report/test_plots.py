"""What the helpers draw, read off the axes; fits against numpy and scipy, and how often their intervals hold."""

from __future__ import annotations

import itertools
import math

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from kwta_theory import campaign
from kwta_theory.campaign import Moments, Outcome, Tally, Task
from kwta_theory.campaign.ledger import Chunk
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import confidence_sequence
from kwta_theory.report import plots


def row(successes: int, trials: int = 100, **more: object) -> dict[str, object]:
    interval = confidence_sequence(successes, trials, 1e-3)
    found = {"estimate": successes / trials, "lower": interval.lower, "upper": interval.upper, "kind": "event"}
    return found | {"width": 10 * successes} | more


def drawn(axis):
    """Lines by their marker: markers and the middles of bars. Segments of bars: (x, low, high)."""
    points = {
        marker: [tuple(p) for line in axis.lines if line.get_marker() == marker for p in line.get_xydata()]
        for marker in ("o", "v", "^")
    }
    bars = [(s[0][0], s[0][1], s[1][1]) for c in axis.collections for s in c.get_segments()]
    return points, bars


def axis_of(scale: str = "linear"):
    axis = Figure().subplots()
    axis.set_yscale(scale)
    return axis


@pytest.mark.parametrize("failure", [False, True])
@pytest.mark.parametrize("log", [False, True])
def test_an_estimate_is_a_point_with_its_interval(failure, log):
    axis, found = axis_of(), row(30)
    plots.estimates(axis, [7.0], [found], failure=failure, log=log)
    value, low, high = found["estimate"], found["lower"], found["upper"]
    if failure:
        value, low, high = 1 - value, 1 - high, 1 - low
    if log:
        value, low, high = (math.log10(x) for x in (value, low, high))
    points, bars = drawn(axis)
    assert points["o"] == [(7.0, pytest.approx(value, rel=1e-12))]
    assert bars == [(7.0, pytest.approx(low, rel=1e-12), pytest.approx(high, rel=1e-12))]


@pytest.mark.parametrize("failure", [False, True])
def test_where_nothing_or_everything_was_seen_one_end_is_marked(failure):
    axis, rows = axis_of(), [row(0), row(100)]
    plots.estimates(axis, "width", rows, failure=failure, label="measured")
    points, bars = drawn(axis)
    never, always = (1, 0) if failure else (0, 1)
    upper = rows[0]["upper"]
    assert points["v"] == [(10 * 100 * never, pytest.approx(upper))]
    assert points["^"] == [(10 * 100 * always, pytest.approx(1 - upper))]
    assert not points["o"]
    assert not bars
    assert axis.get_legend_handles_labels()[1] == ["measured"]


def test_the_label_is_named_once():
    axis = axis_of()
    plots.estimates(axis, [1, 2, 3], [row(0), row(30), row(100)], label="measured")
    assert axis.get_legend_handles_labels()[1] == ["measured"]


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_on_a_logarithmic_axis_an_interval_down_to_zero_is_its_upper_end(scale):
    axis = axis_of(scale)
    plots.estimates(axis, [1], [{"estimate": 0.2, "lower": -0.1, "upper": 0.5, "kind": "value"}], log=scale == "linear")
    points, bars = drawn(axis)
    assert points["v"] == [(1, pytest.approx(math.log10(0.5) if scale == "linear" else 0.5))]
    assert not bars


def test_a_mean_without_bounds_has_no_never():
    axis = axis_of()
    plots.estimates(axis, [1, 2], [{"estimate": e, "lower": e - 1, "upper": e + 1, "kind": "value"} for e in (0.0, 1)])
    points, bars = drawn(axis)
    assert points["o"] == [(1, 0), (2, 1)]
    assert len(bars) == 2


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("ends", [(-math.inf, math.inf), (0.5, math.inf), (-math.inf, 2.0)])
def test_an_interval_without_ends_is_no_point(scale, ends):
    axis = axis_of(scale)
    plots.marks(axis, [(1.0, 1.0, *ends), (2.0, 1.0, 0.5, 1.5)], bounded=False)
    points, bars = drawn(axis)
    assert points == {"o": [(2.0, 1.0)], "v": [], "^": []}
    assert bars == [(2.0, 0.5, 1.5)]


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidArgumentError, match="x has 2 values and there are 1 rows"):
        plots.estimates(axis_of(), [1, 2], [row(3)])
    with pytest.raises(InvalidArgumentError, match="failure=True is not allowed for a mean without bounds"):
        plots.estimates(axis_of(), [1], [row(3, kind="value")], failure=True)


def test_color_and_marker_are_used():
    axis = axis_of()
    plots.estimates(axis, [1], [row(30)], color="#123456", marker="s")
    assert (axis.lines[0].get_marker(), axis.lines[0].get_color()) == ("s", "#123456")


@pytest.mark.parametrize(
    ("given", "options", "shown"),
    [
        ([0.5, 0.01], {}, [0.5, 0.01]),
        ([0.5, 0.01], {"log": True}, [math.log10(0.5), -2]),
        ([0.0, 1.0], {"log": True}, [math.nan, 0]),
        ([-3000.0, -1.0], {"log": True, "from_log": True}, [-3000 / math.log(10), -1 / math.log(10)]),
        ([-math.inf, -1.0], {"from_log": True}, [0, math.exp(-1)]),
    ],
)
def test_a_law_is_drawn_from_values_and_from_logarithms(given, options, shown):
    axis = axis_of()
    plots.law(axis, [1, 2], given, label="exact", color="#123456", style="--", **options)
    (line,) = axis.lines
    np.testing.assert_allclose(line.get_ydata(), shown, rtol=1e-14)
    assert (line.get_label(), line.get_color(), line.get_linestyle()) == ("exact", "#123456", "--")


def test_a_band_lies_between_its_bounds():
    axis = axis_of()
    plots.band(
        axis, [1, 2], [-5000.0, -math.inf], [-2.0, -1.0], label="bounds", color="#123456", log=True, from_log=True
    )
    low, high = (line.get_ydata() for line in axis.lines)
    np.testing.assert_allclose(low, [-5000 / math.log(10), -400])
    np.testing.assert_allclose(high, [-2 / math.log(10), -1 / math.log(10)])
    assert axis.get_legend_handles_labels()[1] == ["bounds"]


# The figure.


def boxes(figure):
    figure.draw_without_rendering()
    parts = [*figure.legends, *plots.captions(figure), *figure.axes]
    return [part.get_tightbbox().extents for part in parts]


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("order", list(itertools.permutations(["legend", "caption", "second"])))
def test_captions_legend_and_panels_do_not_overlap(columns, order):
    figure, axes = plots.panels(columns, 1, height=4.0)
    for axis in axes:
        for number in range(5):
            axis.plot([0, 1], [0, number], label=f"a curve with number {number}")
        axis.set(xlabel="width l", ylabel="probability", title="title")
    text = "A caption that is long enough for several lines, with n and seed. " * 5
    for part in order:
        plots.legend(figure, columns=2) if part == "legend" else plots.caption(figure, text)
    for (left, bottom, right, top), other in itertools.combinations(boxes(figure), 2):
        assert right <= other[0] + 1 or other[2] <= left + 1 or top <= other[1] + 1 or other[3] <= bottom + 1
    width, height = figure.get_size_inches() * figure.dpi
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= width and b[3] <= height for b in boxes(figure))
    heights = [axis.get_window_extent().height / figure.dpi for axis in axes]
    assert min(heights) > 1.9  # inches left for the data


def test_the_legend_names_each_label_once_and_nothing_is_no_legend():
    figure, axes = plots.panels(2)
    plots.legend(figure)
    assert not figure.legends
    for axis in axes:
        axis.plot([0, 1], label="same")
    plots.legend(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["same"]


def test_panels_share_what_they_are_told_to():
    figure, axes = plots.panels(2, 2, height=3.0, share_y=True)
    assert len(axes) == 4
    assert tuple(figure.get_size_inches()) == (10.0, 6.0)
    axes[0].set_ylim(0, 7)
    assert axes[3].get_ylim() == (0, 7)
    _, (left, right) = plots.panels(2)
    left.set_ylim(0, 7)
    assert right.get_ylim() != (0, 7)


def test_the_users_settings_do_not_show_and_are_kept():
    def picture() -> str:
        with plots.house_style():
            figure, (axis,) = plots.panels()
            plots.law(axis, [1, 2], [1, 2], label="exact")
            plots.legend(figure)
            plots.caption(figure, "n = 1")
            return plots.as_svg(figure)

    before = dict(matplotlib.rcParams)
    first = picture()
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        assert picture() == first
        assert matplotlib.rcParams["font.size"] == 30
    with matplotlib.rc_context({"font.size": 30}):  # the control: without the house style the setting shows
        assert plots.as_svg(plots.panels()[0]) != first


# Convergence.


def chunks(task: Task, number: int, seed: int = 3) -> list[Chunk]:
    rng = np.random.default_rng(seed)
    size = task.chunk_trials
    return [Chunk(i, Tally(size, {"same": int(rng.binomial(size, 0.3))}), 0.0) for i in range(number)]


def test_the_running_estimate_is_that_of_the_first_chunks():
    task = Task.of("same-pattern", width=20, k=2, cosine=0.9, chunk_trials=50)
    given = chunks(task, 30)
    found = plots.running(given, task, error=0.01)
    counts = np.cumsum([chunk.tally.counts["same"] for chunk in given])
    np.testing.assert_array_equal(found.trials, 50 * np.arange(1, 31))
    np.testing.assert_allclose(found.estimates, counts / found.trials, rtol=1e-15)
    expected = [confidence_sequence(int(c), int(n), 0.01) for c, n in zip(counts, found.trials, strict=True)]
    np.testing.assert_array_equal(found.lower, [interval.lower for interval in expected])
    np.testing.assert_array_equal(found.upper, [interval.upper for interval in expected])
    narrower = plots.running(given, task, error=0.1)
    assert np.all(narrower.upper < found.upper)
    few = plots.running(given, task, error=0.01, most=4)
    assert len(few.trials) == 4
    assert set(few.trials) <= set(found.trials)
    assert few.trials[-1] == 1500


def test_a_running_estimate_is_read_from_a_ledger(tmp_path):
    task = Task.of("pattern-overlap", width=20, k=2, cosine=0.9, chunk_trials=20)
    with campaign.Ledger(tmp_path / "l.db") as ledger:
        for seed in (1, 2):
            campaign.run([task], ledger, campaign.Until(trials=100), seed=seed)
        first, second = (plots.running(ledger, task, seed, "disjoint") for seed in (1, 2))
        overlap = plots.running(ledger, task, 1)
        assert not np.array_equal(first.estimates, second.estimates)
        counts = np.cumsum([chunk.tally.counts["disjoint"] for chunk in ledger.chunks(task, 1)])
        np.testing.assert_allclose(first.estimates * first.trials, counts)
        assert overlap.estimates[-1] == pytest.approx(ledger.total(task, 1).tally.mean("overlap"))
        with pytest.raises(InvalidArgumentError, match="outcome='other' is not measured by 'pattern-overlap'"):
            plots.running(ledger, task, 1, "other")
        with pytest.raises(InvalidArgumentError, match="has no chunks with seed 3"):
            plots.running(ledger, task, 3)


def test_values_without_bounds_run_too():
    task = Task("boundary-crossings", 1, {"width": 4}, 2, (Outcome("changes", "value"),))
    given = [Chunk(i, Tally(2, {}, {"changes": Moments.of([i, i + 1.0])}), 0.0) for i in range(5)]
    found = plots.running(given, task)
    np.testing.assert_allclose(found.estimates, [0.5, 1.0, 1.5, 2.0, 2.5])
    assert np.all(found.lower < found.estimates)


def test_convergence_shows_band_estimate_and_level():
    axis = axis_of()
    plots.convergence(axis, [1, 10], [0.4, 0.3], [0.1, 0.2], [0.9, 0.5], 0.33, label="mean", color="#123456")
    assert axis.get_xscale() == "log"
    assert axis.get_xlabel() == "trials"
    assert sorted(axis.get_legend_handles_labels()[1]) == ["confidence sequence", "exact", "mean"]
    assert axis.lines[1].get_ydata()[0] == 0.33
    plain = axis_of()
    plots.convergence(plain, [1, 10], [0.4, 0.3], [0.1, 0.2], [0.9, 0.5])
    assert sorted(plain.get_legend_handles_labels()[1]) == ["confidence sequence", "running estimate"]


# Scaling.


def power_law(seed: int, deviations, slope: float = -1.5):
    """Points whose logarithms are normal with these standard deviations around ``log 3 + slope log x``."""
    x = np.geomspace(1, 1000, len(deviations))
    noise = np.random.default_rng(np.random.SeedSequence([17, seed])).standard_normal(len(x))
    return x, 3 * x**slope * np.exp(np.asarray(deviations) * noise)


DEVIATIONS = np.array([0.02, 0.3, 0.05, 0.5, 0.1])


@pytest.mark.parametrize("seed", range(5))
def test_the_weighted_fit_is_numpys(seed):
    x, y = power_law(seed, DEVIATIONS)
    fit = plots.scaling_fit(x, y, y * DEVIATIONS, error=0.05)
    (slope, intercept), covariance = np.polyfit(np.log(x), np.log(y), 1, w=1 / DEVIATIONS, cov="unscaled")
    assert (fit.slope, fit.intercept) == (pytest.approx(slope, rel=1e-10), pytest.approx(intercept, rel=1e-10))
    assert fit.slope_standard_error == pytest.approx(math.sqrt(covariance[0, 0]), rel=1e-10)
    half = stats.norm.isf(0.025) * fit.slope_standard_error
    assert fit.slope_interval == (pytest.approx(fit.slope - half), pytest.approx(fit.slope + half))
    residuals = (np.log(y) - intercept - slope * np.log(x)) / DEVIATIONS
    assert fit.chi_square == pytest.approx(np.sum(residuals**2))
    assert (fit.degrees, fit.method) == (3, "normal, from the given standard errors")


@pytest.mark.parametrize("seed", range(5))
def test_the_plain_fit_is_scipys(seed):
    x, y = power_law(seed, [0.2] * 5)
    fit = plots.scaling_fit(x, y, error=0.05)
    other = stats.linregress(np.log(x), np.log(y))
    assert (fit.slope, fit.intercept) == (pytest.approx(other.slope), pytest.approx(other.intercept))
    assert fit.slope_standard_error == pytest.approx(other.stderr)
    assert fit.slope_interval[1] - fit.slope == pytest.approx(stats.t.isf(0.025, 3) * other.stderr)
    assert fit.chi_square is None
    assert "Student's t with 3 degrees" in fit.method


# 3000 fits at error 0.1 see a miss rate that is off by 0.025 (4.6 standard deviations of 0.0055).
FITS, MISS = 3000, 0.1


def misses(fits, slope: float = -1.5) -> float:
    """The exact two-sided binomial p-value of how often the interval misses the slope."""
    missed = sum(not fit.slope_interval[0] <= slope <= fit.slope_interval[1] for fit in fits)
    return float(stats.binomtest(missed, FITS, MISS).pvalue)


LEVEL = math.erfc(4.6 / math.sqrt(2))


def test_the_intervals_miss_as_often_as_they_say():
    sets = [power_law(seed, DEVIATIONS) for seed in range(FITS)]
    assert misses(plots.scaling_fit(x, y, y * DEVIATIONS, error=MISS) for x, y in sets) > LEVEL
    # The controls: errors stated in another unit, and the interval of equal variances where they are not equal.
    assert misses(plots.scaling_fit(x, y, y * DEVIATIONS**2, error=MISS) for x, y in sets) < LEVEL
    assert misses(plots.scaling_fit(x, y, error=MISS) for x, y in sets) < LEVEL


def test_students_interval_is_exact_for_few_points_and_the_normal_one_is_not():
    fits = [plots.scaling_fit(*power_law(seed, [0.2] * 4), error=MISS) for seed in range(FITS)]
    assert misses(fits) > LEVEL
    quantile = stats.norm.isf(MISS / 2)
    missed = sum(abs(fit.slope + 1.5) > quantile * fit.slope_standard_error for fit in fits)
    assert stats.binomtest(missed, FITS, MISS).pvalue < LEVEL


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1, 0], [1, 1]), r"y=\[1, 0\] is not allowed"),
        (([1, -2], [1, 1], [1, 1]), r"x=\[1, -2\] is not allowed"),
        (([1, 2], [1, 1], [1, math.inf]), "standard_error=.* is not allowed"),
        (([[1, 2]], [1, 1]), "x=.* must be a list of positive finite numbers"),
        (([1, 2, 3], [1, 1]), "must have the same length"),
        (([1, 2], [1, 1]), "x has 2 values: a slope needs two different ones, three points without"),
        (([2, 2], [1, 1], [1, 1]), "x has 2 values: a slope needs two different ones"),
    ],
)
def test_points_that_have_no_fit_are_refused(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        plots.scaling_fit(*arguments)


def test_an_error_outside_its_range_is_refused():
    with pytest.raises(InvalidArgumentError, match="error=1"):
        plots.scaling_fit([1, 2], [1, 1], [1, 1], error=1)


@pytest.mark.parametrize("log", [False, True])
def test_a_fit_is_drawn_over_its_points(log):
    fit = plots.scaling_fit([1, 10, 100], [3, 0.3, 0.03], [0.1, 0.01, 0.001])
    axis = axis_of()
    plots.draw_fit(axis, fit, log=log, color="#123456")
    x, y = axis.lines[0].get_data()
    ends = ([0, 2], [math.log10(3), math.log10(0.03)]) if log else ([1, 100], [3, 0.03])
    np.testing.assert_allclose((x[[0, -1]], y[[0, -1]]), ends, atol=1e-9)
    assert axis.lines[0].get_label().startswith("fit: exponent -1, 99.9 %: [-1.")
    plots.draw_fit(axis, fit, label="mine")
    assert axis.lines[1].get_label() == "mine"
