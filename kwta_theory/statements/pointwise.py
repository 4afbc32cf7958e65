"""What Theorems 1, 8 and 9 say of one fixed ``x'`` and of every ``x'``: shared by their three modules.

The theorems speak of every ``x'`` at once. For one ``x'`` the law of the pair is exact, so this weaker form is
decided for certain; it is named pointwise everywhere, because it does not decide the theorems. No number of sampled
directions would: points with the same pattern are so rare among directions that sampling does not meet them.

For every ``x'`` there is a bracket: from below the law of one fixed ``x'``, from above the argument of the paper's
proof with exact laws in its steps (``theory.theorem8_exact_argument``). That is one route, so the form for every ``x'``
is not called true on its strength. Up to :data:`LARGEST_CELL` dimensions the second route decides: layers are drawn,
and the cell of the pattern of each is bounded by a certificate or reaches the distance by a witness
(:mod:`kwta_theory.geometry.reach`); the bracket only has to agree. In more dimensions the level ``2^-m`` would take
too many layers.

The theorems condition on rows of at most ``10 sqrt(m)``. The layers drawn are not conditioned: with entries ``N(0,
1/l)`` a longer row has probability below ``e^-280`` from ``m = 2``, ``l = 3`` on (:func:`log_norm_failure`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from kwta_theory import checks, theory
from kwta_theory.confidence import Proportion
from kwta_theory.inputs import Inputs
from kwta_theory.statements import words
from kwta_theory.statements.case import Case, Curve, FirstTrue, Sample, Statement
from kwta_theory.statements.search import smallest_width, widths_to_measure
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket

NOTE = (
    "this is the form for one fixed x'; whether it holds for every x' at once is not decided here, and no number of "
    "sampled directions would decide it."
)
POINTWISE, EVERY = "pointwise", "every x'"
WITHHELD = (
    "that is one route, and a second one, the certified cell of a pattern, is not computed here: the level would take "
    "too many drawn layers"
)
CERTIFIED = (
    "x' is not sampled: each drawn layer is decided for every x' at once, by a certificate for its cell or by a "
    "witness x', both checked exactly. Of layers wider than 65,536 the rows nearest to the threshold are drawn, and "
    "only certificates count."
)
LARGEST_CELL = 6
# As in geometry.reach, which is not loaded for a number.
LARGEST_STORED = 2**16
# The work of one layer, in normals that could be drawn in its time.
FEWEST_NORMALS_IN_THE_PLANE, FEWEST_NORMALS = 8_192.0, 1.1e5
# Layers of one case, ten times as many for a thorough one: when all are certified, some two hundred decide.
MOST_LAYERS_IN_THE_PLANE, MOST_LAYERS = 5_000, 500
LARGEST_SEARCHED_WIDTH = 10**9
# delta = 1 itself is outside Theorem 8; Theorem 1 claims its limit.
DELTA_ONE = math.nextafter(1.0, 0.0)


def check_sparsity_ratio(settings: Settings, statement: str) -> None:
    """The hypothesis ``gamma in (0, 0.48)`` of Lemma 5, Theorems 8 and 9 and Example 1."""
    if not 0 < settings.sparsity_ratio < 0.48:
        raise checks.InvalidArgumentError(
            f"sparsity_ratio={settings.sparsity_ratio!r} is outside the hypothesis of {statement}: it must be in "
            "(0, 0.48)."
        )


def log_norm_failure(width: int, input_dim: int) -> float:
    """Upper bound on ``log P(some row of W is longer than 10 sqrt(m))``, the event that Theorem 8 conditions on.

    With entries ``N(0, 1/l)`` the event is ``chi2_m > 100 m l`` for one of ``l`` rows, and Chernoff's bound
    ``P(chi2_m >= m a) <= exp(-(m/2)(a - 1 - log a))`` is rigorous for ``a = 100 l > 1``.
    """
    a = 100.0 * width
    return math.log(width) - input_dim / 2 * (a - 1 - math.log(a))


def log_same_given_norms(width: int, k: int, cosine: float, input_dim: int) -> LogBracket:
    """Bracket of ``log P(same pattern | all rows are short)``: ``[p - q, p] / (1 - q)`` with ``q`` the bound above."""
    log_same = theory.same_pattern(width, k, cosine, log=True)
    log_long = log_norm_failure(width, input_dim)
    if log_long >= 0:
        return LogBracket(-math.inf, 0.0, "no law: the bound on the row norms is empty")
    correction = -math.log1p(-math.exp(log_long))
    lower = log_same + math.log1p(-math.exp(log_long - log_same)) if log_long < log_same else -math.inf
    return LogBracket(lower, log_same + correction, "the exact law of a pair")


def perpendicular_direction(point: np.ndarray, seed: int) -> np.ndarray:
    """A random unit vector perpendicular to ``point``, made so twice (one projection leaves rounding behind)."""
    direction = np.random.default_rng(np.random.SeedSequence([seed, 1])).standard_normal(point.shape)
    unit = point / np.linalg.norm(point)
    for _ in range(2):
        direction -= (direction @ unit) * unit
        direction /= np.linalg.norm(direction)
    return direction


def check_input_dim(inputs: Inputs, statement: str) -> None:
    """A perpendicular direction needs a second dimension."""
    if inputs.input_dim < 2:
        raise checks.InvalidArgumentError(
            f"inputs {inputs.name!r} have dimension {inputs.input_dim}: {statement} speaks of a perturbation "
            "perpendicular to x, which needs at least 2."
        )


@dataclass(frozen=True)
class Rotation:
    """What a theorem claims of ``x'`` at one angle.

    Attributes:
        cosine: of the angle between ``x`` and ``x'``.
        log_failure: ``log`` of the failure probability that the theorem allows.
        granted_width: from which on its proof grants that.
        named: the theorem's own parameters.
    """

    cosine: float
    log_failure: float
    granted_width: float
    named: Mapping[str, float] = field(hash=False, compare=False)


@functools.lru_cache(maxsize=256)
def first_change(sparsity_ratio: float, rotation: Rotation) -> FirstTrue:
    """The smallest width at which one fixed ``x'`` changes the pattern as often as claimed, by the exact law."""

    def holds(width: int) -> bool:
        k = checks.winners(width, sparsity_ratio)
        return theory.same_pattern(width, k, rotation.cosine, log=True) <= rotation.log_failure

    width = smallest_width(holds, math.ceil(1 / sparsity_ratio), LARGEST_SEARCHED_WIDTH)
    if width is None:
        return FirstTrue(f"at no width up to {LARGEST_SEARCHED_WIDTH:.0e}", None)
    return FirstTrue(f"for this x' at width {width:,} (exact law)", math.log(width))


def change_case(inputs: Inputs, settings: Settings, rotation: Rotation, width: int, *, simulated: bool) -> Case:
    """One claim "the pattern of this ``x'`` differs from that of ``x`` with probability at least ..."."""
    cosine = rotation.cosine
    k = checks.winners(width, settings.sparsity_ratio)
    point = inputs.points[0]
    distance = math.sqrt(theory.beta_from_cosine(cosine)) * float(np.linalg.norm(point))

    def simulate(trials: int, seed: int) -> Sample:
        from kwta_theory import simulation  # torch is imported only where something is drawn

        change = simulation.pattern_change(
            width,
            k,
            point,
            perpendicular_direction(point, seed)[None, :],
            distance,
            trials,
            seed=seed,
            device=settings.device,
            memory_budget=settings.memory_budget,
            workers=settings.workers,
        )
        return Sample(change.changed[0])

    return Case(
        parameters={"m": inputs.input_dim, "sparsity_ratio": settings.sparsity_ratio, "k": k, **rotation.named},
        log_width=math.log(width),
        claimed=words.at_least(rotation.log_failure),
        claimed_log_failure=rotation.log_failure,
        granted_log_width=math.log(rotation.granted_width),
        exact=lambda: log_same_given_norms(width, k, cosine, inputs.input_dim),
        exact_call=f"from kwta_theory import theory; theory.same_pattern({width}, {k}, {cosine!r}, log=True)",
        simulate=simulate if simulated else None,
        simulate_call=(
            f"from kwta_theory import simulation; simulation.same_pattern({width}, {k}, {cosine!r}, {{trials}}, "
            "seed={seed})"
        ),
        normals_per_trial=2.0 * width,
        first_true=lambda: first_change(settings.sparsity_ratio, rotation),
        note=NOTE,
    )


@functools.lru_cache(maxsize=1024)
def log_failure_for_some(width: int, input_dim: int, sparsity_ratio: float, cosine: float) -> float:
    """Upper bound on ``log P(some x' at this cosine or below has the pattern of x)``, remembered: figures ask again."""
    return theory.theorem8_exact_failure(width, input_dim, sparsity_ratio, cosine, log=True)


@functools.lru_cache(maxsize=256)
def exact_argument_width(input_dim: int, sparsity_ratio: float, rotation: Rotation) -> int:
    """The width from which on the proof's argument with exact laws grants the theorem's level, for every ``x'``."""
    # The level is delta 2^-m, which is how the theorem's delta comes back.
    failure = min(math.exp(rotation.log_failure + input_dim * math.log(2)), DELTA_ONE)
    return math.ceil(theory.theorem8_width(input_dim, sparsity_ratio, rotation.cosine, failure, constants="exact"))


def every_case(inputs: Inputs, settings: Settings, rotation: Rotation, width: int) -> Case:
    """The claim for every ``x'`` at once: bracketed, by the law of one ``x'`` from below."""
    pointwise = change_case(inputs, settings, rotation, width, simulated=False)
    m, ratio = inputs.input_dim, settings.sparsity_ratio

    def exact() -> LogBracket:
        lower = log_same_given_norms(width, checks.winners(width, ratio), rotation.cosine, m).lower
        upper = log_failure_for_some(width, m, ratio, rotation.cosine)
        return LogBracket(min(lower, upper), upper, "the proof's argument with exact laws")

    def first_true() -> FirstTrue:
        latest = exact_argument_width(m, ratio, rotation)
        return FirstTrue(
            f"for every x' at the latest at width {words.width(math.log(latest))} (the proof's argument, exact laws), "
            f"and {first_change(ratio, rotation).text}",
            math.log(latest),
        )

    case = dataclasses.replace(
        pointwise,
        exact=exact,
        exact_call=(
            f"from kwta_theory import theory; theory.theorem8_exact_failure({width}, {m}, {ratio!r}, "
            f"{rotation.cosine!r}, log=True)"
        ),
        first_true=first_true,
        note="",
        scope=EVERY,
        withheld=WITHHELD,
    )
    return certified_case(case, m, settings, rotation, width) if m <= LARGEST_CELL else case


def certified_case(case: Case, input_dim: int, settings: Settings, rotation: Rotation, width: int) -> Case:
    """The same claim, decided by drawn layers, each for every ``x'`` at once."""
    k = checks.winners(width, settings.sparsity_ratio)
    beta = rotation.named.get("beta", theory.beta_from_cosine(rotation.cosine))

    def simulate(trials: int, seed: int) -> Sample:
        from kwta_theory.geometry import reach  # a solver of linear programmes is loaded only where cells are

        found = reach.reach(width, input_dim, k, beta, trials, seed)
        return Sample(Proportion(found.certified, trials), open=found.open)

    drawn = input_dim * width if width <= LARGEST_STORED else 0
    return dataclasses.replace(
        case,
        simulate=simulate,
        simulate_call=(
            f"from kwta_theory.geometry.reach import reach; reach({width}, {input_dim}, {k}, {beta!r}, {{trials}}, "
            "seed={seed})"
        ),
        normals_per_trial=max(drawn, layer_work(input_dim, settings)),
        note=CERTIFIED,
        withheld="",
        counts_decide=True,
    )


def layer_work(input_dim: int, settings: Settings) -> float:
    """What one layer costs at least, in normals, so that a case has no more layers than it needs."""
    plane, budget = input_dim == 2, settings.budget
    most = (MOST_LAYERS_IN_THE_PLANE if plane else MOST_LAYERS) * (10 if budget.name == "thorough" else 1)
    return max(FEWEST_NORMALS_IN_THE_PLANE if plane else FEWEST_NORMALS, budget.normals / most)


def proved_curves(input_dim: int, settings: Settings, rotation: Rotation) -> list[Curve]:
    """For every ``x'``: the bound at which the proof arrives, and the same argument with exact laws."""
    ratio, m = settings.sparsity_ratio, input_dim
    start = math.log(exact_argument_width(m, ratio, rotation))
    widths = [round(math.exp(start + step * math.log(4))) for step in (-0.25, 0, 0.5, 1, 2, 3)]
    bounds = [log_failure_for_some(width, m, ratio, rotation.cosine) for width in widths]
    return [Curve("every x': the proof's argument, exact", "proved", tuple(map(math.log, widths)), tuple(bounds))]


def change_curves(settings: Settings, rotation: Rotation) -> list[Curve]:
    """Exact failure probability against the width, and the level that the theorem asks for from its own width on."""
    first = first_change(settings.sparsity_ratio, rotation).log_width
    granted = math.log(rotation.granted_width)
    low = math.log(max(2 / settings.sparsity_ratio, 10))
    high = max(first or 0.0, math.log(settings.width)) + math.log(4)
    widths = [round(math.exp(low + (high - low) * i / 24)) for i in range(25)]
    exact = [
        theory.same_pattern(width, checks.winners(width, settings.sparsity_ratio), rotation.cosine, log=True)
        for width in widths
    ]
    return [
        Curve("exact law, one fixed x'", "exact", tuple(map(math.log, widths)), tuple(exact)),
        Curve(
            "claimed, from the proof's width on",
            "claimed",
            (granted, granted + math.log(1e3)),
            (rotation.log_failure,) * 2,
        ),
    ]


def rotation_statement(
    name: str, title: str, text: str, hypotheses: Callable[[Settings], None], claim: Callable[[int, Settings], Rotation]
) -> Statement:
    """A theorem about rotating ``x``: judged at the width asked for, then at the width that its proof grants.

    Args:
        name: what ``--only`` takes.
        title: heading.
        text: the theorem in the paper's words.
        hypotheses: raises where the settings break one.
        claim: ``(input_dim, settings)`` to the rotation, the level and the granted width.
    """

    def cases(inputs: Inputs, settings: Settings) -> Iterator[Case]:
        check_input_dim(inputs, title)
        rotation = claim(inputs.input_dim, settings)
        for width in widths_to_measure(settings, first_change(settings.sparsity_ratio, rotation)):
            yield change_case(inputs, settings, rotation, width, simulated=True)
        yield change_case(inputs, settings, rotation, math.ceil(rotation.granted_width), simulated=False)
        exact_width = exact_argument_width(inputs.input_dim, settings.sparsity_ratio, rotation)
        for width in sorted({settings.width, exact_width, math.ceil(rotation.granted_width)}):
            yield every_case(inputs, settings, rotation, width)

    def curves(inputs: Inputs, settings: Settings) -> list[Curve]:
        rotation = claim(inputs.input_dim, settings)
        return [*change_curves(settings, rotation), *proved_curves(inputs.input_dim, settings, rotation)]

    return Statement(name, title, text, hypotheses, cases, curves, scope=POINTWISE)


def every_statement(
    name: str, title: str, text: str, hypotheses: Callable[[Settings], None], claim: Callable[[int, Settings], Rotation]
) -> Statement:
    """The same theorem for every ``x'``, in so few dimensions that drawn layers decide it; any ``x`` has the same law.

    Judged at the width asked for, at the one from which on the proof's argument with exact laws reaches the level, and
    at the one that the proof grants. Arguments as in :func:`rotation_statement`.
    """

    def cases(_: Inputs, settings: Settings) -> Iterator[Case]:
        for input_dim in decidable_dimensions(settings, claim):
            rotation = claim(input_dim, settings)
            first = Inputs("e_1", np.eye(input_dim)[:1], "the first unit vector")
            exact = exact_argument_width(input_dim, settings.sparsity_ratio, rotation)
            for width in sorted({settings.width, exact, math.ceil(rotation.granted_width)}):
                yield every_case(first, settings, rotation, width)

    return Statement(name, title, text, hypotheses, cases, scope=EVERY, uses_inputs=False)


def decidable_dimensions(settings: Settings, claim: Callable[[int, Settings], Rotation]) -> list[int]:
    """2 and, up to 4, the dimensions whose level so many layers as the budget allows decide if all are certified."""
    trials = settings.budget.trials(layer_work(3, settings))
    # a run has some hundred intervals; a level p needs log(2/error)/-log(1 - p) unanimous trials
    evidence = math.log(2 * 100 / settings.budget.interval_error)
    return [2] + [m for m in (3, 4) if -trials * math.log1p(-math.exp(claim(m, settings).log_failure)) >= evidence]
