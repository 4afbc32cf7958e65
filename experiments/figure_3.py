"""Figure 3: the logits along a PGD attack, k-WTA beside ReLU, and the loss along weights during training.

Claimed: on a k-WTA network the attack meets strong discontinuities, which invalidate the gradient; on a ReLU network it
"can easily find adversarial examples" along smooth logits; in training the loss changes "largely smoothly" with the
weights, because the sum over images makes single jumps negligible.
Drawn at the small scale: a quarter-width ResNet-18 on digits, steps of 0.001 up to epsilon 0.1; weights on the segment
from the second to the third epoch of training.
Seen (medians of 20 images): along the attack on k-WTA the margin moves the wrong way for 0.47 of its variation, a walk
almost without direction; on ReLU it falls all the way. PGD-20 leaves 0.60 of 200 images on both. But the k-WTA network
is not the more robust one: all attacks leave 0.14 of them, on ReLU 0.57.
In training 0.96 of the variation of one image's loss is jumps, and 0.77 of that of the mean of 256: they do not vanish.
They average out: the loss varies by 6.9 times its range for one image, 4.9 times for 16, 1.8 times for 256.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch import nn
from torch.nn import functional

from kwta_theory.attacks import bounds, project
from kwta_theory.attacks.gradients import attack_mode
from kwta_theory.report import plots
from kwta_theory.robustness import surfaces
from kwta_theory.robustness.landscape import median_interval, roughness, weight_line
from kwta_theory.robustness.study import Row, Run, Study, Wanted, attack_note, main, robustness

RATIO, ITERATIONS, CELLS = 0.1, 100, 100
# Epochs between which the loss is followed, and numbers of images that it is averaged over.
EPOCHS, SIZES = (2, 3), (1, 16, 256)


def attack_path(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Logits at the iterates of untargeted PGD from the image, steps of ``epsilon / 100``: ``(101, B, classes)``.

    So after ``t`` steps the perturbation has size ``t epsilon / 100`` at most, the abscissa of the paper's figure.
    """
    ball, x, found = bounds(images, epsilon), images.clone(), []
    with attack_mode(model):
        for _ in range(ITERATIONS + 1):
            x = x.detach().requires_grad_()
            logits = model(x)
            found.append(logits.detach())
            (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, labels, reduction="sum"), x)
            x = project(x.detach() + epsilon / ITERATIONS * gradient.sign(), ball)
    return torch.stack(found)


def backtracking(path: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """For each image the share of the variation of its own logit along the attack that was in the wrong direction.

    The attack wants the logit of the right class, less the largest other, to fall: 0 where it always falls, 1/2 where
    it ends where it began.
    """
    right = path.gather(2, labels.expand(len(path), -1)[..., None]).squeeze(2)
    other = path.scatter(2, labels.expand(len(path), -1)[..., None], -torch.inf).amax(2)
    steps = (right - other).diff(dim=0)
    variation = steps.abs().sum(0).clamp_min(torch.finfo(steps.dtype).tiny)
    return (steps.clamp_min(0).sum(0) / variation).cpu().numpy()


def attacked(run: Run) -> list[tuple[str, Wanted]]:
    """The networks under attack, by name."""
    network = run.settings.networks[0]
    return [*surfaces.at_ratio(run, network, [RATIO]), (f"{network[0]}, ReLU", run.direct(network, "relu"))]


def in_training(run: Run) -> dict[str, list[Wanted]]:
    """By activation, the two networks between which the loss is followed."""
    return {name: run.early(run.settings.networks[0], name, EPOCHS) for name in (f"kwta-{RATIO:g}", "relu")}


def plan(run: Run) -> list[Wanted]:
    """The networks of the figure."""
    return [*(wanted for _, wanted in attacked(run)), *itertools.chain(*in_training(run).values())]


def measure(run: Run) -> Iterator[Row]:
    """Two rows on attacks, then rows on the loss along weights."""
    networks = [(name, run.network(wanted)) for name, wanted in attacked(run)]
    images, labels = run.images()
    places = surfaces.common(run, networks)
    for name, model in networks:
        row, _ = robustness(run, model)
        path = attack_path(model, images[places], labels[places], run.settings.epsilon)
        run.results[name] = (path[:, 0].cpu().numpy(), int(labels[places[0]]))
        back = median_interval(backtracking(path, labels[places]))
        row |= dict(zip(("backtracking", "backtracking_lower", "backtracking_upper"), back, strict=True))
        yield {"part": "attack", "network": name, "images": len(places)} | row
    yield from _weights(run)


def wander(losses: np.ndarray) -> float:
    """The variation of a loss over its range: 1 where it rises or falls all the way."""
    extent = float(np.ptp(losses))
    return float(np.abs(np.diff(losses)).sum()) / extent if extent else 1.0


def _weights(run: Run) -> Iterator[Row]:
    data = run.data.train
    for activation, between in in_training(run).items():
        first, second = map(run.network, between)
        images, labels = data.images(slice(0, SIZES[-1]), run.device), data.labels[: SIZES[-1]].to(run.device)
        values, slopes = weight_line(first, second, images, labels, CELLS)
        run.results[activation] = values
        for size in SIZES:
            groups = [slice(i, i + size) for i in range(0, values.shape[1] - size + 1, size)]
            row: Row = {}
            for name, found in (
                ("jumps", [roughness(values[:, g].mean(1), slopes[:, g].mean(1), 1.0).share for g in groups]),
                ("wander", [wander(values[:, g].mean(1)) for g in groups]),
            ):
                ends = [end if np.isfinite(end) else None for end in median_interval(found)]
                row |= dict(zip((name, f"{name}_lower", f"{name}_upper"), ends, strict=True))
            run.say(f"{activation}, mean of {size} images: {row}")
            yield {"part": "weights", "network": activation, "images": size, "groups": len(groups)} | row


def figure(run: Run, rows: list[Row]) -> Figure:
    """Three panels: two attacks; the loss of one image and of many along the weights."""
    drawn, axes = plots.panels(columns=3, height=4.4)
    attacks = [row for row in rows if row["part"] == "attack"]
    for axis, row in zip(axes, attacks, strict=False):
        path, label = run.results[row["network"]]
        _logits(axis, path, label, run.settings.epsilon)
        axis.set_title(
            f"{row['network']}\nwrong way {row['backtracking']:.2f} "
            f"[{row['backtracking_lower']:.2f}, {row['backtracking_upper']:.2f}]\n"
            f"PGD-20 leaves {row['pgd']:.2f}, adaptive {row['adaptive']:.2f}",
            fontsize=9.5,
        )
    axes[0].set_ylabel("logit")
    last = axes[2]
    for activation, style in ((f"kwta-{RATIO:g}", "-"), ("relu", ":")):
        for size, color in zip(SIZES, plots.PALETTE, strict=False):
            values = run.results[activation][:, :size].mean(1)
            label = f"{activation}, mean of {size} training image{'s' * (size > 1)}"
            last.plot(np.linspace(*EPOCHS, CELLS + 1), values, style, color=color, linewidth=1.3, label=label)
    last.set(xlabel="weights, from one epoch to the next", ylabel="loss", yscale="log")
    shares = [row for row in rows if row["part"] == "weights" and row["network"] != "relu"]
    told = [", ".join(f"{row[name]:.2g} ({row['images']})" for row in shares) for name in ("jumps", "wander")]
    last.set_title(f"k-WTA-{RATIO:g} in training (images)\njumps: {told[0]}\nvariation/range: {told[1]}", fontsize=9.5)
    last.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    last.yaxis.set_minor_formatter(NullFormatter())
    plots.legend(drawn, columns=2)
    plots.caption(
        drawn,
        f"Left, middle: one test image, PGD with {ITERATIONS} iterations of a hundredth of epsilon from the image; "
        "thick: the right class. Wrong way: the share of the margin's variation along the attack in which it grows, "
        f"median of {attacks[0]['images']} images with its exact interval (order statistics, level 0.95). Right: "
        f"weights on the segment from epoch {EPOCHS[0]} to {EPOCHS[1]}, {CELLS} cells, float64; jumps: their share of "
        f"the loss's variation; medians over disjoint groups of images. {attack_note(run, attacks, bars=False)}",
    )
    return drawn


def _logits(axis: Axes, path: np.ndarray, label: int, epsilon: float) -> None:
    sizes = np.linspace(0, epsilon, len(path))
    for number in range(path.shape[1]):
        thick = number == label
        axis.plot(sizes, path[:, number], linewidth=2.6 if thick else 1, color=f"C{number}", zorder=3 if thick else 2)
    axis.set_xlabel("size of the perturbation, at most")


STUDY = Study("figure_3", __doc__ or "", measure, plan, {"figure_3": figure})

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
