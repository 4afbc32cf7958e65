"""The sentences of Section 3, "Piecewise linearity", as they stand: four of them need a word, and each has a witness.

The docstring of :mod:`~kwta_theory.statements.piecewise_linearity` says which word.
"""

from __future__ import annotations

from collections.abc import Iterator

from kwta_theory.inputs import Inputs
from kwta_theory.seeding import derive
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, RouteContext, search, settle
from kwta_theory.statements.integer_networks import INPUT_DIM, Network, compose, torch_network, walk
from kwta_theory.statements.piecewise_routes import RATIONAL, scaled_by_drawing, scaled_exactly
from kwta_theory.statements.settings import Settings

TEXT = (
    "If the activation patterns of all layers are fixed, then f(x) is a linear function; when a pattern changes, f "
    "switches from one linear function to another. Linear regions of ReLU networks are joined together at their "
    "boundaries, whereas in k-WTA networks they are disconnected. If x' = c x with c > 0, the pattern is unchanged."
)
# f(x) = 2 x in two pieces: outputs (x, 2 x), one winner, weights (2, 1) after it. And f(x) = x + 1 in one piece.
TWO_PATTERNS_ONE_MAP = Network((((1, 0, 0), (2, 0, 0)), ((2, 1),)), ((0, 0), (0,)), 1)
ONE_AFFINE_PIECE = Network((((1, 0, 0),), ((1,),)), ((0,), (1,)), 1)
LINEAR_WITNESS = (
    "import torch; from kwta_theory import kwta; f = lambda x: kwta(x, 1) + 1.0; "
    "print(f(torch.tensor([2.0])), 2 * f(torch.tensor([1.0])))"
)
SAME_MAP_WITNESS = (
    "import torch; from kwta_theory import activation_pattern, kwta; V, W = torch.tensor([[1.0], [2.0]]), "
    "torch.tensor([[2.0, 1.0]]); x = torch.tensor([[-1.0], [1.0]]); "
    "print(activation_pattern(x @ V.T, 1), kwta(x @ V.T, 1) @ W.T - 2 * x)"
)


def _linear_exactly(context: RouteContext) -> Finding:
    del context
    offset = compose(ONE_AFFINE_PIECE, ((True,),))[1]
    return settle(RATIONAL, offset == [0], f"f(x) = x_1 + {offset[0]} is one piece, with f(0) = 1", LINEAR_WITNESS)


def _linear_by_torch(context: RouteContext) -> Finding:
    import torch

    del context
    run = torch_network(ONE_AFFINE_PIECE)
    one, two = (run(torch.tensor([v, 0.0, 0.0], dtype=torch.float64))[0].item() for v in (1.0, 2.0))
    against = int(two != 2 * one)
    return search(
        "evaluation",
        1,
        against,
        f"f(2 x) = {two:g} and 2 f(x) = {2 * one:g} with one pattern",
        LINEAR_WITNESS * against,
    )


def _switch_exactly(context: RouteContext) -> Finding:
    del context
    left, right = (compose(TWO_PATTERNS_ONE_MAP, (mask,))[:2] for mask in ((True, False), (False, True)))
    return settle(
        RATIONAL,
        left != right,
        "outputs (x_1, 2 x_1) with one winner and weights (2, 1): both patterns are the map 2 x_1",
        SAME_MAP_WITNESS,
    )


def _switch_by_torch(context: RouteContext) -> Finding:
    import torch

    del context
    x = torch.zeros(2, INPUT_DIM, dtype=torch.float64)
    x[:, 0] = torch.tensor([-1.0, 1.0])
    output, masks = torch_network(TWO_PATTERNS_ONE_MAP)(x)
    against = int(bool((masks[0] != masks[1]).any()) and torch.equal(output, 2 * x[:, :1]))
    return search(
        "evaluation", 1, against, "patterns differ at x_1 = -1 and 1, and f = 2 x_1 at both", SAME_MAP_WITNESS * against
    )


def _joined_exactly(context: RouteContext) -> Finding:
    del context
    left, right = walk(TWO_PATTERNS_ONE_MAP, (-1, 0, 0), (2, 0, 0))
    limit = [v + s * (left.end - left.start) for v, s in zip(left.value, left.slope, strict=True)]
    return settle(
        RATIONAL,
        limit != list(right.value),
        "the pattern changes at x_1 = 0 and both limits of f there are 0",
        SAME_MAP_WITNESS,
    )


def _joined_by_torch(context: RouteContext) -> Finding:
    import torch

    del context
    x = torch.zeros(2, INPUT_DIM, dtype=torch.float64)
    x[:, 0] = torch.tensor([-1e-300, 1e-300], dtype=torch.float64)
    output, masks = torch_network(TWO_PATTERNS_ONE_MAP)(x)
    against = int(bool((masks[0] != masks[1]).any()) and float(output.abs().max()) < 1e-299)
    return search(
        "evaluation", 1, against, "f is -2e-300 and 2e-300 on both sides of the change", SAME_MAP_WITNESS * against
    )


def check_hypotheses(settings: Settings) -> None:
    """None: the statement is about every network."""
    del settings


def printed_cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """The sentences as they stand; all four are false."""
    del inputs
    seed = derive(settings.seed, "piecewise-linearity")
    note = "true with the word added that piecewise-linearity has"
    for claimed, routes in (
        ("with all patterns fixed, f is linear, biases included", (_linear_exactly, _linear_by_torch)),
        (
            "the pattern of W x + b at c x, c > 0, is that at x",
            (scaled_exactly(seed), scaled_by_drawing(settings, bias=True)),
        ),
        ("whenever a pattern changes, f switches to another linear map", (_switch_exactly, _switch_by_torch)),
        ("linear regions of every k-WTA network are disconnected", (_joined_exactly, _joined_by_torch)),
    ):
        yield Claim({"seed": settings.seed}, claimed, routes, note=note)


AS_PRINTED = Statement(
    "piecewise-linearity-as-printed",
    "Section 3, piecewise linearity, as printed",
    TEXT,
    check_hypotheses,
    printed_cases,
    scope="as printed",
    uses_inputs=False,
)
