"""Transfer: points found on one network, handed to another (Section 4.1 and Table 3)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from kwta_theory import seeding
from kwta_theory.attacks.ascent import Attacked
from kwta_theory.attacks.ball import bounds, check_batch, project
from kwta_theory.attacks.draws import Draws, image_keys
from kwta_theory.attacks.foreign import Float, at, at_least_single
from kwta_theory.attacks.gradients import Gradient, Plain, Target, attack_mode
from kwta_theory.attacks.losses import loss_named
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number

if TYPE_CHECKING:
    from kwta_theory.robustness import Attack


@dataclass(frozen=True)
class Persistent:
    """Ascent that goes on after success: what lies deep in a wrong class of one network is wrong for others, too.

    :class:`kwta_theory.attacks.Ascent` stops at the first point behind the boundary, which no other network shares.
    The last point is the answer.

    Attributes:
        name: for tables.
        steps: after the random start.
        step_size: as a share of epsilon.
        loss: ``"cross-entropy"`` or ``"margin"``.
        gradient: where the direction comes from.
    """

    name: str
    steps: int = 40
    step_size: float = 0.1
    loss: str = "margin"
    gradient: Gradient = field(default_factory=Plain)

    def __post_init__(self) -> None:
        check_integer("steps", self.steps, 0)
        check_number("step_size", self.step_size, 0.0, open_minimum=True)
        loss_named(self.loss)

    def run(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float, seed: int = 0
    ) -> Attacked:
        """As :meth:`kwta_theory.attacks.Ascent.run`."""
        epsilon = check_number("epsilon", epsilon, 0.0)
        check_batch(images, labels)
        centres = at_least_single(images)
        stream = seeding.Stream(seed, f"attack {self.name}")
        draws = Draws.of(stream, 0, image_keys(images), centres.device)
        with attack_mode(model):
            centres, labels = centres.clone(), labels.clone()  # of inference tensors there is no gradient
            ball = bounds(centres, epsilon)
            x = project(centres + epsilon * (2 * draws.uniforms(centres) - 1), ball)
            for step in range(self.steps):
                target = Target(model, labels, loss_named(self.loss), epsilon, draws, step / self.steps)
                direction, _ = self.gradient(target, x)
                x = project(x + self.step_size * epsilon * direction.nan_to_num(0.0, 1.0, -1.0).sign(), ball)
            return at(Float(model), x, centres, labels, epsilon)


@dataclass(frozen=True, eq=False)
class Transfer:
    """Attack a source network, hand the points to the target.

    Attributes:
        name: for tables.
        source: a network for the same images and classes, on their device.
        attack: what is run on it, such as :class:`Persistent` or the paper's PGD.
        source_digest: of its weights.
    """

    name: str
    source: nn.Module = field(repr=False)
    attack: Attack
    source_digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source_digest", weights_digest(self.source))

    def run(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float, seed: int = 0
    ) -> Attacked:
        """As :meth:`kwta_theory.attacks.Ascent.run`. The target is asked once, and gives no gradient.

        Raises:
            InvalidArgumentError: the source is the target itself.
        """
        if self.source is model:
            raise InvalidArgumentError("source is the network that is attacked: a transfer needs another one.")
        found = self.attack.run(self.source, images, labels, epsilon, seed)
        with attack_mode(model):
            return at(Float(model), found.images, images, labels, epsilon)

    def note(self, epsilon: float) -> str:  # noqa: ARG002  (all notes have one signature)
        """What its counts mean."""
        return "Its passes are those through the attacked network; those through the source are in its seconds only."


def weights_digest(network: nn.Module) -> str:
    """To tell whether two networks have the same weights."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
