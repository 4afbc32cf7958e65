"""Figure 7: the loss around an image for several sparsity ratios, on two architectures, and with adversarial training.

Claimed (Appendix D.5): a larger ratio smooths the loss surface, a smaller one makes it "more discontinuous and spiky";
adversarial training reduces the range of the loss, but the surface remains spiky.
Drawn at the small scale: a quarter-width ResNet-18 and, instead of DenseNet-121, the small CNN, on digits.
Seen (medians of 20 images): the share of jumps in the loss's variation hardly depends on the ratio, 0.97, 0.97 and 0.99
at 0.2, 0.1 and 0.05 on the ResNet, 0.93 and 0.94 at 0.2 and 0.1 on the CNN. What grows is their size: the range of the
loss is 0.003, 0.017 and 2.5. It is still spiky after adversarial training (0.96), but its range is not smaller: 0.062
beside 0.005, intervals overlapping. And smaller ratios withstand less: all attacks leave 0.35, 0.14 and 0.03.
"""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from kwta_theory.robustness import surfaces
from kwta_theory.robustness.study import Row, Run, Study, Wanted, main

RATIOS = (0.05, 0.1, 0.2)


def networks(run: Run) -> list[tuple[str, Wanted]]:
    """Three ratios of the first architecture, two of another, and that one trained adversarially.

    At the scale of the paper the last is trained at its ratio from the start, as in Appendix D.1; at small scale it is
    one of those of Figure 4.
    """
    first = run.settings.networks[0]
    second = run.settings.networks[1 % len(run.settings.networks)]
    if run.settings.scale == "paper":
        name = f"{second[0]}, k-WTA-{RATIOS[1]:g}{surfaces.ADVERSARIAL}"
        adversarial = [(name, run.direct(second, f"kwta-{RATIOS[1]:g}", "at"))]
    else:
        adversarial = surfaces.at_ratio(run, second, RATIOS[1:2], "at")
    return [*surfaces.at_ratio(run, first, RATIOS), *surfaces.at_ratio(run, second, RATIOS[1:]), *adversarial]


def measure(run: Run) -> Iterator[Row]:
    """One row for each network."""
    return surfaces.measured(run, [(name, run.network(wanted)) for name, wanted in networks(run)])


def plan(run: Run) -> list[Wanted]:
    """The networks of the figure."""
    return [wanted for _, wanted in networks(run)]


def figure(run: Run, rows: list[Row]) -> Figure:
    """Three panels above three."""
    return surfaces.drawn(run, rows, columns=3)


STUDY = Study("figure_7", __doc__ or "", measure, plan, {"figure_7": figure})

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
