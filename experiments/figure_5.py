"""Figure 5: the loss around an image, k-WTA beside ReLU, natural beside adversarial training.

Claimed (Section 4.3): k-WTA networks (ratio 0.1) have "a highly non-convex and non-smooth loss landscape", so that
gradients are hardly useful; ReLU's is smooth; adversarial training makes the range of the loss smaller.
Drawn at the small scale: a quarter-width ResNet-18 on digits, epsilon 0.1; the paper's square of 0.04 around an image.
Seen (medians of 20 images): along the gradient's signs 0.97 of the loss's variation is jumps for k-WTA, 0.98 after
adversarial training (half as many cells: the same to 0.002); 0.0009 for ReLU, 0.0018 on half as many cells: kinks.
So spiky is right. It does not make the network robust: PGD-20 leaves 0.60 (k-WTA) and 0.60 (ReLU) of 200 images, all
attacks 0.14 and 0.57; after adversarial training 0.69 and 0.89, all attacks 0.36 and 0.88.
The range of the loss falls for ReLU, from 0.0011 to 0.0001, intervals overlapping. For k-WTA a fall is not seen: 0.029
and 0.057.
"""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from kwta_theory.robustness import surfaces
from kwta_theory.robustness.study import Row, Run, Study, Wanted, main

RATIO = 0.1


def networks(run: Run) -> list[tuple[str, Wanted]]:
    """The four networks of the figure, by name."""
    network = run.settings.networks[0]
    activation = f"kwta-{RATIO:g}"
    return [
        *surfaces.at_ratio(run, network, [RATIO]),
        (f"{network[0]}, k-WTA-{RATIO:g}{surfaces.ADVERSARIAL}", run.direct(network, activation, "at")),
        (f"{network[0]}, ReLU", run.direct(network, "relu")),
        (f"{network[0]}, ReLU{surfaces.ADVERSARIAL}", run.direct(network, "relu", "at")),
    ]


def measure(run: Run) -> Iterator[Row]:
    """One row for each network."""
    return surfaces.measured(run, [(name, run.network(wanted)) for name, wanted in networks(run)])


def plan(run: Run) -> list[Wanted]:
    """The networks of the figure."""
    return [wanted for _, wanted in networks(run)]


def figure(run: Run, rows: list[Row]) -> Figure:
    """Two panels above two."""
    return surfaces.drawn(run, rows, columns=2)


STUDY = Study("figure_5", __doc__ or "", measure, plan, {"figure_5": figure})

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
