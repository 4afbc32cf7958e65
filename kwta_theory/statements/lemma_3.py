"""Lemma 3: if some winner ``i`` and some loser ``j`` of ``y`` have ``y'_i < y'_j``, then ``A(y) != A(y')``.

It says of ``y'`` alone that no winner is below a loser. The proof's last sentence but one is garbled: "Thus ``y'_i`` is
also one of the top-k largest values" repeats the sentence before it. It should be: as ``y'_j > y'_i``, also ``y'_j`` is
one of the top-k largest values, so ``j`` is in ``A(y')``. The inequality must be strict: with ``y'_i = y'_j`` and ``i <
j`` the patterns may agree. The converse is false: ties alone can tell patterns apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kwta_theory.inputs import Inputs
from kwta_theory.statements import orderings
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, Route, RouteContext, search, settle
from kwta_theory.statements.settings import Settings

VECTORS = 500


def check_hypotheses(settings: Settings) -> None:
    """There is none: any two vectors are allowed."""
    del settings


def least_winner_and_largest_loser(values: orderings.IntArray, pattern: orderings.BoolArray) -> orderings.BoolArray:
    """Whether the smallest winner is below the largest loser; False where nobody loses."""
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    winner = np.where(pattern, values, high).min(axis=-1)
    loser = np.where(pattern, low, values).max(axis=-1)
    return winner < loser


def over_orderings(context: RouteContext) -> Finding:
    """No winner below a loser: by the laws of the order, and for every small ordering and ``k``."""
    del context
    violations, seen = orderings.order_violations(), 0
    for values, k in orderings.every_ordering_and_k():
        violations += int(least_winner_and_largest_loser(values, orderings.patterns(values, k)).sum())
        seen += len(values)
    return settle(
        "every ordering",
        violations == 0,
        "an entry above a winner beats it and is beaten by fewer others still, hence a winner (from the laws of a "
        "total order, checked on all 13 orderings of 3 entries, hence for every width); no winner is below a loser in "
        f"any of {seen:,} pairs of an ordering of at most {orderings.LARGEST_ENUMERATED} entries and a k",
        witness="import numpy as np; from kwta_theory.statements.orderings import patterns, weak_orderings; "
        "[(y, patterns(y, 1)) for y in weak_orderings(3)]",
        instances=seen,
        against=max(violations, 1),
    )


def random_pairs(width: int) -> Route:
    """The statement itself: pairs of integer vectors with ties that satisfy the premise have different patterns."""

    def route(context: RouteContext) -> Finding:
        generator = np.random.default_rng(np.random.SeedSequence([context.seed]))
        seen = against = 0
        witness = ""
        for number in range(VECTORS):
            size = width if number % 10 == 0 else int(generator.integers(1, min(width, 8) + 1))
            k = int(generator.integers(1, size + 1))
            y = generator.integers(0, int(generator.integers(2, 6)), size)
            swapped = y.copy()
            # y' is y with two entries exchanged: the patterns are equal as often as a random k allows.
            i, j = generator.integers(0, size, 2)
            swapped[[i, j]] = swapped[[j, i]]
            first, second = orderings.library_patterns(np.stack([y, swapped]), k)
            premise = bool(least_winner_and_largest_loser(swapped, first))
            seen += premise
            if premise and (first == second).all():
                against += 1
                witness = witness or (
                    "import numpy as np; from kwta_theory.statements.orderings import patterns; "
                    f"patterns(np.array({y.tolist()}), {k}), patterns(np.array({swapped.tolist()}), {k})"
                )
        return search(
            "random integer vectors with ties",
            seen,
            against,
            f"{seen} of {VECTORS} pairs of vectors of up to {width:,} entries, equal but for an exchange, have a "
            f"winner of y below a loser of y at y', and {against} of them have the same pattern",
            witness,
        )

    return route


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """One claim, about every pair of vectors."""
    del inputs
    yield Claim(
        {"l": "every width", "k": "every k"},
        "y'_i < y'_j for a winner i and a loser j of y implies A(y) != A(y')",
        (over_orderings, random_pairs(settings.width)),
    )


STATEMENT = Statement(
    "lemma-3",
    "Lemma 3",
    "If there are i in A(y) and j outside A(y) with y'_i < y'_j, then A(y) != A(y').",
    check_hypotheses,
    cases,
    uses_inputs=False,
)
