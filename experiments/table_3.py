"""Table 3: adversarial points of one ResNet-18 handed to another, ReLU and k-WTA-0.1, natural and adversarial training.

Claimed (Appendix D.3): k-WTA networks are harder to attack with the points of others, and their points are weaker
against others; on the diagonal, where the source is a second copy of the target trained from another seed, k-WTA
keeps more than ReLU. Measured here: the paper's PGD on the source; the column adaptive also has points that an attack
made for k-WTA finds on the same sources, and white-box attacks on the target. At the scale of the paper CIFAR-10 is
read from --data-dir; at small scale quarter-width networks learn the 8 x 8 digits.
"""

from __future__ import annotations

from kwta_theory.networks.training import EPSILON
from kwta_theory.robustness import paper
from kwta_theory.robustness.table_script import main
from kwta_theory.robustness.tables import ROBUST, SMALL_DATA, Line, Table, colour_network


def plan(scale: str, seed: int) -> tuple[Line, ...]:
    """Four targets, each with four sources; the copy of the diagonal has the next seed."""
    entries = paper.rows("3")
    lines = []
    for activation, method in dict.fromkeys((row.activation, row.training) for row in entries):
        row = [entry for entry in entries if (entry.activation, entry.training) == (activation, method)]
        sources, published = {}, {}
        for entry in row:
            if entry.source is None:
                continue
            column = "from " + " ".join(entry.source)
            other = seed + (entry.source == (activation, method))
            sources[column] = colour_network(entry.model, entry.data, entry.source[1], entry.source[0], scale, other)
            published[column] = entry.robust
        published[ROBUST] = min(published.values())
        epsilon = EPSILON[SMALL_DATA if scale == "small" else row[0].data]
        lines.append(
            Line(
                colour_network(row[0].model, row[0].data, method, activation, scale, seed),
                {},
                published,
                epsilon,
                sources=sources,
                twin=(method,),
            )
        )
    return tuple(lines)


TABLE = Table("table_3", __doc__, plan)

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
