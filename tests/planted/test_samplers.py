"""Samplers made wrong on purpose: counting alone, without the exact law at hand, refutes each of them.

A sampler counts in how many of its trials an event happened. "It has the law p" is claimed as two ordinary cases,
``P >= p - slack`` and ``P <= p + slack``, and judged by the ordinary judge. The slack is what a sampler may be off by
without harm, and with 100,000 trials the exact interval at an error of 1e-6 reaches at most 0.0078 to either side (4.9
standard errors): a bias of 0.012 is found half of the time, one of 0.016 with probability 0.99. The smallest one
planted is 0.02 (0.01 where the law is 1 and the interval a tenth as long). Where a generator starts anew every 20
trials the mean is right, and its spread of 0.1 gives it away.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import special, stats
from typer.testing import CliRunner

from kwta_theory import cli, inputs, seeding, simulation, theory, verify
from kwta_theory.confidence import Proportion
from kwta_theory.simulation import layers, pairs
from kwta_theory.simulation.kernels import keeps_pattern, threshold, winner_mask
from kwta_theory.statements import Budget, LogBracket, Outcome, Settings, Verdict
from kwta_theory.statements.case import Case, Sample, Statement
from kwta_theory.statements.judge import judge

TRIALS, ERROR, SLACK = 100_000, 1e-6, 0.004
SETTINGS = Settings(budget=Budget("planted", normals=1e9, max_trials=TRIALS), device="cpu", workers=1)
STATEMENT = Statement("sampler", "A sampler", "It has its law.", lambda _: None, lambda *_: iter(()))
# (trials, seed) -> in how many of the trials the event happened
Sampler = Callable[[int, int], int]


def cases(sampler: Sampler, law: float, *, exact: bool = False) -> Iterator[Case]:
    """``P >= law - slack`` and ``P <= law + slack``; a bound that allows everything is VACUOUS to the judge."""
    counted = functools.cache(sampler)  # both sides are judged from one count
    for sign, claimed, allowed in ((1, "P >= p - slack", 1 - law + SLACK), (-1, "P <= p + slack", law + SLACK)):
        failure = 1 - law if sign > 0 else law
        log_failure = math.log(failure) if failure > 0 else -math.inf

        def simulate(trials: int, seed: int, sign: int = sign) -> Sample:
            count = Proportion(counted(trials, seed), trials)
            return Sample(count if sign > 0 else count.complement())

        yield Case(
            {"p": law},
            0.0,
            claimed,
            math.log(allowed),
            None,
            exact=(lambda value=log_failure: LogBracket(value, value, "the exact law")) if exact else None,
            simulate=simulate,
            simulate_call="sampler({trials}, {seed})",
        )


def verdicts(sampler: Sampler, law: float, *, exact: bool = False) -> list[Verdict]:
    return [judge(STATEMENT, "-", case, SETTINGS, ERROR, seed=17) for case in cases(sampler, law, exact=exact)]


def generator_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed]))


# --- a pair of inputs, the event of the same pattern: width 20, k = 2, cosine 0.9 ---

WIDTH, K, COSINE = 20, 2, 0.9
FACTOR = np.array([[1.0, 0.0], [COSINE, math.sqrt(1 - COSINE**2)]])
Draw = Callable[[np.random.Generator, int], np.ndarray]


def normals(generator: np.random.Generator, trials: int) -> np.ndarray:
    return generator.standard_normal((trials, 2, WIDTH))


def pair_sampler(draw: Draw = normals, factor: np.ndarray = FACTOR, k: int = K, second: int = K) -> Sampler:
    """Outputs ``F w`` of two inputs, and whether they have the same winners."""

    def sampler(trials: int, seed: int) -> int:
        outputs = torch.from_numpy(factor @ draw(generator_of(seed), trials))
        if k == second:
            return int(keeps_pattern(winner_mask(outputs[:, 0], k), outputs[:, 1], 0.0).sum())
        both = winner_mask(outputs[:, 0], k) & winner_mask(outputs[:, 1], second)
        return int((both.sum(-1) == k).sum())

    return sampler


def neighbours_alike(generator: np.random.Generator, trials: int) -> np.ndarray:
    rows = normals(generator, trials)
    rows[..., 1::2] = 0.9 * rows[..., ::2] + math.sqrt(1 - 0.9**2) * rows[..., 1::2]
    return rows


def antithetic_rows(generator: np.random.Generator, trials: int) -> np.ndarray:
    rows = normals(generator, trials)
    rows[..., 1::2] = -rows[..., ::2]
    return rows


def one_layer_for_all(generator: np.random.Generator, trials: int) -> np.ndarray:
    return np.repeat(normals(generator, 1), trials, axis=0)


def reseeded_every_tile(generator: np.random.Generator, trials: int, tile: int = 20) -> np.ndarray:
    return np.tile(normals(generator, tile), (trials // tile, 1, 1))


def one_row_with_a_bias(generator: np.random.Generator, trials: int) -> np.ndarray:
    rows = normals(generator, trials)
    rows[:, 0, 0] += 2.0
    return rows


def cauchy(generator: np.random.Generator, trials: int) -> np.ndarray:
    return generator.standard_cauchy((trials, 2, WIDTH))


def both_win(draw: Draw) -> Sampler:
    """Whether rows 0 and 1 are both among the winners of one input when half of the rows win."""

    def sampler(trials: int, seed: int) -> int:
        mask = winner_mask(torch.from_numpy(draw(generator_of(seed), trials)[:, 0]), WIDTH // 2)
        return int((mask[:, 0] & mask[:, 1]).sum())

    return sampler


def drawn_again_where_it_failed(trials: int, seed: int) -> int:
    first = pair_sampler()(trials, seed)
    return first + pair_sampler()(trials - first, seed + 1)


def rotated(cosine: float) -> np.ndarray:
    return np.array([[1.0, 0.0], [cosine, math.sqrt(1 - cosine**2)]])


# --- the largest of 100 outputs beyond 2.4: width and spread of the normals themselves ---

ROWS, LEVEL = 100, 2.4


def largest_sampler(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Sampler:
    return lambda trials, seed: int((draw(generator_of(seed), trials).max(axis=1) > LEVEL).sum())


def true_rows(generator: np.random.Generator, trials: int) -> np.ndarray:
    return generator.standard_normal((trials, ROWS))


def louder_rows(generator: np.random.Generator, trials: int) -> np.ndarray:
    return math.sqrt(1.02) * true_rows(generator, trials)


def common_factor(generator: np.random.Generator, trials: int) -> np.ndarray:
    return math.sqrt(0.9) * true_rows(generator, trials) + math.sqrt(0.1) * generator.standard_normal((trials, 1))


def uniform_rows(generator: np.random.Generator, trials: int) -> np.ndarray:
    return generator.uniform(-math.sqrt(3), math.sqrt(3), (trials, ROWS))


# --- the tail: the largest of 1e8 outputs beyond 5.5, drawn as one uniform to the power 1e-8 ---

DEEP_ROWS, DEEP_LEVEL = 10**8, 5.5


def tail_sampler(bits: int | None) -> Sampler:
    """Rounding is monotone: the largest of ``n`` rounded uniforms is the rounded ``U^(1/n)``."""

    def sampler(trials: int, seed: int) -> int:
        beyond = -np.expm1(np.log(generator_of(seed).random(trials)) / DEEP_ROWS)  # 1 - U^(1/n)
        if bits is not None:
            beyond = np.ceil(beyond * 2.0**bits) / 2.0**bits  # uniforms rounded down to the grid
        return int((-special.ndtri(beyond) > DEEP_LEVEL).sum())

    return sampler


# --- ties: 8 outputs of 0 or 1, k = 3; the first output wins, and exactly k win ---

TIED_WIDTH, TIED_K, ONES = 8, 3, 0.3
FIRST_WINS = ONES + (1 - ONES) * stats.binom.cdf(TIED_K - 1, TIED_WIDTH - 1, ONES)


def first_by_index(y: torch.Tensor) -> torch.Tensor:
    return winner_mask(y, TIED_K)


def last_by_index(y: torch.Tensor) -> torch.Tensor:
    return winner_mask(y.flip(-1), TIED_K).flip(-1)


def all_that_tie(y: torch.Tensor) -> torch.Tensor:
    return y >= threshold(y, TIED_K)


def tie_sampler(rule: Callable[[torch.Tensor], torch.Tensor], *, number: bool) -> Sampler:
    def sampler(trials: int, seed: int) -> int:
        y = torch.from_numpy((generator_of(seed).random((trials, TIED_WIDTH)) < ONES).astype(np.float64))
        mask = rule(y)
        return int((mask.sum(-1) == TIED_K).sum() if number else mask[:, 0].sum())

    return sampler


def half_precision(rule: Callable[[torch.Tensor, int], torch.Tensor]) -> Sampler:
    """Whether exactly 13 of 128 float16 outputs win."""

    def sampler(trials: int, seed: int) -> int:
        y = torch.from_numpy(generator_of(seed).standard_normal((trials, 128)).astype(np.float16))
        return int((rule(y, 13).sum(-1) == 13).sum())

    return sampler


# --- the package's own estimators, in another precision and at other arguments ---


NARROW_ANGLE = 1 - 1e-6


def disjoint_sampler(k: int = 3) -> Sampler:
    return lambda trials, seed: (
        simulation.disjoint_patterns(60, k, 0.8, trials, seed=seed, device="cpu").all_pairs.successes
    )


def same_sampler(cosine: float = COSINE) -> Sampler:
    return lambda trials, seed: (
        simulation.same_pattern(
            WIDTH, K, cosine, trials, seed=seed, method="dense", input_dim=3, device="cpu"
        ).successes
    )


def precision_sampler(dtype: torch.dtype) -> Sampler:
    return lambda trials, seed: (
        simulation.same_pattern(150, 15, NARROW_ANGLE, trials, seed=seed, dtype=dtype, device="cpu").successes
    )


SAME = theory.same_pattern(WIDTH, K, COSINE)
LARGEST = -math.expm1(ROWS * float(special.log_ndtr(LEVEL)))
DEEP = -math.expm1(DEEP_ROWS * float(special.log_ndtr(DEEP_LEVEL)))
BOTH = 0.5 * (WIDTH // 2 - 1) / (WIDTH - 1)
NARROW = theory.same_pattern(150, 15, NARROW_ANGLE)
DISJOINT = theory.disjoint_patterns(60, 3, 0.8)


@dataclass(frozen=True)
class Wrong:
    """A broken sampler, the law that it should have and the true sampler of that law."""

    name: str
    wrong: str
    sampler: Sampler
    true: Sampler
    law: float


PAIR_TRUE, ROWS_TRUE = pair_sampler(), largest_sampler(true_rows)
WRONG = [
    # The laws of the pairs are off by at least 0.02, five times the slack.
    Wrong("neighbours-alike", "rows 2j and 2j + 1 correlated at 0.9", pair_sampler(neighbours_alike), PAIR_TRUE, SAME),
    Wrong("antithetic", "row 2j + 1 is minus row 2j", both_win(antithetic_rows), both_win(normals), BOTH),
    Wrong("one-layer", "one W for all trials", pair_sampler(one_layer_for_all), PAIR_TRUE, SAME),
    Wrong("reseeded", "the generator starts anew every 20 trials", pair_sampler(reseeded_every_tile), PAIR_TRUE, SAME),
    Wrong("bias", "one row has a bias of two standard deviations", pair_sampler(one_row_with_a_bias), PAIR_TRUE, SAME),
    Wrong("cauchy", "Cauchy weights in place of normal ones", pair_sampler(cauchy), PAIR_TRUE, SAME),
    Wrong("transposed", "the factor of the Gram matrix transposed", pair_sampler(factor=FACTOR.T), PAIR_TRUE, SAME),
    Wrong("cosine", "the cosine off by 0.01", pair_sampler(factor=rotated(COSINE + 0.01)), PAIR_TRUE, SAME),
    Wrong("fresh-layer", "a new W for the second input", pair_sampler(factor=np.eye(2)), PAIR_TRUE, SAME),
    Wrong("k-plus-one", "k + 1 winners in place of k", pair_sampler(k=K + 1, second=K + 1), PAIR_TRUE, SAME),
    Wrong("k-from-k-plus-one", "k + 1 winners of the second input", pair_sampler(second=K + 1), PAIR_TRUE, SAME),
    Wrong("retried", "a trial that fails is drawn once more", drawn_again_where_it_failed, PAIR_TRUE, SAME),
    # A spread of 1 % moves log(l Q(t)) by t^2/100 = 0.058, that is P by 0.021, five times the slack.
    Wrong("variance", "a variance of 1.02", largest_sampler(louder_rows), ROWS_TRUE, LARGEST),
    Wrong("common-factor", "rows share a tenth of the variance", largest_sampler(common_factor), ROWS_TRUE, LARGEST),
    Wrong("uniform", "uniform outputs of variance 1", largest_sampler(uniform_rows), ROWS_TRUE, LARGEST),
    Wrong("float32-tail", "inverted 24-bit uniforms end at 5.3", tail_sampler(24), tail_sampler(None), DEEP),
    Wrong(
        "ties-upwards",
        "among equal outputs the larger index wins",
        tie_sampler(last_by_index, number=False),
        tie_sampler(first_by_index, number=False),
        FIRST_WINS,
    ),
    Wrong(
        "all-ties",
        "everything that equals the k-th largest wins",
        tie_sampler(all_that_tie, number=True),
        tie_sampler(first_by_index, number=True),
        1.0,
    ),
    Wrong(
        "released-code-in-float16",
        "y >= k-th largest in half precision, as the released code has it",
        half_precision(lambda y, k: y >= threshold(y, k)),
        half_precision(winner_mask),
        1.0,
    ),
    Wrong(
        "half-precision",
        "outputs in bfloat16 at an angle of 0.0014: the second input is rounded to the first",
        precision_sampler(torch.bfloat16),
        precision_sampler(torch.float64),
        NARROW,
    ),
    Wrong("estimator-k", "the estimator with k + 1", disjoint_sampler(k=4), disjoint_sampler(), DISJOINT),
    Wrong("estimator-cosine", "the estimator at 0.91, W drawn", same_sampler(0.91), same_sampler(), SAME),
]  # fmt: skip


@pytest.mark.parametrize("wrong", [pytest.param(w, id=f"{w.name}: {w.wrong}") for w in WRONG])
def test_a_broken_sampler_is_refuted_by_counting_and_the_true_one_is_not(wrong: Wrong):
    broken = verdicts(wrong.sampler, wrong.law)
    assert [v.outcome for v in broken].count(Outcome.REFUTED) == 1, [v.reason for v in broken]
    refuted = next(v for v in broken if v.outcome is Outcome.REFUTED)
    assert refuted.witness == f"sampler({TRIALS}, 17)"
    assert all(v.exact is None for v in broken)
    true = verdicts(wrong.true, wrong.law)
    assert all(v.outcome is not Outcome.REFUTED for v in true), [v.reason for v in true]


def test_there_are_enough_of_them():
    assert len(WRONG) >= 20
    assert len({w.name for w in WRONG}) == len(WRONG)


@pytest.mark.parametrize("name", ["cosine", "variance", "ties-upwards"])
def test_with_the_exact_law_at_hand_a_broken_sampler_decides_nothing(name: str):
    """Two routes that contradict each other: the judge cannot know which is broken, and says so."""
    wrong = next(w for w in WRONG if w.name == name)
    for verdict in verdicts(wrong.sampler, wrong.law, exact=True):
        assert verdict.outcome is Outcome.UNDECIDED
        assert not verdict.routes_agree
        assert "the routes disagree" in verdict.reason
    assert all(v.outcome is Outcome.HOLDS and v.routes_agree for v in verdicts(wrong.true, wrong.law, exact=True))


# --- the same through `verify` and `kwta verify`: a piece of the simulation replaced by a wrong one ---


def one_winner_more(patch: pytest.MonkeyPatch) -> None:
    """``same_pattern`` selects k + 1 winners."""
    patch.setattr(pairs, "winner_mask", lambda y, k: winner_mask(y, k + 1))


def cosine_off(patch: pytest.MonkeyPatch) -> None:
    """The Gram factor is that of a cosine larger by 0.02."""
    right = layers.from_cosine

    def wrong(cosine: float, method: str = "gram", input_dim: int | None = None) -> layers.Inputs:
        return right(cosine + 0.02, method, input_dim)

    patch.setattr(layers, "from_cosine", wrong)


def bias_in_a_row(patch: pytest.MonkeyPatch) -> None:
    """Every stream of normals adds 3 to the first row of the layer."""
    right = seeding.Stream.normals

    def wrong(stream: seeding.Stream, *arguments: object) -> torch.Tensor:
        drawn = right(stream, *arguments)  # type: ignore[arg-type]
        drawn[..., 0] += 3.0
        return drawn

    patch.setattr(seeding.Stream, "normals", wrong)


def one_tile_for_all(patch: pytest.MonkeyPatch) -> None:
    """Every tile starts from the same state, and holds one trial over and over."""
    right = seeding.Stream.normals

    def wrong(stream: seeding.Stream, index: tuple[int, ...], *arguments: object) -> torch.Tensor:
        drawn = right(stream, (0, *index[1:]), *arguments)  # type: ignore[arg-type]
        return drawn[:1].expand_as(drawn).contiguous()

    patch.setattr(seeding.Stream, "normals", wrong)


BUDGET = Budget("planted", normals=1e7, max_trials=20_000)
# Too little to measure where a level is crossed, which takes seconds.
SMALL = Budget("small", normals=2e5, max_trials=5_000)
THREE = inputs.points_with_cosine(3, 0.8)
BROKEN = [
    pytest.param("lemma-5", BUDGET, one_winner_more, id="lemma-5: k + 1 winners"),
    pytest.param("lemma-5", BUDGET, cosine_off, id="lemma-5: cosine off by 0.02"),
    pytest.param("lemma-5", BUDGET, bias_in_a_row, id="lemma-5: a row with a bias"),
    pytest.param("theorem-8", BUDGET, one_tile_for_all, id="theorem-8: one layer for all trials"),
    pytest.param("theorem-10", SMALL, one_tile_for_all, id="theorem-10: one layer for all trials"),
]


@pytest.mark.parametrize(("name", "budget", "plant"), BROKEN)
def test_verify_with_a_broken_simulation_reports_that_the_routes_disagree(name, budget, plant, monkeypatch):
    arguments = {"budget": budget, "width": 30, "cosine": 0.8, "device": "cpu", "workers": 1}
    sound = verify([name], THREE, **arguments)
    assert all(v.routes_agree for v in sound), [v.reason for v in sound]
    assert cli.exit_code(sound) == 0
    disjoint_cache_clear()
    plant(monkeypatch)
    broken = verify([name], THREE, **arguments)
    disjoint_cache_clear()
    contradicted = [v for v in broken if not v.routes_agree]
    assert contradicted, [v.reason for v in broken]
    assert {v.outcome for v in contradicted} == {Outcome.UNDECIDED}
    assert all("one of them is wrong" in v.reason for v in contradicted)
    assert cli.exit_code(broken) == 1


def disjoint_cache_clear() -> None:
    """The widths that a search has measured are remembered; a broken simulation must not leave any behind."""
    from kwta_theory.statements import disjointness

    disjointness.search_crossing.cache_clear()


def test_the_command_exits_with_1_when_the_routes_disagree(monkeypatch):
    arguments = ["verify", "--only", "lemma-5", "--width", "30", "--budget", "quick", "--trials", "20000", "--quiet"]
    arguments += ["--inputs", "cosine", "--points", "2"]
    run = CliRunner(env={"NO_COLOR": "1"}).invoke
    assert run(cli.app, arguments).exit_code == 0
    one_winner_more(monkeypatch)
    result = run(cli.app, arguments)
    assert result.exit_code == 1
    assert "the routes disagree" in result.stdout
