"""AutoAttack (Croce and Hein, ICML 2020) through pyautoattack 0.2.0."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import torch
from torch import nn

from kwta_theory.attacks.ascent import Attacked
from kwta_theory.attacks.ball import check_batch
from kwta_theory.attacks.foreign import at, borrowed, imported
from kwta_theory.checks import InvalidArgumentError, check_number

VERSIONS = ("standard", "plus", "rand")
FEWEST_CLASSES = 4  # the loss of its targeted attack divides by a difference from the fourth largest logit
PURPOSE = "AutoAttack"


@dataclass(frozen=True)
class AutoAttack:
    """APGD on the cross-entropy, targeted APGD, targeted FAB and Square, each on what the ones before left.

    pyautoattack downloads nothing and prints nothing; what it warns of (a zero gradient, a randomised network, Square
    better than the attacks by gradients) is kept in ``warnings``.

    Attributes:
        name: for tables.
        version: ``"standard"``, ``"plus"`` or ``"rand"``, of the package.
        warnings: what it warned of, each sentence once.
    """

    name: str = "autoattack"
    version: str = "standard"
    warnings: list[str] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise InvalidArgumentError(
                f"version={self.version!r} is not known: it must be one of {', '.join(VERSIONS)}."
            )

    def run(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float, seed: int = 0
    ) -> Attacked:
        """As :meth:`kwta_theory.attacks.Ascent.run`; every random number follows from ``seed``.

        Raises:
            InvalidArgumentError: fewer than four classes; images, labels or epsilon not allowed.
            MissingPackageError: pyautoattack is not installed.
        """
        epsilon = check_number("epsilon", epsilon, 0.0)
        check_batch(images, labels)
        inputs = images.detach().float()  # APGD and FAB compute in it whatever they get
        package = imported("pyautoattack", "autoattack", PURPOSE)
        if not len(images):
            return Attacked(inputs, inputs.new_zeros(0))
        with borrowed(model, inputs, seed, self.name) as network:
            inputs, labels = inputs.clone(), labels.clone()  # of inference tensors there is no gradient
            with torch.no_grad():
                classes = network(inputs[:1]).shape[1]
            if classes < FEWEST_CLASSES:
                raise InvalidArgumentError(f"AutoAttack needs {FEWEST_CLASSES} classes, and the network has {classes}.")
            attack = package.AutoAttack(
                network, eps=epsilon, seed=torch.initial_seed(), version=self.version, device=images.device
            )
            # It asks for nine target classes, which ten classes have.
            for part in (attack.apgd_targeted, attack.fab):
                part.n_target_classes = min(part.n_target_classes, classes - 1)
            for part in (attack, attack.apgd, attack.apgd_targeted):
                part.logger = self._listener()
            points, _ = attack.run_standard_evaluation(inputs, labels, batch_size=len(inputs))
            return at(network, points, images, labels, epsilon)

    def _listener(self) -> logging.Logger:
        """A logger that is in nobody's tree and keeps warnings."""
        warned = self.warnings

        class Keep(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                sentence = record.getMessage()
                if sentence not in warned:
                    warned.append(sentence)

        logger = logging.Logger("pyautoattack", logging.WARNING)
        logger.addHandler(Keep())
        return logger

    def note(self, epsilon: float) -> str:  # noqa: ARG002  (all notes have one signature)
        """What it warned of."""
        return f"pyautoattack says: {' '.join(self.warnings)}" if self.warnings else ""
