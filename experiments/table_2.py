"""Table 2: three architectures with ReLU, LWTA and k-WTA, natural and adversarial training, on CIFAR-10.

Claimed (Appendix D.3): k-WTA has a higher worst-case robustness than ReLU on every architecture, and is better than
LWTA at the same ratio in both accuracies. Measured here: the worst of the paper's four white-box attacks, and beside it
attacks made for discontinuous networks. At the scale of the paper CIFAR-10 is read from --data-dir; at small scale
networks of fewer channels (ResNet-18 and DenseNet-121 a quarter, WideResNet-22-10 a tenth) learn the 8 x 8 digits.
"""

from __future__ import annotations

from kwta_theory.networks.training import EPSILON
from kwta_theory.robustness import paper
from kwta_theory.robustness.table_script import main
from kwta_theory.robustness.tables import SMALL_DATA, Line, Table, colour_attacks, colour_network, numbers


def plan(scale: str, seed: int) -> tuple[Line, ...]:
    """Three architectures, two methods, five activations."""
    lines = []
    for row in paper.rows("2"):
        epsilon = EPSILON[SMALL_DATA if scale == "small" else row.data]
        lines.append(
            Line(
                colour_network(row.model, row.data, row.training, row.activation, scale, seed),
                colour_attacks(epsilon),
                numbers(row),
                epsilon,
                twin=(row.model, row.training),
            )
        )
    return tuple(lines)


TABLE = Table("table_2", __doc__, plan)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
