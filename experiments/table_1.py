"""Table 1: ResNet-18 under the paper's white-box attacks and transfer from VGG-19, on CIFAR-10 and SVHN.

Claimed (Section 4.1): k-WTA improves the robustness under white-box attacks with every training method; black-box
attacks are not stronger. Measured here: the same attacks from foolbox, points of a naturally trained VGG-19 (BB), and
beside them attacks made for discontinuous networks. At the scale of the paper both data sets are read from --data-dir;
at small scale a ResNet-18 of a quarter of the channels learns the 8 x 8 digits of scikit-learn, epsilon 0.2, beside the
paper's rows for CIFAR-10.
"""

from __future__ import annotations

from kwta_theory.networks.training import EPSILON
from kwta_theory.robustness import paper
from kwta_theory.robustness.table_script import main
from kwta_theory.robustness.tables import SMALL_DATA, Line, Table, colour_attacks, colour_network, numbers


def plan(scale: str, seed: int) -> tuple[Line, ...]:
    """Four methods, three activations; for each data set at the scale of the paper."""
    lines = []
    for row in paper.rows("1"):
        if scale == "small" and row.data != "cifar10":
            continue
        epsilon = EPSILON[SMALL_DATA if scale == "small" else row.data]
        lines.append(
            Line(
                colour_network(row.model, row.data, row.training, row.activation, scale, seed),
                colour_attacks(epsilon),
                numbers(row),
                epsilon,
                sources={"transfer": colour_network("vgg19", row.data, "natural", "relu", scale, seed)},
                twin=(row.data if scale == "paper" else SMALL_DATA, row.training),
            )
        )
    return tuple(lines)


TABLE = Table("table_1", __doc__, plan)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
