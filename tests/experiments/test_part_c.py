"""The scripts on pieces, cells, nets and packings: their files, and their numbers by a second route."""

from __future__ import annotations

import csv
import dataclasses
import doctest
import functools
import math
import runpy
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy import integrate, stats

from kwta_theory import campaign, kwta, theory
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.report import plots
from kwta_theory.report.experiment import Found, main
from kwta_theory.theory import codes, nets

FOLDER = Path(__file__).parents[2] / "experiments"
SAMPLED = ("section_3_pieces", "lemma_2_angles")
TABLES = ("lemma_6_nets", "lemma_9", "remark_1")


@functools.cache  # an estimator can be registered once
def script(name: str) -> dict:
    return runpy.run_path(str(FOLDER / f"{name}.py"))


def tiny(name: str):
    """The experiment with small chunks and few of them, the small layers only; a table with a few dimensions."""
    experiment = script(name)["EXPERIMENT"]
    if experiment.tasks is None:
        return experiment

    def tasks(budget):
        whole = experiment.tasks(budget)
        few = [task for task in whole if task.parameters["width"] < 50 and task.parameters.get("layers", 1) == 1]
        ends = [task for task in whole if task not in few and task.parameters.get("k") in (0, 4, 20, 100)][:4]
        return [
            campaign.Task.of(task.estimator, chunk_trials=20, **task.parameters) for task in dict.fromkeys(few + ends)
        ]

    return dataclasses.replace(experiment, tasks=tasks, until=lambda _: campaign.Until(trials=20))


@pytest.fixture(scope="module", params=[*SAMPLED, *TABLES])
def finished(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "lemma_6_nets":  # a few dimensions are enough
        script(request.param)["table"].__globals__["DIMS"] = {"quick": 4}
    experiment, drawn = tiny(request.param), []

    def kept(draw):
        return lambda found: drawn.append(draw(found)) or drawn[-1]

    experiment = dataclasses.replace(experiment, figures={n: kept(draw) for n, draw in experiment.figures.items()})
    code = main(experiment, ["--results", str(folder), "--workers", "1", "--quiet"])
    return request.param, folder, code, drawn


def test_every_script_writes_its_table_and_figures_and_finds_no_contradiction(finished):
    name, folder, code, _ = finished
    assert code == 0
    with (folder / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 7
    assert all(row["inside"] in ("True", "") for row in rows)
    for stem in script(name)["EXPERIMENT"].figures:
        assert (folder / f"{stem}.png").read_bytes()[:4] == b"\x89PNG"
        assert (folder / f"{stem}.svg").read_text().startswith("<svg")


def test_every_panel_has_labels_and_every_figure_a_caption(finished):
    name, _, _, drawn = finished
    assert len(drawn) == len(script(name)["EXPERIMENT"].figures)
    for figure in drawn:
        assert plots.captions(figure)
        assert any(axis.get_xlabel() for axis in figure.axes)
        assert all(axis.get_ylabel() for axis in figure.axes)


def test_a_wrong_law_is_a_finding(tmp_path):
    """Half the boundary density: seen within 400 trials of the smallest layer (|z| about 20)."""
    experiment = script("section_3_pieces")["EXPERIMENT"]
    wrong = dataclasses.replace(
        experiment,
        tasks=lambda _: [campaign.Task.of("pieces-on-a-segment", width=20, layers=1, k=7, chunk_trials=50)],
        until=lambda _: campaign.Until(trials=400),
        exact=lambda row: (experiment.exact(row) or 0.0) / 2 if row["outcome"] == "changes" else None,
        figures={},
    )
    assert main(wrong, ["--results", str(tmp_path), "--workers", "1", "--quiet"]) == 1


def test_the_examples_in_docstrings_are_right():
    """Scripts lie outside the packages whose doctests are collected."""
    example = doctest.DocTestParser().get_doctest(
        script("lemma_9")["largest_shrinkage"].__doc__, script("lemma_9"), "largest_shrinkage", None, 0
    )
    assert doctest.DocTestRunner(verbose=False).run(example) == doctest.TestResults(failed=0, attempted=1)


def test_the_numbers_that_lemma_9_is_said_to_show():
    lemma_9 = script("lemma_9")
    assert round(0.6 + math.sqrt(1 - 0.81), 2) == 1.04
    assert round(lemma_9["largest_cosine"](0.6, 0.9), 2) == 0.89
    assert round(lemma_9["shrinkage"](1 - 2**-40) * 2**40, 3) == 0.293


# Section 3.


def test_the_walk_sees_what_the_packages_activation_does_on_a_grid():
    """Values on a fine grid by torch in float64, and a jump at every change, for k-WTA only."""
    pieces = script("section_3_pieces")
    for k in (4, 0):
        net = pieces["network"](np.random.default_rng(5), 20, 2, k)
        found = list(pieces["walk"](net, (1, 0, 0), (-1, 1, 0)))
        t = (np.arange(4000) + 0.5) / 4000
        x = torch.tensor(np.stack([1 - t, t, 0 * t], axis=1))
        for weight in net.weights[:-1]:
            z = x @ torch.tensor(weight, dtype=torch.float64).T
            x = kwta(z, k) if k else z.relu()
        f = (x @ torch.tensor(net.weights[-1], dtype=torch.float64).T)[:, 0].numpy()
        place = np.searchsorted([float(piece.end) for piece in found], t)
        exact = [
            float(found[i].value[0]) + float(found[i].slope[0]) * (s - float(found[i].start))
            for i, s in zip(place, t, strict=True)
        ]
        assert np.allclose(f, exact, rtol=1e-9, atol=1e-9 * np.abs(f).max())
        sizes = np.abs(pieces["jumps"](found)) / np.abs(f).max()
        assert len(sizes) > 5
        assert (sizes > 1e-6).all() if k else (sizes == 0).all()


def changes(k: int, seed: int, trials: int) -> tuple[float, float]:
    tally = script("section_3_pieces")["draw"]({"width": 20, "layers": 1, "k": k}, trials, seed)
    return tally.mean("changes"), math.sqrt(tally.variance("changes") / trials)


@pytest.mark.parametrize("k", [0, 1, 7])
def test_the_mean_number_of_changes_is_the_boundary_density_times_the_angle(k):
    """800 trials, standard error about 3 percent: a law that is 20 percent off is seen."""
    mean, error = changes(k, 11, 800)
    law = math.pi / 2 * (theory.boundary_density(20, k) if k else 20 / math.pi)
    assert abs(mean - law) < 4.6 * error
    assert abs(mean - 0.8 * law) > 4.6 * error  # the control
    row = {"outcome": "changes", "layers": 1, "width": 20, "k": k}
    assert math.isclose(script("section_3_pieces")["exact"](row), law)


def test_no_change_without_a_jump_and_parts_are_parts():
    draw = script("section_3_pieces")["draw"]
    wta, relu = (draw({"width": 10, "layers": 2, "k": k}, 20, 3) for k in (3, 0))
    assert wta.mean("changes") == wta.mean("jumps") > 0
    assert relu.mean("changes") > relu.mean("jumps") == relu.mean("jump_share") == 0
    assert 0 < wta.mean("jump_share") < 1
    assert wta.counts["surprise"] == relu.counts["surprise"] == 0
    # One ReLU unit is off on the whole segment in one network of four, whose output does not vary at all.
    assert draw({"width": 1, "layers": 1, "k": 0}, 50, 3).mean("jump_share") == 0


def test_estimators_refuse_what_no_layer_has():
    script("section_3_pieces")
    script("lemma_2_angles")
    with pytest.raises(InvalidArgumentError, match="k=21"):
        campaign.Task.of("pieces-on-a-segment", width=20, layers=1, k=21)
    with pytest.raises(InvalidArgumentError, match="layers=0"):
        campaign.Task.of("pieces-on-a-segment", width=20, layers=0, k=2)
    with pytest.raises(InvalidArgumentError, match="angle=4"):
        campaign.Task.of("pattern-around", width=20, k=2, angle=4.0)
    with pytest.raises(InvalidArgumentError, match="k=0"):
        campaign.Task.of("pattern-around", width=20, k=0, angle=1.0)


# Lemma 2.


def kept_by_enumeration(width: int, k: int, angle: float, trials: int, seed: int) -> int:
    """All meetings of two outputs on the way, and the pattern between each two of them."""
    kept = 0
    start, ahead = np.random.default_rng(np.random.SeedSequence(seed)).standard_normal((2, trials, width))
    for x, y in zip(start, ahead, strict=True):
        i, j = np.triu_indices(width, 1)
        meetings = np.arctan2(x[j] - x[i], y[i] - y[j]) % math.pi
        ends = np.concatenate([[0.0], np.sort(meetings[meetings < angle]), [angle]])
        middles = (ends[1:] + ends[:-1]) / 2
        outputs = np.outer(np.cos(middles), x) + np.outer(np.sin(middles), y)
        patterns = np.sort(np.argsort(-outputs, axis=1)[:, :k], axis=1)
        kept += bool((patterns == patterns[0]).all())
    return kept


@pytest.mark.parametrize(("width", "k", "angle"), [(6, 2, 0.5), (8, 1, 1.5), (20, 5, 0.2)])
def test_kept_is_kept_between_all_meetings_of_two_outputs(width, k, angle):
    parameters = {"width": width, "k": k, "angle": angle}
    tally = script("lemma_2_angles")["draw"](parameters, 300, 8)
    assert tally.counts["kept"] == kept_by_enumeration(width, k, angle, 300, 8)
    assert tally.counts["returned"] == 0


def test_the_first_change_has_the_law_of_the_pair_and_is_not_exponential():
    """20,000 trials at one mean distance: 0.30 by the law, 0.37 for changes at random places (z about 20)."""
    density = theory.boundary_density(20, 2)
    tally = script("lemma_2_angles")["draw"]({"width": 20, "k": 2, "angle": 1 / density}, 20_000, 4)
    law = theory.same_pattern(20, 2, math.cos(1 / density))
    for value, right in ((law, True), (math.exp(-1), False)):
        p_value = stats.binomtest(tally.counts["kept"], 20_000, value).pvalue
        assert bool(p_value > 4e-6) is right
    assert round(law, 2) == 0.30
    degrees = math.degrees(script("lemma_2_angles")["median_angle"](20, 2))
    assert round(degrees) == 19
    assert math.isclose(theory.same_pattern(20, 2, math.cos(math.radians(degrees))), 0.5, rel_tol=1e-9)


# Lemma 6.


def test_the_printed_number_is_too_small_from_nineteen_dimensions_on():
    dimension = script("lemma_6_nets")["dimension"]
    below, first, images = (dimension(d) for d in (18, 19, 784))
    assert below["log10_needed"] < 0 < first["log10_needed"]
    assert below["false_from"] is None
    assert first["false_from"] < 1 / 18 < first["false_to"]
    assert round(10 ** images["log10_needed"], 1) == 5.8
    found = [images[name] for name in ("true_below", "false_from", "false_to", "true_above")]
    assert np.allclose(found, [1.7e-6, 8.7e-5, 5.3e-3, 1.13e-2], rtol=0.02)


@pytest.mark.parametrize("d", [40, 784])
def test_the_ends_separate_what_the_bounds_say_at_random_distances(d):
    lemma_6 = script("lemma_6_nets")
    row = lemma_6["dimension"](d)
    for distance in np.exp(np.random.default_rng(2).uniform(math.log(1e-7), math.log(0.99), 60)).tolist():
        printed = d * math.log1p(1 / distance)
        too_small = row["false_from"] < distance < row["false_to"]
        enough = distance < row["true_below"] or distance > row["true_above"]
        assert (lemma_6["needed"](d, distance) > printed) == too_small
        assert (nets.log_net_upper_bound(d, distance) <= printed) == enough


def test_a_known_net_lies_between_the_bounds():
    """The regular polygon is the smallest net of the circle; the printed number is enough there."""
    excess = script("lemma_6_nets")["excess"](2, 0.1)
    points = len(nets.sphere_net(2, 0.1))
    size = math.log10(points) - excess["log10_printed"]
    assert excess["log10_needed"] <= size <= excess["log10_enough"]
    assert size < 0


# Lemma 9.


@pytest.mark.parametrize("cosine", [0.0, 0.3, 0.9, 1 - 1e-6, 1 - 1e-12])
def test_the_largest_shrinkage_against_forty_digits(cosine):
    with mp.workdps(60):
        alpha = mp.mpf(cosine)
        beta = (2 + alpha + mp.sqrt(2 - alpha**2)) / 4
        largest = mp.cos(mp.acos(alpha) - mp.acos(beta))
        expected = float(1 - largest / beta)
    found = script("lemma_9")["largest_shrinkage"](cosine)
    assert math.isclose(found, expected, rel_tol=1e-13)
    proof = script("lemma_9")["shrinkage"](cosine)
    assert proof <= found * (1 + 1e-15)
    assert (4 * proof > found) is (cosine < 1 - 1e-13)  # four times the proof's is too much everywhere


def test_the_seed_changes_the_triples_and_nothing_exact():
    table = script("lemma_9")["table"]
    (first, *_), (second, *_) = ([row for row in table("quick", seed) if row["alpha"] == 0.5] for seed in (0, 1))
    assert first["largest_drawn"] != second["largest_drawn"]
    assert first["exact"] == second["exact"]
    assert 0 <= first["exact"] - first["largest_drawn"] < 1e-4


# Remark 1.


def test_bounds_by_the_area_of_a_cap_by_quadrature():
    """In m dimensions a cap of angle theta has the part int_0^theta sin^(m-2) / int_0^pi sin^(m-2)."""
    for m in (2, 3, 8, 16):
        row = script("remark_1")["sizes"](m, 0.51, 200, 0)
        area = lambda end, m=m: integrate.quad(lambda t: math.sin(t) ** (m - 2), 0, end, epsabs=1e-14)[0]  # noqa: E731
        theta = math.acos(0.51)
        assert math.isclose(row["log10_caps"], math.log10(area(math.pi) / area(theta / 2)), rel_tol=1e-9)
        assert math.isclose(row["log10_always"], math.log10(area(math.pi) / area(theta)), rel_tol=1e-9)
        assert row["log10_always"] <= math.log10(row["known_size"]) <= row["log10_caps"] <= row["log10_remark"]
    assert round(10 ** script("remark_1")["sizes"](8, 0.51, 10, 0)["log10_remark"] - 0.5) == 6924


def test_the_sets_named_are_valid_and_of_their_size():
    sizes = {m: script("remark_1")["sizes"](m, 0.51, 10, 0) for m in (2, 3, 4, 5, 8, 12)}
    assert [row["known_size"] for row in sizes.values()] == [6, 12, 24, 40, 240, 264]
    for points in (codes.icosahedron(), codes.root_system_e8(), codes.root_system_d(12)):
        assert codes.largest_cosine(points) <= 0.51


def test_growth_is_the_limit_of_the_bounds():
    m, cosine = 20_000, 0.8
    half = math.sqrt((1 - cosine) / 2)
    assert math.isclose(theory.log_packing_bound(m, cosine) / m, -math.log(half), rel_tol=1e-3)
    assert math.isclose(-theory.log_cap_fraction(m, cosine) / m, -math.log(math.sqrt(1 - cosine**2)), rel_tol=2e-3)


def test_more_draws_and_another_seed_change_the_greedy_sets():
    sizes = script("remark_1")["sizes"]
    few, more, other = sizes(10, 0.51, 100, 0), sizes(10, 0.51, 2000, 0), sizes(10, 0.51, 100, 1)
    assert few["greedy_size"] < more["greedy_size"]
    assert few["greedy_size"] != other["greedy_size"]
    found = Found([few, more], [], "quick", 0, "")
    assert found.select("greedy_size", draws=100) == [few]
