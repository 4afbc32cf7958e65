"""Section 3, "Piecewise linearity": with all activation patterns fixed a k-WTA network is one affine function.

The paper says that ``f`` is then "a linear function", that it "switches from one linear function to another" when a
pattern changes, that linear regions of ReLU networks "are joined together at their boundaries, whereas in k-WTA
networks the linear regions are disconnected", and (next paragraph) that the pattern of ``W x + b`` at ``c x``, ``c >
0``, is that at ``x``. Appendix C adds that different patterns are different linear regions.

As printed, four of these sentences need a word (``piecewise-linearity-as-printed`` has the witnesses):

- with biases a piece is affine, ``M x + c``, and not linear. (Much of the literature says "linear" for both.)
- Scaling keeps the pattern for ``b = 0`` only, which the paper supposes one sentence later.
- Two patterns can be the same function, and meet without a jump: where outputs ``i, j`` swap, ``W_i v_i^T = W_j v_j^T``
  is possible (``v`` the rows before, ``W`` the columns after the activation), such as ``v_j = 2 v_i, W_i = 2 W_j``. For
  weights in general position it is not. And where the common value ``x*`` is 0 the jump vanishes for any weights, on a
  part of the boundary of lower dimension.

What is settled, and for which networks: integer networks are drawn, and all about them is computed in rational numbers.
A segment is walked from change to change without a step size, so that each piece on it is visited. For a piece, ``M``
and ``c`` are composed from masks and matrices. The network with these masks held is a composition of affine maps, so it
equals ``M x + c`` everywhere if it does at ``m + 1`` affinely independent points, and these are taken in the cell.
"""

from __future__ import annotations

from collections.abc import Iterator

from kwta_theory.inputs import Inputs
from kwta_theory.seeding import derive
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.integer_networks import INPUT_DIM, NETWORKS_OF_EACH, SHAPES
from kwta_theory.statements.piecewise_counts import (
    affine_defects,
    bisected_jumps,
    different_maps,
    equal_gradients,
    jumps,
    scaled_layer,
    scaling_defects,
    secant_defects,
)
from kwta_theory.statements.piecewise_linearity_printed import AS_PRINTED, TEXT, check_hypotheses
from kwta_theory.statements.piecewise_routes import (
    affine_by_autograd,
    affine_exactly,
    cones_exactly,
    gradients_differ,
    jumps_by_bisection,
    jumps_exactly,
    maps_differ_exactly,
    scaled_by_drawing,
)
from kwta_theory.statements.settings import Settings

# The counts are here for the witnesses, which call them by these names.
__all__ = [
    "AS_PRINTED",
    "STATEMENT",
    "TEXT",
    "affine_defects",
    "bisected_jumps",
    "cases",
    "check_hypotheses",
    "different_maps",
    "equal_gradients",
    "jumps",
    "scaled_layer",
    "scaling_defects",
    "secant_defects",
]


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """Affine pieces, cones, different pieces, jumps; for ReLU no jumps."""
    del inputs
    seed = derive(settings.seed, "piecewise-linearity")
    drawn = {"networks": len(SHAPES) * NETWORKS_OF_EACH, "m": INPUT_DIM, "seed": settings.seed}
    note = (
        "settled for the integer networks drawn and the cells met; for all networks it is the algebra in the docstring"
    )
    yield Claim(
        drawn,
        "with all patterns fixed, f is one affine map",
        (affine_exactly(seed), affine_by_autograd(seed)),
        note=note,
        scope="affine",
    )
    yield Claim(
        drawn | {"width": settings.width, "k": settings.ratio_winners},
        "without biases the patterns at c x, c > 0, are those at x",
        (cones_exactly(seed), scaled_by_drawing(settings, bias=False)),
        note=note,
        scope="b = 0",
    )
    yield Claim(
        drawn | {"networks": NETWORKS_OF_EACH},
        "different patterns are different affine maps",
        (maps_differ_exactly(seed), gradients_differ(seed)),
        note="settled for the networks drawn; it fails for special weights, see piecewise-linearity-as-printed",
        scope="general position",
    )
    yield Claim(
        drawn,
        "k-WTA: f jumps wherever a pattern changes",
        (jumps_exactly(seed, relu=False), jumps_by_bisection(seed, relu=False)),
        note="settled for the changes met; it fails for special weights, and at the points where x* = 0",
        scope="general position",
    )
    yield Claim(
        drawn,
        "ReLU: f never jumps where a pattern changes",
        (jumps_exactly(seed, relu=True), jumps_by_bisection(seed, relu=True)),
        note="settled for the changes met; in general it follows from the continuity of ReLU",
        scope="ReLU",
    )


STATEMENT = Statement(
    "piecewise-linearity", "Section 3, piecewise linearity", TEXT, check_hypotheses, cases, uses_inputs=False
)
