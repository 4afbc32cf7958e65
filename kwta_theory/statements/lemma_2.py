"""Lemma 2: if every ``x'`` at cosine ``alpha`` has another pattern than ``x``, so has every ``x''`` of smaller cosine.

For unit vectors, ``alpha in (0, 1)`` and no bias. As printed it is false: the proof walks along the line from ``x`` to
``x''``, which for ``x'' = -x`` passes through 0, where there is no direction, and nowhere through cosine ``alpha``.
Take ``x = e_1``, ``k = 1`` and the ``l = m + 1`` rows ``0, e_2, ..., e_m, -(e_2 + ... + e_m)``. All outputs at ``x``
and ``-x`` are 0, so both have the pattern ``{1}``. At any ``x'`` with another direction some output is positive and row
1 gives 0, so every ``x'`` at cosine ``alpha`` has another pattern. (For ``m = 1`` there is no such ``x'`` at all.)

What is true, for every ``W``, ``k``, ``alpha in (-1, 1)``:

- The conclusion for every ``x''`` other than ``-x``. With ``theta = arccos(alpha)`` and ``phi`` in ``(theta, pi)`` the
  angle of ``x''``, the vector ``x' = (sin(phi - theta) x + sin(theta) x'') / sin(phi)`` has length 1, cosine ``alpha``
  and positive weights, so that it has the pattern that ``x`` and ``x''`` share.
- The conclusion for ``x'' = -x``, without any premise, if ``k < l`` and the outputs ``W x`` are not all equal: where
  winner ``i`` and loser ``j`` are the same at ``y`` and ``-y``, ``y_i >= y_j`` and ``-y_i >= -y_j``, so each winner
  equals each loser. Gaussian weights have ``W_1 x = W_2 x`` with probability 0, so Theorem 8 loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from kwta_theory import checks
from kwta_theory.inputs import Inputs
from kwta_theory.statements import orderings
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, Route, RouteContext, search, settle
from kwta_theory.statements.settings import Settings

LAYERS = 400
TEXT = (
    "For alpha in (0, 1), any W, b = 0 and |x| = 1: if A(W x') != A(W x) for all unit x' with <x, x'> = alpha, then "
    "A(W x'') != A(W x) for all unit x'' with <x, x''> < alpha."
)


def check_hypotheses(settings: Settings) -> None:
    """``alpha in (0, 1)``."""
    if not 0 < settings.cosine < 1:
        raise checks.InvalidArgumentError(
            f"cosine={settings.cosine!r} is outside the hypothesis of Lemma 2: alpha must be in (0, 1)."
        )


def positive_combination(context: RouteContext) -> Finding:
    """Where ``i`` beats ``j`` at both ends, it does so at every positive combination: all signs of two differences."""
    del context
    violations = orderings.order_violations()
    for allowed in (np.array([0, 1]), np.array([1])):  # signs of y_i - y_j where i beats j: i < j, and i > j
        sums = np.sign(allowed[:, None] + allowed[None, :])  # of a positive combination; 0 and 1 give 1
        violations += int((~np.isin(sums, allowed)).sum())
    return settle(
        "a positive combination",
        violations == 0,
        "the vector at cosine alpha in the plane of x and x'' is a combination of them with the positive weights "
        "sin(phi - theta)/sin(phi) and sin(theta)/sin(phi), and such a combination keeps every order of a winner and "
        "a loser that both have (all pairs of signs, both orders of the indices)",
        witness="from kwta_theory.statements import orderings; orderings.order_violations()",
        instances=5,
        against=max(violations, 1),
    )


def around_the_circle(context: RouteContext) -> Finding:
    """Integer layers of two inputs: all directions, all ``x``, ``x''`` and ``alpha`` of a layer at once, exactly."""
    generator = np.random.default_rng(np.random.SeedSequence([context.seed]))
    seen = against = 0
    witness = ""
    for _ in range(LAYERS):
        width = int(generator.integers(1, 7))
        k = int(generator.integers(1, width + 1))
        weights = generator.integers(-2, 3, (width, 2))
        directions = all_directions(weights)
        same, wrong = same_and_interrupted(directions, orderings.library_patterns(directions @ weights.T, k))
        seen, against = seen + int(same.sum()), against + int(wrong.sum())
        if wrong.any() and not witness:
            witness = (
                "import numpy as np; from kwta_theory.statements import lemma_2, orderings; "
                f"W = np.array({weights.tolist()}); d = lemma_2.all_directions(W); "
                f"lemma_2.same_and_interrupted(d, orderings.patterns(d @ W.T, {k}))"
            )
    return search(
        "around the circle",
        seen,
        against,
        f"{LAYERS} integer layers of two inputs, each with all its cells in exact arithmetic: of {seen:,} pairs of "
        f"directions less than pi apart with the same pattern, {against} have another pattern in between",
        witness,
    )


def all_directions(weights: orderings.IntArray) -> orderings.IntArray:
    """One integer vector in every cell of a layer of two inputs, in the order of their angles, shape ``(T, 2)``.

    The pattern changes only across the lines ``(W_i - W_j) u = 0``; these directions, the axes, and the sum of each two
    neighbours, which lies between them.
    """
    first, second = np.triu_indices(len(weights), 1)
    normal = weights[first] - weights[second]
    normal = normal[(normal != 0).any(axis=1)]
    lines = np.concatenate([normal[:, ::-1] * np.array([-1, 1]), np.eye(2, dtype=np.int64)])
    lines //= np.gcd(lines[:, 0], lines[:, 1])[:, None]
    lines = np.unique(np.concatenate([lines, -lines]), axis=0)
    lines = lines[np.argsort(np.arctan2(lines[:, 1], lines[:, 0]))]
    between = lines + np.roll(lines, -1, axis=0)
    return np.stack([lines, between], axis=1).reshape(-1, 2)


def same_and_interrupted(
    directions: orderings.IntArray, pattern: orderings.BoolArray
) -> tuple[orderings.BoolArray, orderings.BoolArray]:
    """Pairs ``(t, t + s)`` less than pi apart with one pattern, and those of them with another pattern in between."""
    count = len(directions)
    later = (np.arange(count)[:, None] + np.arange(1, count)) % count
    x, y = directions[:, 0], directions[:, 1]
    ahead = x[:, None] * y[later] - y[:, None] * x[later] > 0
    alike = (pattern[:, None, :] == pattern[later]).all(axis=2)
    return alike & ahead, alike & ahead & (np.cumsum(~alike, axis=1) > 0)


def opposite_orderings(context: RouteContext) -> Finding:
    """``A(-y) = A(y)`` with ``k < l`` only where all entries are equal: every width, and every small ordering."""
    del context
    violations, seen, equal = 0, 0, 0
    for values, k in orderings.every_ordering_and_k():
        if k < values.shape[1]:
            alike = (orderings.patterns(values, k) == orderings.patterns(-values, k)).all(axis=1)
            constant = (values == values[:, :1]).all(axis=1)
            violations += int((alike != constant).sum())
            seen, equal = seen + len(values), equal + int(alike.sum())
    return settle(
        "the two inequalities of a winner and a loser",
        violations == 0,
        "y_i >= y_j and -y_i >= -y_j for each winner i and loser j leave only vectors with equal entries, as all "
        f"{seen:,} orderings of at most {orderings.LARGEST_ENUMERATED} entries with k < l confirm ({equal} of them "
        "constant); Gaussian outputs are equal with probability 0",
        witness="import numpy as np; from kwta_theory.statements.orderings import patterns, weak_orderings; "
        "[(y, patterns(y, 1), patterns(-y, 1)) for y in weak_orderings(3)]",
        instances=seen,
        against=max(violations, 1),
    )


def opposite_outputs_agree(width: int, seed: int, trial: int) -> bool:
    """Whether the outputs ``y`` of a Gaussian layer and ``-y`` have one pattern, for a random ``k < l``."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, trial]))
    # An order is all that counts, and ranks are exact integers.
    ranks = np.argsort(generator.standard_normal(width)).astype(np.int64)
    k = int(generator.integers(1, width))
    return bool((orderings.library_patterns(ranks, k) == orderings.library_patterns(-ranks, k)).all())


def gaussian_outputs(width: int) -> Route:
    """Outputs of Gaussian layers at opposite inputs, by the library's own pattern."""

    def route(context: RouteContext) -> Finding:
        if width == 1:
            return search("Gaussian outputs", 0, 0, "one output has no loser")
        trials = 200
        alike = [trial for trial in range(trials) if opposite_outputs_agree(width, context.seed, trial)]
        against = len(alike)
        return search(
            "Gaussian outputs",
            trials,
            against,
            f"{against} of {trials} Gaussian layers of width {width:,}, each with a random k < l, have one pattern at "
            "x and -x",
            "from kwta_theory.statements import lemma_2; "
            f"lemma_2.opposite_outputs_agree({width}, {context.seed}, {alike[0]})"
            if against
            else "",
        )

    return route


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """The repaired statement in its two parts; together they say all that Theorem 8 needs."""
    del inputs
    everything: dict[str, int | float | str] = {"l": "every width", "k": "every k", "alpha": "every value in (-1, 1)"}
    yield Claim(
        everything,
        "A(W x'') != A(W x) for every x'' of smaller cosine other than -x",
        (positive_combination, around_the_circle),
        scope="repaired: x'' other than -x",
    )
    yield Claim(
        {"l": "every width", "k": "every k < l"},
        "A(-W x) != A(W x) unless all entries of W x are equal",
        (opposite_orderings, gaussian_outputs(settings.width)),
        scope="repaired: x'' = -x",
    )


def counterexample(input_dim: int) -> orderings.IntArray:
    """The rows ``0, e_2, ..., e_m, -(e_2 + ... + e_m)``, shape ``(m + 1, m)``.

    >>> counterexample(2).tolist()
    [[0, 0], [0, 1], [0, -1]]
    """
    axes = np.eye(checks.check_integer("input_dim", input_dim, minimum=1), dtype=np.int64)
    return np.concatenate([0 * axes[:1], axes[1:], -axes[1:].sum(axis=0, keepdims=True)])


def printed_case(input_dim: int, cosine: float) -> Claim:
    """The statement as printed at one ``m`` and ``alpha``."""
    weights = counterexample(input_dim)
    outputs = weights[:, 0]  # at x = e_1
    call = (
        "import numpy as np; from kwta_theory.statements import lemma_2; from kwta_theory.statements.orderings import "
        f"patterns; W = lemma_2.counterexample({input_dim}); x = np.eye({input_dim}, dtype=int)[0]; "
        "patterns(W @ x, 1), patterns(W @ -x, 1)"
    )
    if input_dim == 2:
        call += f"; s = (1 - {cosine!r}**2) ** 0.5; [patterns(W @ np.array([{cosine!r}, t]), 1) for t in (s, -s)]"

    def exact(context: RouteContext) -> Finding:
        del context
        # Every x' at cosine alpha is alpha e_1 + u with u != 0 orthogonal to e_1. Its outputs are 0, u_2, ..., u_m and
        # -(u_2 + ... + u_m): they sum to 0 and are not all 0, so one of them is positive, and row 1 is no winner.
        premise = bool((outputs == 0).all() and (weights.sum(axis=0) == 0).all())
        premise &= bool(np.linalg.matrix_rank(weights) == input_dim - 1)
        same = bool((orderings.patterns(outputs, 1) == orderings.patterns(-outputs, 1)).all())
        at_cosine = "there is no x' at this cosine" if input_dim == 1 else "every x' at this cosine has another pattern"
        return settle(
            "an exact layer",
            not (premise and same),
            f"in the layer of {input_dim + 1} rows 0, e_2, ..., e_m, -(e_2 + ... + e_m) with k = 1 and x = e_1, "
            f"{at_cosine}, but x'' = -x has the pattern of x, as all outputs are 0 at both",
            witness=call,
        )

    def drawn(context: RouteContext) -> Finding:
        generator = np.random.default_rng(np.random.SeedSequence([context.seed]))
        trials = 0 if input_dim == 1 else 200
        u = generator.standard_normal((trials, input_dim))
        u[:, 0] = 0.0
        u *= math.sqrt((1.0 - cosine) * (1.0 + cosine)) / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-300)
        u[:, 0] = cosine
        # A threshold instead of the definition: row 1 has output 0 exactly, so it wins where nothing is positive.
        others = (u @ weights.T)[:, 1:]
        like_x = int((others <= 0.0).all(axis=1).sum())
        minus_x = bool((weights[1:, 0] <= 0).all())
        against = int(minus_x and like_x == 0)
        return search(
            "random x' at the cosine",
            trials + 1,
            against,
            f"{like_x} of {trials} random x' at this cosine have the pattern of x, and -x "
            f"{'has' if minus_x else 'does not have'} it",
            call if against else "",
        )

    return Claim(
        {"m": input_dim, "l": input_dim + 1, "k": 1, "alpha": float(f"{cosine:.10g}")},
        "A(W x'') != A(W x) for every x'' of smaller cosine, if so at cosine alpha",
        (exact, drawn),
        note="the line from x to x'' = -x passes through 0 and nowhere through cosine alpha; Gaussian weights avoid "
        "such layers with probability 1",
    )


def printed_cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """As printed: in one, two and the run's dimensions."""
    del inputs
    for input_dim in sorted({1, 2, settings.input_dim}):
        yield printed_case(input_dim, settings.cosine)


STATEMENT = Statement(
    "lemma-2", "Lemma 2 (repaired)", TEXT, check_hypotheses, cases, scope="repaired", uses_inputs=False
)
AS_PRINTED = Statement(
    "lemma-2-as-printed",
    "Lemma 2 as printed",
    TEXT,
    check_hypotheses,
    printed_cases,
    scope="as printed",
    uses_inputs=False,
)
