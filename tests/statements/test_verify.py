"""The run as a whole: what is judged, by which routes, with which outcome; and every sentence of refusal."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from kwta_theory import inputs, simulation, theory, verify
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.statements import (
    DEFAULT,
    STATEMENTS,
    Budget,
    Outcome,
    Progress,
    Settings,
    disjointness,
    example_1,
    lemma_5,
    theorem_1,
    theorem_11,
)

TINY = Budget("tiny", normals=4e6, max_trials=2_000)
POINTS = inputs.gaussian_points(4, 16, seed=3)


@pytest.fixture(scope="module")
def verdicts():
    return verify(inputs=POINTS, budget=TINY, width=512, sparsity_ratio=0.1)


def test_every_statement_of_the_default_is_judged(verdicts):
    assert list(dict.fromkeys(v.statement for v in verdicts)) == list(DEFAULT)


def test_nothing_true_is_contradicted(verdicts):
    assert all(v.outcome is not Outcome.REFUTED for v in verdicts)
    assert all(v.routes_agree for v in verdicts)
    # What stays open is what is said to: "for every x'" has one route in 16 dimensions, in 2 the level delta/4 takes
    # more layers than this budget has, and some lemmas are only searched.
    undecided = [v for v in verdicts if v.outcome is Outcome.UNDECIDED]
    assert all(v.scope == "every x'" or v.findings for v in undecided)
    every = {v.statement for v in undecided if v.scope == "every x'"}
    assert every == {"theorem-1", "theorem-8", "theorem-9", "theorem-8-cells", "theorem-9-cells"}


def test_for_every_point_nothing_is_called_true_on_one_route(verdicts):
    every = [v for v in verdicts if v.scope == "every x'" and not v.statement.endswith("-cells")]
    assert len(every) == 9
    for v in every:
        assert v.outcome in (Outcome.VACUOUS, Outcome.UNDECIDED)
        assert v.measured is None
        assert "for every x' at the latest at width" in v.first_true
        assert v.exact.upper >= v.exact.lower
    granted = [v for v in every if v.outcome is Outcome.UNDECIDED]
    assert len(granted) == 3
    assert all(v.exact.upper <= v.claimed_log_failure for v in granted)
    assert all("the certified cell of a pattern, is not computed here" in v.reason for v in granted)


def test_the_argument_with_exact_laws_reaches_the_level_at_the_width_that_it_names(verdicts):
    """One winner fewer does not: the width is where it starts to, and not a number beyond it."""
    named = [
        v
        for v in verdicts
        if v.scope == "every x'" and v.inputs != "-" and "which reaches the claimed level all the same" in v.reason
    ]
    assert {v.statement for v in named} == {"theorem-1", "theorem-8", "theorem-9"}
    v = next(v for v in named if v.statement == "theorem-9")
    width = round(math.exp(v.log_width))
    cosine = theory.cosine_from_beta(0.1)
    assert theory.theorem8_exact_failure(width, 16, 0.1, cosine, log=True) <= v.claimed_log_failure
    assert theory.theorem8_exact_failure(width - 10, 16, 0.1, cosine, log=True) > v.claimed_log_failure


def test_below_the_granted_width_a_verdict_is_vacuous_with_what_was_measured(verdicts):
    probable = [v for v in verdicts if v.granted_log_width is not None and v.scope != "every x'"]
    below = [v for v in probable if v.log_width < v.granted_log_width]
    assert len(below) >= 12
    for v in below:
        assert v.outcome is Outcome.VACUOUS
        assert v.first_true
        assert v.measured.failures.trials > 0
        assert "the proof grants P >=" in v.reason
    granted = [v for v in probable if v.log_width >= v.granted_log_width]
    assert {v.outcome for v in granted} == {Outcome.HOLDS}
    assert len(granted) == 7


def test_disjointness_is_drawn_at_every_width_even_at_the_one_that_the_proof_grants(verdicts):
    for name in ("theorem-2", "theorem-10", "theorem-11"):
        some = [v for v in verdicts if v.statement == name]
        assert all(v.measured is not None and v.also for v in some)
        assert max(v.log_width for v in some) > 1000
        assert "by counting at" in some[0].first_true


def test_where_the_level_is_first_reached_it_is_measured_too(verdicts):
    for name in ("theorem-1", "theorem-8", "theorem-9", "theorem-10"):
        first = [v for v in verdicts if v.statement == name and "which reaches the claimed level" in v.reason]
        widths = [v.log_width for v in first if v.measured is not None]
        assert any(math.isclose(width, first[0].first_true_log_width, rel_tol=1e-3) for width in widths)


def test_pointwise_verdicts_say_that_they_are_not_the_theorem(verdicts):
    for v in verdicts:
        if v.statement in ("theorem-1", "theorem-8", "theorem-9") and v.scope != "every x'":
            assert v.label.endswith(" (pointwise)")
            assert "whether it holds for every x' at once is not decided here" in v.note


def test_every_simulated_claim_has_an_exact_route_that_agrees(verdicts):
    simulated = [v for v in verdicts if v.measured is not None]
    assert len(simulated) >= 8
    assert all(v.exact is not None for v in simulated)


def test_the_same_seed_gives_the_same_numbers_whatever_the_number_of_workers(verdicts):
    again = verify(inputs=POINTS, budget=TINY, width=512, sparsity_ratio=0.1, workers=1)
    assert again == verdicts  # seconds do not take part in the comparison
    other = verify(inputs=POINTS, budget=TINY, width=512, sparsity_ratio=0.1, seed=1)
    assert other != verdicts


def test_one_statement_on_one_input_gets_the_same_simulation_as_in_the_whole_run(verdicts):
    alone = verify(["theorem-10"], POINTS, TINY, width=512)
    whole = [v for v in verdicts if v.statement == "theorem-10"]
    assert [v.measured and v.measured.failures for v in alone] == [v.measured and v.measured.failures for v in whole]


def test_the_whole_run_shares_one_error(verdicts):
    errors = {v.measured.error for v in verdicts if v.measured is not None}
    number = sum(v.measured is not None for v in verdicts) + sum(len(v.findings) for v in verdicts)
    assert len(errors) == 1
    assert math.isclose(errors.pop() * number, TINY.interval_error)
    assert TINY.interval_error + 1000 * TINY.search_error <= TINY.error * (1 + 1e-12)


def test_progress_is_told_before_and_after_every_verdict():
    steps: list[Progress] = []
    result = verify(["lemma-5"], POINTS, TINY, width=512, progress=steps.append)
    assert steps[0].total == 0
    assert "finding the widths of lemma-5" in steps[0].label
    assert [step.verdict for step in steps[2::2]] == result
    assert all(step.verdict is None for step in steps[1::2])
    assert steps[-1].done == steps[-1].total == len(result)


def test_theorem_2_with_a_fixed_ratio_is_refuted_with_a_witness_that_replays():
    result = verify(["theorem-2-fixed-ratio"], POINTS, TINY, width=512)
    assert {v.outcome for v in result} == {Outcome.REFUTED}
    scope: dict[str, object] = {}
    *imports, call = result[0].witness.split("; ")
    exec("; ".join(imports), scope)
    log_disjoint = eval(call, scope)
    assert log_disjoint < math.log(1 - 0.05)


def test_a_width_that_is_too_small_by_ten_is_not_granted():
    """A planted falsehood: with the proof's width divided until the conclusion fails, the judge refutes it."""
    settings = Settings(width=64, sparsity_ratio=0.1, budget=TINY)
    wrong = dataclasses.replace(theorem_1.claim(16, settings), granted_width=40.0)
    from kwta_theory.statements.judge import judge
    from kwta_theory.statements.pointwise import change_case

    case = change_case(POINTS, settings, wrong, 64, simulated=True)
    verdict = judge(STATEMENTS["theorem-1"], "planted", case, settings, 1e-4, seed=0)
    assert verdict.outcome is Outcome.REFUTED
    assert verdict.witness


def test_the_exact_law_and_the_simulation_of_lemma_5_share_the_margin():
    """The margin is part of the event: without it the same call would give another probability."""
    settings = Settings(width=20, sparsity_ratio=0.1, cosine=0.6)
    case = next(lemma_5.cases(POINTS, settings))
    sample = case.simulate(20_000, 5)
    failures = sample.successes.complement()
    assert failures.interval(1e-5).lower <= math.exp(case.exact().upper) <= failures.interval(1e-5).upper
    without = theory.same_pattern(20, 2, 0.6)
    assert not failures.interval(1e-5).lower <= without <= failures.interval(1e-5).upper


@pytest.mark.parametrize("k", [1, 3])
def test_the_bracket_over_pairs_contains_the_simulation(k):
    cosines = disjointness.pair_cosines(POINTS)
    law = disjointness.bracket(cosines, k, math.log(300))
    counts = simulation.disjoint_patterns(300, k, trials=20_000, points=POINTS.points, seed=11)
    interval = counts.all_pairs.complement().interval(1e-5)
    assert math.exp(law.lower) <= interval.upper
    assert math.exp(law.upper) >= interval.lower
    assert math.exp(law.upper) < 1


@pytest.mark.parametrize("k", [1, 3])
def test_with_many_pairs_the_bracket_stays_above_the_sum_over_pairs_and_close_to_it(k):
    many = inputs.gaussian_points(14, 6, seed=1)  # 91 pairs
    cosines = disjointness.pair_cosines(many)
    assert len(cosines) > disjointness.MOST_COSINES
    law = disjointness.bracket(cosines, k, math.log(10**12))
    exact = math.log(sum(theory.intersecting_patterns(10**12, k, cosine) for cosine in cosines))
    assert exact <= law.upper < exact + math.log(1.3)
    assert law.lower <= math.log(theory.intersecting_patterns(10**12, k, cosines[0])) <= law.lower + 1e-7
    assert ("supposing" in law.route) == (k == 3)
    values, counts = disjointness.rounded_up(np.asarray(cosines))
    assert counts.sum() == len(cosines)
    assert values.max() == pytest.approx(cosines[0], abs=1e-15)


@pytest.mark.parametrize(("width", "k"), [(20, 2), (1000, 3), (10**6, 10)])
def test_a_shared_winner_gets_likelier_with_the_cosine(width, k):
    """What the rounding of cosines supposes for k > 1."""
    grid = np.linspace(-0.95, 0.99, 98)
    logs = [theory.intersecting_patterns(width, k, cosine, log=True) for cosine in grid.tolist()]
    assert (np.diff(logs) > 0).all()


def test_a_layer_too_narrow_for_two_disjoint_patterns_fails_for_certain():
    law = disjointness.bracket((0.5,), 10, math.log(15))
    assert law.lower == law.upper == 0.0


def test_large_cosines_of_bernoulli_inputs_are_bounded_by_the_trinomial():
    """Against enumeration of all pairs of 0/1 vectors of length 5, zero vectors included."""
    m, p, cosine = 5, 0.4, 0.8
    vectors = (np.arange(2**m)[:, None] >> np.arange(m)) & 1
    weight = p ** vectors.sum(1) * (1 - p) ** (m - vectors.sum(1))
    total = 0.0
    for x, wx in zip(vectors, weight, strict=True):
        for y, wy in zip(vectors, weight, strict=True):
            norms = math.sqrt(x.sum() * y.sum())
            if (norms and x @ y / norms > cosine) or (not x.any() and not y.any()):
                total += wx * wy
    bound = math.exp(example_1.log_large_cosine(m, p, cosine))
    assert total <= bound <= 2.5 * total


def test_theorem_11_for_two_winners_finds_its_width_by_simulation():
    result = verify(["theorem-11"], POINTS, TINY, width=256, k=2)
    assert "simulation, widths doubled" in result[0].first_true
    assert result[0].first_true_log_width < math.log(256)


def test_theorem_11_says_when_no_width_was_found():
    points = inputs.gaussian_points(40, 64, seed=0)
    settings = Settings(width=16, k=2, budget=TINY)
    found = theorem_11.first_interpolation(points, settings)
    assert found.log_width is None
    assert "at no width up to 16" in found.text


def test_curves_are_ordered_and_finite_in_width():
    settings = Settings(width=512, budget=TINY)
    for statement in STATEMENTS.values():
        for curve in statement.curves(POINTS, settings) if statement.curves else []:
            assert len(curve.log_width) == len(curve.log_failure)
            assert list(curve.log_width) == sorted(curve.log_width)
            assert all(y <= 1e-9 for y in curve.log_failure)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"sparsity_ratio": 0.48},
            r"sparsity_ratio=0.48 is outside the hypothesis of Lemma 5: it must be in \(0, 0.48\)",
        ),
        ({"cosine": 0.4}, r"cosine=0.4 is outside the hypothesis of Lemma 5: alpha must be in \(0.5, 1\)"),
        ({"statements": ["theorem-8"], "cosine": 0.4}, "outside the hypothesis of Theorem 8"),
        ({"statements": ["theorem-1"], "sparsity_ratio": 0.6}, "outside the hypothesis of Theorem 1"),
        ({"statements": ["theorem-9"], "sparsity_ratio": 0.6}, "outside the hypothesis of Theorem 9"),
        ({"statements": ["theorem-9"], "beta": 1.5}, "beta=1.5 is not allowed"),
        ({"statements": ["theorem-2-fixed-ratio"], "sparsity_ratio": 0.5}, "makes disjoint patterns impossible"),
        ({"example_probability": 0.1}, r"outside the hypothesis of Example 1: .* \(0.3821, 0.5\)"),
        (
            {"statements": ["theorem-3"]},
            "statement 'theorem-3' is not there: the statements are piecewise-linearity, appendix-b, lemma-1",
        ),
        ({"lenght": 5}, "lenght is not a parameter of verify: the parameters are width, sparsity_ratio"),
        ({"budget": Budget("small", 1e9, 50)}, "allows 50 trials of a claim, too few to decide: even unanimous"),
        ({"inputs": [[1.0, 0.0], [2.0, 0.0]]}, "identical directions in rows 0 and 1"),
        ({"inputs": [[1.0, 0.0], [0.0, 0.0]]}, "zero row, row 1"),
        ({"inputs": [[1.0, math.nan], [0.0, 1.0]]}, "NaN or infinity in row 0"),
        ({"inputs": [[1.0, 2.0]]}, "hold 1 point: disjointness speaks of at least 2"),
        ({"inputs": [[1.0], [-1.0]], "statements": ["theorem-1"]}, "needs at least 2"),
        ({"inputs": [[1.0], [-1.0]], "statements": ["theorem-10"]}, "have dimension 1: the proof of Theorem 10"),
        ({"inputs": [[1.0, 1.0], [1.0, 1.0 + 1e-9]], "statements": ["theorem-10"]}, "two rows at an angle below 1e-8"),
        ({"statements": ["lemma-5"], "cosine": 1 - 1e-16}, "too close to 1"),
    ],
)
def test_bad_use_gets_a_sentence(arguments, message):
    arguments = {"inputs": POINTS, "budget": TINY, "width": 512} | arguments
    with pytest.raises(InvalidArgumentError, match=message):
        verify(**arguments)


def test_one_trial_beyond_the_budget_leaves_the_exact_law():
    costly = Budget("costly", normals=10.0, max_trials=10_000)
    result = verify(["theorem-10"], POINTS, costly, width=512)
    assert result[0].measured is None
    assert "not simulated" in result[0].reason
    assert result[0].exact is not None


def test_an_array_and_a_list_of_inputs_are_accepted():
    by_array = verify(["theorem-10"], POINTS.points, TINY, width=64)
    assert {v.inputs for v in by_array} == {"array"}
    two = verify(["theorem-10"], [POINTS, inputs.points_with_cosine(3, 0.7)], TINY, width=64)
    assert len({v.inputs for v in two}) == 2
