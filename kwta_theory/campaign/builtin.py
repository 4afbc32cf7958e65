"""The package's own estimators as tasks: thin, checked doors to :mod:`kwta_theory.simulation`.

Parameters have one canonical spelling. ``sparsity_ratio`` becomes ``k``, ``beta`` the cosine ``1/sqrt(1 + beta)``, a
width from 2^53 on is a float (``1e300``), whose logarithm is what the tail route draws at.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from scipy import special

from kwta_theory.campaign.estimators import (
    Estimator,
    Outcome,
    Parameters,
    Value,
    choice,
    real,
    register,
    whole,
)
from kwta_theory.campaign.tally import Moments, Tally
from kwta_theory.checks import InvalidArgumentError, check_width_and_winners, winners

Given = Mapping[str, Value]

_EXACT_INTEGERS = 2**53
LARGEST_LOG_WIDTH = 1e8
LARGEST_DRAWN_WIDTH = 2**30
# Rows above the tail's level for each point are few enough when this many times as many fit into the layer.
_TAIL_ROOM = 8
LAYER = ("width", "k", "sparsity_ratio", "device")
PAIR: Parameters = {"inputs": "cosine", "points": 2}
POINTS = ("inputs", "points", "cosine", "input_dim", "input_seed", "log_width", "method")


def one_of(given: Given, *names: str) -> str:
    """The one name among some that was given."""
    there = [name for name in names if name in given]
    if len(there) != 1:
        raise InvalidArgumentError(
            f"{' and '.join(there) or 'none'} of {', '.join(names)} was given: exactly one of them must be."
        )
    return there[0]


def layer(given: Given, *, by_logarithm: bool = False) -> Parameters:
    """``width`` (or ``log_width``), ``k`` and ``device``."""
    device = choice("device", given.get("device", "cpu"), ("cpu", "cuda"))
    ratio = one_of(given, "k", "sparsity_ratio") == "sparsity_ratio"
    if by_logarithm and one_of(given, "width", "log_width") == "log_width":
        if ratio:
            raise InvalidArgumentError("sparsity_ratio needs a width: with log_width give k.")
        log_width = real("log_width", given["log_width"], 0.0, LARGEST_LOG_WIDTH)
        return {"log_width": log_width, "k": whole("k", given["k"], 1), "device": device}
    if "width" not in given:
        raise InvalidArgumentError("width is missing: give the outputs of the layer.")
    width = whole("width", given["width"], 1)
    k = winners(width, given["sparsity_ratio"]) if ratio else whole("k", given["k"], 1)  # type: ignore[arg-type]
    check_width_and_winners(width, k)
    if not by_logarithm and width >= LARGEST_DRAWN_WIDTH:
        raise InvalidArgumentError(f"width={given['width']} is too wide to draw: it must be below 2^30.")
    return {"width": width if width < _EXACT_INTEGERS else float(width), "k": k, "device": device}


def pair_cosine(given: Given) -> float:
    """The cosine of a pair, from ``cosine`` or from ``beta = 1/cosine^2 - 1`` (Theorem 1)."""
    if one_of(given, "cosine", "beta") == "cosine":
        return real("cosine", given["cosine"], -1.0, 1.0)
    return 1 / math.sqrt(1 + real("beta", given["beta"], 0.0, math.inf))


def fixed_points(given: Given) -> Parameters:
    """Which points: N with a common ``cosine``, standard normal ones, or MNIST images."""
    kind = choice("inputs", given.get("inputs", "cosine"), ("cosine", "gaussian", "mnist"))
    count = whole("points", given.get("points", 2), 2)
    allowed = {"cosine": ("cosine",), "gaussian": ("input_dim", "input_seed"), "mnist": ("input_seed",)}[kind]
    for name in ("cosine", "input_dim", "input_seed"):
        if name in given and name not in allowed:
            raise InvalidArgumentError(f"{name}={given[name]!r} has no effect with inputs={kind!r}: leave it out.")
    chosen: Parameters = {"inputs": kind, "points": count}
    if kind == "cosine":
        if "cosine" not in given:
            raise InvalidArgumentError("cosine is missing: give the cosine of every pair of points.")
        chosen["cosine"] = real("cosine", given["cosine"], -1.0 if count == 2 else -1 / (count - 1), 1.0)
        return chosen
    if kind == "gaussian":
        chosen["input_dim"] = whole("input_dim", given.get("input_dim", 32), 2)
    elif count > 5000:
        raise InvalidArgumentError(f"points={count} is not allowed with inputs='mnist': there are 5000 images.")
    return {**chosen, "input_seed": whole("input_seed", given.get("input_seed", 0), 0)}


def tail_rows(k: int, points: int) -> float:
    """``mu``: rows above the tail route's first level for each point, on average."""
    return float(special.gammainccinv(k, 1e-3 / points))


def layer_at_points(given: Given) -> Parameters:
    """A layer, its points, and the route: by default the tail route where the rows that can win are few."""
    parameters = {**layer(given, by_logarithm=True), **fixed_points(given)}
    k, points = int(parameters["k"]), int(parameters["points"])
    log_width = math.log(float(parameters["width"])) if "width" in parameters else float(parameters["log_width"])
    wide = log_width > math.log(_TAIL_ROOM * points * tail_rows(k, points))
    method = choice("method", given.get("method", "tail" if wide else "gram"), ("gram", "tail"))
    if method == "gram" and ("log_width" in parameters or log_width >= math.log(LARGEST_DRAWN_WIDTH)):
        raise InvalidArgumentError(
            f"method='gram' draws every row, at a width below 2^30: a width of e^{log_width:.4g} needs method='tail', "
            f"whose rows for k={k} and {points} points must be a small part of the layer."
        )
    return {**parameters, "method": method}


def rank(parameters: Given) -> int:
    """Normals that a row of the layer needs: the rank of the points."""
    points = int(parameters["points"])
    return min(points, int(parameters.get("input_dim", 784)))


def layer_cost(parameters: Given) -> float:
    """Numbers per trial of the two routes."""
    k, points = int(parameters["k"]), int(parameters["points"])
    if parameters["method"] == "tail":
        return 8 * points * tail_rows(k, points) * max(rank(parameters), points) + points**2
    return float(parameters["width"]) * points + points**2


@functools.lru_cache(maxsize=64)
def drawn_points(kind: str, count: int, input_dim: int, input_seed: int) -> Any:
    """The points of ``inputs="gaussian"`` and ``"mnist"``, remembered: every chunk of a task needs them."""
    from kwta_theory import inputs

    if kind == "mnist":
        return inputs.mnist_images(count, seed=input_seed).points
    return inputs.gaussian_points(count, input_dim, seed=input_seed).points


def placed(parameters: Given) -> dict[str, Any]:
    """Keyword arguments of the simulation for a layer at its points."""
    width = int(parameters["width"]) if "width" in parameters else None
    count = int(parameters["points"])
    arguments: dict[str, Any] = {"width": width, "log_width": parameters.get("log_width")}
    if parameters["inputs"] != "cosine":
        input_dim = int(parameters.get("input_dim", 784))
        arguments["points"] = drawn_points(str(parameters["inputs"]), count, input_dim, int(parameters["input_seed"]))
    elif count == 2:
        arguments["cosine"] = parameters["cosine"]
    else:
        from kwta_theory import inputs

        arguments["points"] = inputs.points_with_cosine(count, float(parameters["cosine"])).points
    names = ("k", "method", "device")
    return arguments | {name: parameters[name] for name in names}


def resolve_same_pattern(given: Given) -> Parameters:
    """Parameters of ``same-pattern``."""
    margin = real("margin", given.get("margin", 0.0), 0.0, math.inf)
    return {**layer(given), "cosine": pair_cosine(given), "margin": margin}


def draw_same_pattern(parameters: Given, trials: int, seed: int) -> Tally:
    """See :func:`kwta_theory.simulation.same_pattern`."""
    from kwta_theory import simulation

    result = simulation.same_pattern(trials=trials, seed=seed, **parameters)  # type: ignore[arg-type]
    return Tally(trials, {"same": result.successes})


def draw_disjoint_patterns(parameters: Given, trials: int, seed: int) -> Tally:
    """See :func:`kwta_theory.simulation.disjoint_patterns`."""
    from kwta_theory import simulation

    result = simulation.disjoint_patterns(trials=trials, seed=seed, **placed(parameters))
    return Tally(trials, {"disjoint": result.all_pairs.successes})


def resolve_pattern_overlap(given: Given) -> Parameters:
    """Parameters of ``pattern-overlap``: those of a pair."""
    parameters = layer_at_points({**given, **PAIR})
    return {name: value for name, value in parameters.items() if name not in PAIR}


def draw_pattern_overlap(parameters: Given, trials: int, seed: int) -> Tally:
    """See :func:`kwta_theory.simulation.pattern_overlap`; for a pair the law of each trial is in the histogram."""
    from fractions import Fraction

    from kwta_theory import simulation

    result = simulation.pattern_overlap(trials=trials, seed=seed, **placed({**parameters, **PAIR}))
    k = result.k
    shared = Moments(Fraction(int(result.totals[0, 1]), k), Fraction(int(result.squares[0, 1]), k * k))
    return Tally(trials, {"disjoint": int(result.histogram[0]), "same": int(result.histogram[k])}, {"overlap": shared})


def draw_interpolation(parameters: Given, trials: int, seed: int) -> Tally:
    """See :func:`kwta_theory.simulation.interpolation`; labels alternate between 1 and -1."""
    from kwta_theory import simulation

    labels = [(-1.0) ** i for i in range(int(parameters["points"]))]
    result = simulation.interpolation(labels=labels, trials=trials, seed=seed, **placed(parameters))
    names = ("any_vector", "proof_vector", "disjoint", "these_labels")
    return Tally(trials, {name: getattr(result, name).successes for name in names})


def interpolation_cost(parameters: Given) -> float:
    """Numbers per trial, with the linear algebra of ``N`` rows and ``N k`` columns counted in."""
    points, k = int(parameters["points"]), int(parameters["k"])
    return layer_cost(parameters) + 20 * points**2 * k + 1000


def resolve_distinct_patterns(given: Given) -> Parameters:
    """Parameters of ``distinct-patterns``."""
    for name in ("input_dim", "points", "probability"):
        if name not in given:
            raise InvalidArgumentError(f"{name} is missing: Example 1 draws its own inputs.")
    return {
        **layer(given),
        "input_dim": whole("input_dim", given["input_dim"], 1),
        "points": whole("points", given["points"], 2),
        "probability": real("probability", given["probability"], 0.0, 1.0),
    }


def draw_distinct_patterns(parameters: Given, trials: int, seed: int) -> Tally:
    """See :func:`kwta_theory.simulation.distinct_patterns`."""
    from kwta_theory import simulation

    result = simulation.distinct_patterns(trials=trials, seed=seed, **parameters)  # type: ignore[arg-type]
    names = ("distinct", "duplicate_inputs", "zero_inputs")
    return Tally(trials, {name: getattr(result, name).successes for name in names})


def resolve_boundary_crossings(given: Given) -> Parameters:
    """Parameters of ``boundary-crossings``."""
    return {**layer(given), "angle": real("angle", given.get("angle", 2 * math.pi), 0.0, 1000.0, open_minimum=True)}


def draw_boundary_crossings(parameters: Given, trials: int, seed: int) -> Tally:
    """See :func:`kwta_theory.simulation.crossings.boundary_crossings`."""
    from fractions import Fraction

    from kwta_theory.simulation.crossings import boundary_crossings

    result = boundary_crossings(trials=trials, seed=seed, **parameters)  # type: ignore[arg-type]
    names = ("changes", "values", "absolute_values", "squared_values")
    sums = {name: getattr(result, name) for name in names}
    return Tally(trials, {}, {name: Moments(Fraction(s.total), Fraction(s.total_squares)) for name, s in sums.items()})


def crossings_cost(parameters: Given) -> float:
    """Numbers per trial: a few looks at all outputs for each of up to ``angle * sqrt(k (l - k))`` changes."""
    width, k = float(parameters["width"]), float(parameters["k"])
    return width * (2 + 8 * float(parameters["angle"]) * (1 + min(k, width - k)))


for _estimator in (
    Estimator(
        "same-pattern",
        1,
        "P(two inputs have the same pattern), pointwise Theorems 1, 8, 9 and Lemma 5",
        (*LAYER, "cosine", "beta", "margin"),
        resolve_same_pattern,
        lambda parameters: 2.0 * float(parameters["width"]),
        draw_same_pattern,
        (Outcome("same"),),
    ),
    Estimator(
        "disjoint-patterns",
        1,
        "P(the patterns of N fixed points are pairwise disjoint), Theorems 2 and 10",
        (*LAYER, *POINTS),
        layer_at_points,
        layer_cost,
        draw_disjoint_patterns,
        (Outcome("disjoint"),),
    ),
    Estimator(
        "pattern-overlap",
        1,
        "mean share of the winners that two inputs have in common",
        (*LAYER, "cosine", "log_width", "method"),
        resolve_pattern_overlap,
        lambda parameters: layer_cost({**parameters, **PAIR}),
        draw_pattern_overlap,
        (Outcome("overlap", "share"), Outcome("disjoint"), Outcome("same")),
    ),
    Estimator(
        "interpolation",
        1,
        "P(the last layer can fit any labels), Theorem 11",
        (*LAYER, *POINTS),
        layer_at_points,
        interpolation_cost,
        draw_interpolation,
        (Outcome("any_vector"), Outcome("proof_vector"), Outcome("disjoint"), Outcome("these_labels")),
    ),
    Estimator(
        "distinct-patterns",
        1,
        "P(random binary inputs get pairwise different patterns), Example 1",
        (*LAYER, "input_dim", "points", "probability"),
        resolve_distinct_patterns,
        lambda parameters: float(parameters["points"]) * (float(parameters["width"]) + float(parameters["input_dim"])),
        draw_distinct_patterns,
        (Outcome("distinct"), Outcome("duplicate_inputs"), Outcome("zero_inputs")),
    ),
    Estimator(
        "boundary-crossings",
        1,
        "mean number of pattern changes while the input turns by an angle, and the sizes of the jumps",
        (*LAYER, "angle"),
        resolve_boundary_crossings,
        crossings_cost,
        draw_boundary_crossings,
        tuple(Outcome(name, "value") for name in ("changes", "values", "absolute_values", "squared_values")),
    ),
):
    register(_estimator)
