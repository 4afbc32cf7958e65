"""Lemma 1: for any ``W``, ``b`` and ``x`` the inputs with the pattern of ``x`` form a convex set.

The proof: ``A(y) = S`` exactly if every ``i`` in ``S`` beats every ``j`` outside, which is ``y_i >= y_j`` for ``i < j``
and ``y_i > y_j`` for ``i > j``. With ``y = W x' + b`` each is a closed or open half-space of ``x'`` (or everything, or
nothing), and an intersection of half-spaces is convex. The paper leaves open which inequalities are strict ("or >") and
says "half hyperplane" for half-space; neither matters. Both steps are finite: the first is a law of total orders, of
which only three entries need to be looked at, and the second is about two entries and two vectors.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kwta_theory.inputs import Inputs
from kwta_theory.statements import orderings
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, Route, RouteContext, search, settle
from kwta_theory.statements.settings import Settings

# Layers that a random route draws; each has a grid of inputs.
LAYERS = 300


def check_hypotheses(settings: Settings) -> None:
    """There is none: every layer is allowed."""
    del settings


def half_spaces(context: RouteContext) -> Finding:
    """``A(y) = S`` is the same as "S beats its complement": by the order's laws, and over all small orderings."""
    del context
    violations, seen = orderings.order_violations(), 0
    for values, k in orderings.every_ordering_and_k():
        won, pattern = orderings.beats(values), orderings.library_patterns(values, k)
        for chosen in np.unique(pattern, axis=0):
            # Every member of S beats every other entry: rows of winners, columns of losers.
            satisfied = won[:, chosen][:, :, ~chosen].all(axis=(1, 2))
            violations += int((satisfied != (pattern == chosen).all(axis=1)).sum())
            seen += len(values)
    # d = y_i - y_j at two inputs: where i beats j in both, it does so in between. The sign of a sum with positive
    # weights is the common sign, or that of the one which is not 0; so 9 pairs of signs and both orders of i, j.
    signs = np.arange(-1, 2)
    for first_index in (True, False):
        allowed = signs[signs >= 0] if first_index else signs[signs > 0]
        sums = np.sign(allowed[:, None] + allowed[None, :])
        violations += int((~np.isin(sums, allowed)).sum())
    return settle(
        "half-spaces",
        violations == 0,
        "the pattern is S exactly where every member of S beats every other entry, which follows from the laws of a "
        "total order (checked on all 13 orderings of 3 entries, hence for every width) and was confirmed for "
        f"{seen:,} pairs of an ordering of at most {orderings.LARGEST_ENUMERATED} entries and a set S; "
        "each of these inequalities is an open or closed half-space of the input, so their intersection is convex",
        witness="from kwta_theory.statements import orderings; orderings.order_violations()",
        instances=seen,
        against=max(violations, 1),
    )


def random_layers(width: int) -> Route:
    """Exact integer layers full of ties: everything between two inputs with the same pattern has it, too."""

    def route(context: RouteContext) -> Finding:
        generator = np.random.default_rng(np.random.SeedSequence([context.seed]))
        seen = against = 0
        witness = ""
        grid = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 2), axis=-1).reshape(-1, 2)
        for layer in range(LAYERS):
            size = width if layer % 50 == 0 else int(generator.integers(1, min(width, 8) + 1))
            k = int(generator.integers(1, size + 1))
            weights, bias = generator.integers(-2, 3, (size, 2)), generator.integers(-1, 2, size)
            if size > 8:  # few different rows, so that ties decide at every input
                rows = generator.integers(0, 5, size)
                weights, bias = weights[rows], bias[rows]
                few = grid[generator.permutation(len(grid))[:12]]
            else:
                few = grid
            pattern = orderings.library_patterns(few @ weights.T + bias, k)
            first, second = np.triu_indices(len(few), 1)
            alike = np.array([(pattern[i] == pattern[j]).all() for i, j in zip(first, second, strict=True)])
            first, second = first[alike][:100], second[alike][:100]
            # (1 - t) x + t x' with t = part/7, everything times 7: no rounding.
            part = generator.integers(1, 7, len(first))[:, None]
            between = (7 - part) * few[first] + part * few[second]
            there = orderings.library_patterns(between @ weights.T + 7 * bias, k)
            wrong = np.flatnonzero((there != pattern[first]).any(axis=1))
            seen, against = seen + len(first), against + len(wrong)
            if wrong.size and not witness:
                x, y = few[first[wrong[0]]].tolist(), few[second[wrong[0]]].tolist()
                witness = pattern_call(weights.tolist(), bias.tolist(), k, [x, between[wrong[0]].tolist(), y])
        return search(
            "random integer layers with ties",
            seen,
            against,
            f"{seen:,} points between two inputs with the same pattern, in {LAYERS} layers of width up to {width:,} "
            f"with and without bias, in exact arithmetic: {against} with another pattern",
            witness,
        )

    return route


def pattern_call(weights: object, bias: object, k: int, points: object) -> str:
    """Python that shows the patterns of some inputs; the middle one is 7 times the input, so its bias is, too."""
    return (
        "import numpy as np; from kwta_theory.statements.orderings import patterns; "
        f"patterns(np.array({points}) @ np.array({weights}).T + np.array([[1], [7], [1]]) * np.array({bias}), {k})"
    )


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """One claim, about every layer."""
    del inputs
    yield Claim(
        {"l": "every width", "k": "every k"},
        "the inputs with the pattern of x form a convex set, for every W, b and x",
        (half_spaces, random_layers(settings.width)),
    )


STATEMENT = Statement(
    "lemma-1",
    "Lemma 1",
    "For any W, b and x, the set of all x' with A(W x' + b) = A(W x + b) is convex.",
    check_hypotheses,
    cases,
    uses_inputs=False,
)
