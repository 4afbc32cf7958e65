"""A table at scale: all 60,000 training images of Fashion-MNIST, epsilon 0.1, on one CPU thread.

The paper has no Fashion-MNIST. It is the largest real set that can be had offline, so it is asked here whether what
Table 4 shows after 4,000 images of MNIST stands after fifteen times as many: the small CNN with ReLU and with
k-WTA-0.1, naturally trained and adversarially, under the attack of Appendix D.4 and the adaptive suite.
Epsilon is not MNIST's 0.3: strokes on black survive that, but shirts, pullovers and coats differ by shades of grey
and a ball of 0.3 lets one be drawn over another; 0.1 is usual for this set (Wong & Kolter 2018).
Seen (500 test images, one training of each): naturally trained both networks keep nothing. Trained adversarially
PGD-20 leaves 69.6 % of ReLU and 66.8 % of k-WTA, all attacks together 68.4 and 37.2 %.
The images are read from --data-dir or from where Debian's package dataset-fashion-mnist puts them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from kwta_theory.attacks.foolbox_attacks import PGD_20
from kwta_theory.networks.training import EPSILON
from kwta_theory.robustness.table_script import main
from kwta_theory.robustness.tables import Line, Table
from kwta_theory.robustness.zoo import training

DATA = "fashion-mnist"
# Appendix D.4 has steps of 0.03 in a ball of 0.3: a tenth of it here as there.
PGD = dataclasses.replace(PGD_20, settings={**PGD_20.settings, "abs_stepsize": EPSILON[DATA] / 10})
# What differs from the presets at small scale, which are made for 4,000 images. A natural epoch takes 35 s of one core,
# an adversarial one 250 to 290 s: 27 minutes in all. The rate is that of Appendix D.4: at the preset's 0.03 k-WTA-0.1
# ran away in its second epoch (93.6 % of the attacked training images right, 24.2 % of the test images as they are).
CHANGES: dict[str, dict[str, Any]] = {
    "natural": {"epochs": 3},
    "at": {
        "epochs": 3,
        "batch_size": 100,
        "learning_rates": ((0, 0.01), (2, 0.001)),
        "natural_epochs": 0.5,
        "ramp_epochs": 1.0,
    },
}


def plan(scale: str, seed: int) -> tuple[Line, ...]:
    """Four networks, each k-WTA network beside its twin; naturally trained ones first, because they are cheap."""
    return tuple(
        Line(
            training(
                "smallcnn",
                DATA,
                method,
                activation=activation,
                scale=scale,
                seed=seed,
                **(CHANGES[method] if scale == "small" else {}),
            ),
            {"pgd": PGD},
            {},
            EPSILON[DATA],
            twin=(method,),
        )
        for method in ("natural", "at")
        for activation in ("relu", "kwta-0.1")
    )


TABLE = Table("table_fashion_mnist", __doc__, plan, n={"small": 500, "paper": None})

if __name__ == "__main__":
    raise SystemExit(main(TABLE))
