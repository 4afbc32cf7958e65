from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import (
    Decision,
    Proportion,
    clopper_pearson,
    confidence_sequence,
    decide,
    side_of_threshold,
    trials_to_decide,
    unanimous_trials_needed,
)

laws = settings(derandomize=True, database=None, deadline=None, max_examples=100)
FALSE_ALARM = 4e-6
Draw = Callable[[int, int], Proportion]


def coin(probability: float, seed: int) -> Draw:
    def draw(chunk: int, trials: int) -> Proportion:
        return Proportion(int(np.random.default_rng([seed, chunk]).binomial(trials, probability)), trials)

    return draw


def never(chunk: int, trials: int) -> Proportion:
    raise AssertionError("a budget that is refused must not be spent")


class TestSideOfThreshold:
    @laws
    @given(st.integers(0, 10**6), st.data(), st.floats(0.0, 1.0), st.floats(1e-9, 0.5))
    def test_is_where_the_interval_lies(self, trials: int, data: st.DataObject, threshold: float, error: float) -> None:
        count = Proportion(data.draw(st.integers(0, trials)), trials)
        interval = confidence_sequence(count.successes, count.trials, error)
        assume(min(abs(threshold - interval.lower), abs(threshold - interval.upper)) > 1e-12)
        side = side_of_threshold(count, threshold, error)
        assert (side is Decision.ABOVE) == (interval.lower > threshold)
        assert (side is Decision.BELOW) == (interval.upper < threshold)

    def test_thresholds_zero_and_one(self) -> None:
        assert side_of_threshold(Proportion(1, 10**6), 0.0, 1e-9) is Decision.ABOVE
        assert side_of_threshold(Proportion(0, 10**6), 0.0, 1e-9) is Decision.UNDECIDED
        assert side_of_threshold(Proportion(10**6 - 1, 10**6), 1.0, 1e-9) is Decision.BELOW
        assert side_of_threshold(Proportion(10**6, 10**6), 1.0, 1e-9) is Decision.UNDECIDED

    def test_prior_matters(self) -> None:
        assert side_of_threshold(Proportion(0, 10), 0.3, 0.05) is Decision.UNDECIDED
        assert side_of_threshold(Proportion(0, 10), 0.3, 0.05, (0.5, 20)) is Decision.BELOW


class TestTrialsToDecide:
    @pytest.mark.parametrize(("successes", "out_of"), [(0, 1), (1, 1), (1, 2), (3, 10), (99, 100)])
    @pytest.mark.parametrize("threshold", [0.2, 0.75, 0.97])
    def test_is_the_first_multiple_that_decides_and_the_last_that_does_not(
        self, successes: int, out_of: int, threshold: float
    ) -> None:
        """Brute force over the counts that have exactly this proportion."""
        needed = trials_to_decide(successes / out_of, threshold, 0.01)
        assert needed is not None
        multiples = range(1, 3 * needed // out_of + 2)
        decided = [
            side_of_threshold(Proportion(m * successes, m * out_of), threshold, 0.01) is not Decision.UNDECIDED
            for m in multiples
        ]
        assert decided == [m * out_of >= needed for m in multiples]

    @laws
    @given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(1e-9, 0.3))
    def test_is_more_for_a_smaller_error_and_a_closer_threshold(
        self, value: float, threshold: float, error: float
    ) -> None:
        assume(abs(value - threshold) > 1e-3)
        needed = trials_to_decide(value, threshold, error)
        closer = trials_to_decide(value, (value + threshold) / 2, error)
        surer = trials_to_decide(value, threshold, error / 10)
        assert needed is not None
        assert closer is not None
        assert surer is not None
        assert needed <= min(closer, surer)

    @laws
    @given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(1e-9, 0.3))
    def test_is_symmetric(self, value: float, threshold: float, error: float) -> None:
        assume(abs(value - threshold) > 1e-6)
        one, other = trials_to_decide(value, threshold, error), trials_to_decide(1 - value, 1 - threshold, error)
        assert one == pytest.approx(other, rel=1e-6, abs=1)

    def test_no_number_decides_at_the_threshold(self) -> None:
        assert trials_to_decide(0.3, 0.3, 0.1) is None
        assert trials_to_decide(1.0, 1.0, 0.1) is None
        assert trials_to_decide(0.0, 5e-324, 0.1) is None  # more than 2^1000
        assert trials_to_decide(0.999, 1.0, 1e-9) == 1

    def test_prior_matters(self) -> None:
        default, close = trials_to_decide(0.01, 0.05, 0.01), trials_to_decide(0.01, 0.05, 0.01, (1, 99))
        assert default is not None
        assert close is not None
        assert close < default

    def test_unanimous_trials(self) -> None:
        above = unanimous_trials_needed(1 - 2.0**-20, 0.001, Decision.ABOVE)
        assert above is not None
        assert 2**20 * math.log(1000) < above < 3 * 2**20 * math.log(1000)
        assert side_of_threshold(Proportion(above, above), 1 - 2.0**-20, 0.001) is Decision.ABOVE
        assert side_of_threshold(Proportion(above - 1, above - 1), 1 - 2.0**-20, 0.001) is Decision.UNDECIDED
        assert unanimous_trials_needed(2.0**-20, 0.001, Decision.BELOW) == above
        assert unanimous_trials_needed(1.0, 0.1, Decision.ABOVE) is None
        assert unanimous_trials_needed(0.0, 0.1, Decision.BELOW) is None
        assert unanimous_trials_needed(0.5, 0.1, Decision.ABOVE, (0.5, 5)) != unanimous_trials_needed(
            0.5, 0.1, Decision.ABOVE
        )

    def test_refusals(self) -> None:
        with pytest.raises(InvalidArgumentError, match="value=2"):
            trials_to_decide(2, 0.5, 0.1)
        with pytest.raises(InvalidArgumentError, match="threshold=-1"):
            trials_to_decide(0.5, -1, 0.1)
        with pytest.raises(InvalidArgumentError, match="error=0"):
            side_of_threshold(Proportion(), 0.5, 0.0)
        with pytest.raises(
            InvalidArgumentError, match=r"side=.*UNDECIDED.* must be Decision\.ABOVE or Decision\.BELOW"
        ):
            unanimous_trials_needed(0.5, 0.1, Decision.UNDECIDED)


class TestDecide:
    @pytest.mark.parametrize(("threshold", "decision"), [(0.3, Decision.ABOVE), (0.7, Decision.BELOW)])
    def test_decides_early(self, threshold: float, decision: Decision) -> None:
        judgement = decide(coin(0.5, 1), threshold, 1e-6, 10**9)
        assert judgement.decision is decision
        assert judgement.count.trials < 2000
        assert judgement.trials_needed is None
        assert judgement.interval == confidence_sequence(judgement.count.successes, judgement.count.trials, 1e-6)
        assert threshold not in judgement.interval
        assert (judgement.threshold, judgement.error) == (threshold, 1e-6)

    def test_undecided_says_how_many_trials_would_decide(self) -> None:
        judgement = decide(coin(0.5, 2), 0.51, 0.01, 5000)
        assert judgement.decision is Decision.UNDECIDED
        assert judgement.count.trials == 5000
        assert judgement.trials_needed == trials_to_decide(judgement.count.value, 0.51, 0.01)
        assert judgement.trials_needed is not None
        assert judgement.trials_needed > 5000
        scaled = Proportion(round(judgement.count.value * judgement.trials_needed), judgement.trials_needed)
        assert side_of_threshold(scaled + Proportion(0, 100), 0.51, 0.01) is Decision.BELOW

    def test_at_the_threshold_itself_no_number_is_named(self) -> None:
        judgement = decide(lambda _, trials: Proportion(trials // 2, trials), 0.5, 0.1, 1000, first_chunk=10)
        assert judgement.decision is Decision.UNDECIDED
        assert judgement.trials_needed is None

    def test_chunks_grow_geometrically_and_end_with_the_budget(self) -> None:
        asked: list[tuple[int, int]] = []

        def draw(chunk: int, trials: int) -> Proportion:
            asked.append((chunk, trials))
            return Proportion(trials // 2, trials)

        judgement = decide(draw, 0.5, 0.01, 1000, first_chunk=10, growth=3)
        assert asked == [(0, 10), (1, 30), (2, 90), (3, 270), (4, 600)]
        assert judgement.chunks == 5
        asked.clear()
        decide(draw, 0.5, 0.01, 50, first_chunk=20, growth=1)
        assert asked == [(0, 20), (1, 20), (2, 10)]
        asked.clear()
        decide(draw, 0.5, 0.01, 50, first_chunk=1, growth=1.5)
        assert [trials for _, trials in asked] == [1, 2, 3, 4, 6, 8, 12, 14]

    def test_same_seed_same_judgement(self) -> None:
        assert decide(coin(0.5, 3), 0.52, 0.01, 10**5) == decide(coin(0.5, 3), 0.52, 0.01, 10**5)
        assert decide(coin(0.5, 3), 0.52, 0.01, 10**5) != decide(coin(0.5, 4), 0.52, 0.01, 10**5)

    def test_prior_reaches_the_looks(self) -> None:
        few, many = (
            decide(coin(0.001, 5), 0.01, 0.01, 10**5, first_chunk=1, growth=1, prior=prior).count.trials
            for prior in ((0.5, 50), (0.5, 0.5))
        )
        assert few < many

    def test_judgement_is_frozen(self) -> None:
        judgement = decide(coin(0.5, 1), 0.1, 0.01, 1000)
        with pytest.raises(dataclasses.FrozenInstanceError):
            judgement.chunks = 0  # type: ignore[misc]


class TestHopelessBudgets:
    def test_smallest_budget_that_can_decide_is_accepted(self) -> None:
        needed = unanimous_trials_needed(0.5, 1e-6, Decision.ABOVE)
        assert needed is not None
        judgement = decide(lambda _, trials: Proportion(trials, trials), 0.5, 1e-6, needed)
        assert judgement.decision is Decision.ABOVE
        with pytest.raises(
            InvalidArgumentError,
            match=rf"max_trials={needed - 1} is a budget too small to decide: at threshold=0\.5 and error=1e-06 "
            rf"any decision takes at least {needed} trials",
        ):
            decide(never, 0.5, 1e-6, needed - 1)

    def test_side_refuses_a_budget_that_could_only_refute(self) -> None:
        assert decide(coin(0.5, 1), 0.9999, 0.01, 1000).decision is Decision.BELOW
        with pytest.raises(InvalidArgumentError, match="the decision ABOVE takes at least"):
            decide(never, 0.9999, 0.01, 1000, side=Decision.ABOVE)
        with pytest.raises(InvalidArgumentError, match=r"threshold=1\.0 does not allow the decision ABOVE"):
            decide(never, 1.0, 0.01, 1000, side=Decision.ABOVE)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"max_trials": 0}, "max_trials=0"),
            ({"first_chunk": 0}, "first_chunk=0"),
            ({"growth": 0.5}, r"growth=0\.5"),
            ({"error": 1.0}, r"error=1\.0"),
            ({"threshold": 1.5}, r"threshold=1\.5"),
            ({"prior": (0.0, 1.0)}, r"prior\[0\]"),
            ({"side": Decision.UNDECIDED}, "side="),
        ],
    )
    def test_wrong_arguments(self, arguments: dict[str, object], match: str) -> None:
        usual: dict[str, object] = {"threshold": 0.5, "error": 0.01, "max_trials": 100}
        with pytest.raises(InvalidArgumentError, match=match):
            decide(never, **{**usual, **arguments})  # type: ignore[arg-type]

    @pytest.mark.parametrize("returned", [Proportion(0, 5), (0, 100), None])
    def test_a_draw_that_returns_something_else(self, returned: Proportion) -> None:
        with pytest.raises(InvalidArgumentError, match=r"draw\(0, 100\) returned .* it must count 100 trials"):
            decide(lambda *_: returned, 0.5, 0.01, 100)


class TestErrorOfTheStoppingRule:
    """The probability equals the threshold, so that each decision is wrong; looks after 10, 20, ..., 500 trials."""

    looks = 50

    def test_wrong_decisions_stay_within_the_error(self) -> None:
        # 1,000 runs: a rate of 0.17 instead of at most 0.1 would be seen with certainty; about 0.03 is expected.
        wrong = sum(
            decide(coin(0.4, seed), 0.4, 0.1, 10 * self.looks, first_chunk=10, growth=1).decision
            is not Decision.UNDECIDED
            for seed in range(1000)
        )
        assert wrong > 0
        assert stats.binom.sf(wrong - 1, 1000, 0.1) > FALSE_ALARM

    def test_the_same_test_rejects_clopper_pearson_at_each_look(self) -> None:
        """Negative control: stopping as soon as an interval for one look excludes the threshold."""

        @functools.cache
        def excluded(successes: int, trials: int) -> bool:
            return 0.4 not in clopper_pearson(successes, trials, 0.1)

        wrong = 0
        for seed in range(1000):
            draw = coin(0.4, seed)
            counts = itertools.accumulate(draw(chunk, 10).successes for chunk in range(self.looks))
            wrong += any(excluded(x, 10 * (i + 1)) for i, x in enumerate(counts))
        assert stats.binom.sf(wrong - 1, 1000, 0.1) < FALSE_ALARM
