"""The routes of ``piecewise-linearity``: what was counted on drawn networks, as findings with a witness."""

from __future__ import annotations

from kwta_theory.statements.finding import Finding, Route, RouteContext, search, settle
from kwta_theory.statements.integer_networks import INPUT_DIM, NETWORKS_OF_EACH
from kwta_theory.statements.piecewise_counts import (
    POINTS,
    affine_defects,
    bisected_jumps,
    different_maps,
    equal_gradients,
    jumps,
    scaled_layer,
    scaling_defects,
    secant_defects,
)
from kwta_theory.statements.settings import Settings

RATIONAL, AUTOGRAD = "rational arithmetic", "autograd on random points"
SCALING_WITNESS = (
    "import torch; from kwta_theory import activation_pattern; "
    "W, b, x = torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, -1.5]), torch.tensor([1.0]); "
    "print(activation_pattern(W @ x + b, 1), activation_pattern(W @ (3 * x) + b, 1))"
)


def _replay(call: str) -> str:
    return f"from kwta_theory.statements import piecewise_linearity; print(piecewise_linearity.{call})"


def affine_exactly(seed: int) -> Route:
    """Every cell met against its affine map, in rational numbers."""

    def route(context: RouteContext) -> Finding:
        del context
        cells, wrong = affine_defects(seed)
        text = (
            f"on {cells - wrong} of {cells} cells met by the segments the network equals the affine map composed of "
            f"its masks and matrices at {INPUT_DIM + 1} affinely independent points of the cell, hence everywhere on it"
        )
        return settle(RATIONAL, wrong == 0, text, _replay(f"affine_defects({seed})"), cells, max(wrong, 1))

    return route


def affine_by_autograd(seed: int) -> Route:
    """Random points with all patterns of another against its tangent."""

    def route(context: RouteContext) -> Finding:
        tried, against = secant_defects(seed, context.seed)
        text = (
            f"f(y) = f(x) + J (y - x) to 9 digits for {tried - against:,} of {tried:,} random y with all patterns of x"
        )
        return search(
            AUTOGRAD, tried, against, text, _replay(f"secant_defects({seed}, {context.seed})") if against else ""
        )

    return route


def cones_exactly(seed: int) -> Route:
    """Without biases: no inequality of a cell met has a constant term."""

    def route(context: RouteContext) -> Finding:
        del context
        cells, constant, changed = scaling_defects(seed, bias=False)
        text = (
            f"{cells - constant} of {cells} cells met by the segments have only inequalities without a constant term, "
            "which c > 0 does not change, nor does it a tie"
        )
        wrong = max(constant, changed)
        witness = _replay(f"scaling_defects({seed}, bias=False)")
        return settle(RATIONAL, wrong == 0, text, witness, cells, max(wrong, 1))

    return route


def scaled_exactly(seed: int) -> Route:
    """With biases: points whose patterns change when they are divided by 10^6."""

    def route(context: RouteContext) -> Finding:
        del context
        cells, _, changed = scaling_defects(seed, bias=True)
        text = f"in {changed} of {cells} cells met by the segments a point x has not the patterns of x/10^6"
        return search(RATIONAL, cells, changed, text, SCALING_WITNESS if changed else "")

    return route


def scaled_by_drawing(settings: Settings, *, bias: bool) -> Route:
    """Random inputs of a Gaussian layer and random positive multiples of them."""

    def route(context: RouteContext) -> Finding:
        width, k = settings.width, settings.ratio_winners
        against = scaled_layer(width, k, context.seed, bias=bias)
        text = f"the pattern at c x is not that at x for {against} of {POINTS} random x and c = 2^-40 to 2^40"
        replay = SCALING_WITNESS if bias else _replay(f"scaled_layer({width}, {k}, {context.seed}, bias=False)")
        return search("Gaussian layers", POINTS, against, text, replay if against else "")

    return route


def maps_differ_exactly(seed: int) -> Route:
    """All patterns of the networks with one hidden layer, as affine maps."""

    def route(context: RouteContext) -> Finding:
        del context
        patterns, maps = different_maps(seed)
        text = f"the {patterns} patterns of {NETWORKS_OF_EACH} networks with one hidden layer are {maps} affine maps"
        witness = _replay(f"different_maps({seed})")
        return settle("enumeration of all patterns", maps == patterns, text, witness, patterns, max(patterns - maps, 1))

    return route


def gradients_differ(seed: int) -> Route:
    """Gradients at random points with different patterns."""

    def route(context: RouteContext) -> Finding:
        tried, against = equal_gradients(seed, context.seed)
        text = f"{tried - against} of {tried} pairs of patterns at random points have different gradients"
        return search(
            AUTOGRAD, tried, against, text, _replay(f"equal_gradients({seed}, {context.seed})") if against else ""
        )

    return route


def jumps_exactly(seed: int, *, relu: bool) -> Route:
    """Both limits at every change on the segments, which differ for k-WTA and agree for ReLU."""

    def route(context: RouteContext) -> Finding:
        del context
        changes, differ = jumps(seed, relu=relu)
        wrong = differ if relu else changes - differ
        text = f"the limits from both sides differ at {differ} of the {changes} changes on the segments"
        return settle(RATIONAL, wrong == 0, text, _replay(f"jumps({seed}, relu={relu})"), changes, max(wrong, 1))

    return route


def jumps_by_bisection(seed: int, *, relu: bool) -> Route:
    """Changes found on a grid and bisected, without what the exact walk knows."""

    def route(context: RouteContext) -> Finding:
        del context
        tried, jumped = bisected_jumps(seed, relu=relu)
        against = jumped if relu else tried - jumped
        text = f"f jumps at {jumped} of {tried} changes found on a grid and bisected"
        witness = _replay(f"bisected_jumps({seed}, relu={relu})") if against else ""
        return search("bisection in float64", tried, against, text, witness)

    return route
