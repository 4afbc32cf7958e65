"""Section 3: one output along a line, with k-WTA and with ReLU, as in Figure 1 of the paper.

Claimed: with all patterns fixed a network is affine; at a change of pattern the pieces of a ReLU network are joined,
and those of a k-WTA network are not.
Drawn: networks of 3 inputs, one or two hidden layers of 20 outputs and no biases, whose weights are normal variables
times 10^4, rounded to integers. So the walk from change to change along the segment from ``e_1`` to ``e_2`` is in
rational numbers: no change can be stepped over, and a jump is a limit from the left unlike the one from the right.
Exact: with one hidden layer the mean number of changes is the boundary density times the angle ``pi/2``; for weights in
general position every change of a k-WTA network is a jump (else a "surprise"), and none of a ReLU network.
Seen (2000 networks): with 4 winners in two hidden layers a quarter turn meets 7.6 changes on average, all of them
jumps, which make up 0.74 of the output's variation; with ReLU it meets 20.0 changes and no jump. So it is the jumps
that set k-WTA apart, not the number of pieces. For half of the outputs as winners, where those that swap are near 0,
the part of the jumps is smaller: with one hidden layer 0.29, against 0.61 for 2 of 20.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kwta_theory import campaign, theory
from kwta_theory.campaign import Estimator, Moments, Outcome, Tally, register
from kwta_theory.campaign.estimators import Parameters, Value, whole
from kwta_theory.checks import check_width_and_winners
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.integer_networks import INPUT_DIM, Network, Piece, walk

START, DIRECTION, ANGLE = (1, 0, 0), (-1, 1, 0), math.pi / 2
SCALE = 10_000
WIDTH, SHOWN_K = 20, 4
WINNERS = (1, 2, 4, 7, 10, 14, 19)
TRIALS = {"quick": 150, "standard": 2000, "thorough": 20_000}


def network(generator: np.random.Generator, width: int, layers: int, k: int) -> Network:
    """``layers`` hidden layers of one width and one output; ``k = 0`` stands for ReLU."""
    sizes = itertools.pairwise((INPUT_DIM, *[width] * layers, 1))
    weights = [np.rint(SCALE * generator.standard_normal((rows, columns))).astype(int) for columns, rows in sizes]
    return Network(
        tuple(tuple(map(tuple, weight.tolist())) for weight in weights), tuple((0,) * len(w) for w in weights), k
    )


def jumps(pieces: Sequence[Piece]) -> list[float]:
    """Right-hand minus left-hand limit of the output at each change."""
    return [
        float(right.value[0] - left.value[0] - left.slope[0] * (left.end - left.start))
        for left, right in itertools.pairwise(pieces)
    ]


def draw(parameters: Mapping[str, Value], trials: int, seed: int) -> Tally:
    """One network in each trial: changes, jumps, the part of the output's variation that is jumps, and surprises."""
    width, layers, k = (int(parameters[name]) for name in ("width", "layers", "k"))
    generator = np.random.default_rng(np.random.SeedSequence(seed))
    changes: list[float] = []
    jumped: list[float] = []
    share: list[float] = []
    for _ in range(trials):
        pieces = list(walk(network(generator, width, layers, k), START, DIRECTION))
        sizes = [abs(jump) for jump in jumps(pieces)]
        slopes = sum(abs(float(piece.slope[0] * (piece.end - piece.start))) for piece in pieces)
        changes.append(len(sizes))
        jumped.append(sum(size > 0 for size in sizes))
        variation = sum(sizes) + slopes  # 0 where ReLU lets nothing through
        share.append(sum(sizes) / variation if variation else 0.0)
    surprises = sum(found != (number if k else 0) for found, number in zip(jumped, changes, strict=True))
    sums = {"changes": changes, "jumps": jumped, "jump_share": share}
    return Tally(trials, {"surprise": surprises}, {name: Moments.of(values) for name, values in sums.items()})


def resolve(given: Mapping[str, Value]) -> Parameters:
    """``width`` of each of ``layers`` hidden layers, ``k`` winners or 0."""
    width, layers, k = (whole(name, given[name], least) for name, least in (("width", 2), ("layers", 1), ("k", 0)))
    check_width_and_winners(width, max(1, k))
    return {"width": width, "layers": layers, "k": k}


register(
    Estimator(
        "pieces-on-a-segment",
        1,
        "changes of pattern and jumps of one output along a quarter turn of the input, Section 3",
        ("width", "layers", "k"),
        resolve,
        lambda parameters: 1e4 * float(parameters["width"]) * float(parameters["layers"]),
        draw,
        (Outcome("changes", "value"), Outcome("jumps", "value"), Outcome("jump_share", "share"), Outcome("surprise")),
    )
)


def exact(row: Row) -> float | None:
    """The boundary density times the angle for one hidden layer; no surprise for any."""
    if row["outcome"] == "surprise" or (row["outcome"], row["k"]) in (("jumps", 0), ("jump_share", 0)):
        return 0.0
    if row["layers"] > 1 or row["outcome"] == "jump_share":
        return None
    width, k = row["width"], row["k"]
    return ANGLE * (theory.boundary_density(width, k) if k else theory.relu_boundary_density(width))


def draw_line(axis: Axes, pieces: Sequence[Piece], color: str, name: str) -> None:
    """One output along the segment, in units of its root mean square, with a mark below each change."""
    ends = np.array([[float(p.start), float(p.end)] for p in pieces])
    left = np.array([float(p.value[0]) for p in pieces])
    values = np.stack([left, left + [float(p.slope[0] * (p.end - p.start)) for p in pieces]], axis=1)
    # The mean of a square over a piece from u to v is (u^2 + u v + v^2)/3.
    squares = (values[:, 0] ** 2 + values[:, 0] * values[:, 1] + values[:, 1] ** 2) / 3
    values /= math.sqrt(float(np.sum(squares * (ends[:, 1] - ends[:, 0]))))
    for x, y in zip(ends, values, strict=True):
        axis.plot(x, y, color=color, linewidth=1.8)
    sizes = np.abs(values[1:, 0] - values[:-1, 1])
    marks = np.full(len(sizes), values.min() - 0.12 * np.ptp(values))
    axis.plot(ends[1:, 0], marks, "|", color=plots.FIRST, markersize=9)
    axis.set(ylabel="output f / its rms", xlim=(0, 1))
    axis.set_title(f"{name}: {len(pieces)} pieces, {int((sizes > 1e-12).sum())} jumps")


def line(found: Found) -> Figure:
    """The same weights with k-WTA and with ReLU."""
    figure, axes = plots.panels(rows=2, height=2.9)
    for axis, k, color, name in zip(
        axes, (SHOWN_K, 0), plots.PALETTE, (f"k-WTA, {SHOWN_K} of {WIDTH} winners", "ReLU, the same weights"),
        strict=False,
    ):  # fmt: skip
        generator = np.random.default_rng(np.random.SeedSequence(found.seed))
        draw_line(axis, list(walk(network(generator, WIDTH, 2, k), START, DIRECTION)), color, name)
    axes[1].set_xlabel("place t on the segment x = (1 - t) e₁ + t e₂; marks: changes of pattern")
    plots.caption(figure, f"One random network, 3 inputs, 2 hidden layers of {WIDTH}, seed {found.seed}; exact walk.")
    return figure


def winners(found: Found) -> Figure:
    """Changes and the part of the jumps, against the number of winners."""
    figure, (left, right) = plots.panels(columns=2)
    ks = list(range(1, WIDTH))
    plots.law(left, ks, [ANGLE * theory.boundary_density(WIDTH, k) for k in ks], label="1 hidden layer, exact")
    for layers, color, marker in ((1, plots.PALETTE[0], "o"), (2, plots.PALETTE[1], "s")):
        for axis, outcome in ((left, "changes"), (right, "jump_share")):
            rows = [row for row in found.select("k", layers=layers, outcome=outcome) if row["k"]]
            label = f"{layers} hidden layer{'s' * (layers > 1)}, drawn"
            places = [row["k"] + 0.3 * (layers - 1) for row in rows]  # beside each other
            plots.estimates(axis, places, rows, label=label, color=color, marker=marker)
        (relu,) = found.select(layers=layers, outcome="changes", k=0)
        level = f"ReLU, {layers} hidden layer{'s' * (layers > 1)}, drawn (band: interval)"
        left.axhspan(relu["lower"], relu["upper"], color=color, alpha=0.2, linewidth=0)
        left.axhline(relu["estimate"], color=color, linestyle=":", label=level)
    left.set(xlabel=f"winners k of {WIDTH}", ylabel="changes of pattern in a quarter turn (mean)", ylim=(0, None))
    right.set(xlabel=f"winners k of {WIDTH}", ylabel="part of the variation of f that is jumps", ylim=(0, 1))
    for axis in (left, right):
        axis.set_xticks((1, 5, 10, 15, 19))
    plots.legend(figure, columns=2)
    return figure


EXPERIMENT = Experiment(
    name="section_3_pieces",
    summary=__doc__ or "",
    tasks=lambda _: [
        campaign.Task.of("pieces-on-a-segment", width=WIDTH, layers=layers, k=k)
        for layers in (1, 2)
        for k in (0, *WINNERS)
    ],
    until=lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact=exact,
    figures={"section_3_pieces": line, "section_3_pieces_winners": winners},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
