"""Figure 5: the loss around an image, k-WTA beside ReLU, natural beside adversarial training.

Claimed (Section 4.3): k-WTA networks (ratio 0.1) have "a highly non-convex and non-smooth loss landscape", so that
gradients are hardly useful; ReLU's is smooth; adversarial training makes the range of the loss smaller.
"""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from kwta_theory.robustness import surfaces
from kwta_theory.robustness.study import Row, Run, Study, main

RATIO = 0.1


def measure(run: Run) -> Iterator[Row]:
    """One row for each of the four networks of the figure."""
    network = run.settings.networks[0]
    adversarial = " + adversarial training"
    networks = [
        *surfaces.at_ratio(run, network, [RATIO]),
        (f"{network[0]}, k-WTA-{RATIO:g}{adversarial}", run.trained(network, f"kwta-{RATIO:g}", "at")),
        (f"{network[0]}, ReLU", run.trained(network, "relu")),
        (f"{network[0]}, ReLU{adversarial}", run.trained(network, "relu", "at")),
    ]
    return surfaces.measured(run, networks)


def figure(run: Run, rows: list[Row]) -> Figure:
    """Two panels above two."""
    return surfaces.drawn(run, rows, columns=2)


STUDY = Study("figure_5", __doc__ or "", measure, {"figure_5": figure})

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
