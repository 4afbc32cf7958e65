"""How a network is trained: the paper's schedules, and for each a variant that two CPU cores can afford."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from typing import Any

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.networks.datasets import NAMES

METHODS = ("natural", "at", "trades", "free")
SCALES = ("paper", "small")
# The paper's perturbation sizes for pixels in [0, 1] (Appendix D.1, D.4). Those of the other sets are chosen here.
EPSILON = {"digits": 0.2, "mnist": 0.3, "fashion-mnist": 0.1, "cifar10": 0.031, "svhn": 0.047}
Schedule = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is learned, but the network, the images and the seed.

    Attributes:
        method: ``"natural"``; ``"at"``, PGD-adversarial training (Madry et al. 2018); ``"trades"`` (Zhang et al. 2019);
            ``"free"`` (Shafahi et al. 2019).
        epochs: passes over the training images; for ``free`` each batch of a pass is used ``replays`` times.
        batch_size: images in a step.
        learning_rates: ``(first epoch, rate)``, epochs counted from 0.
        momentum: of stochastic gradient descent.
        weight_decay: of the same.
        epsilon: radius of the adversary's ball (maximum norm), pixels in [0, 1]. Without effect for ``natural``.
        attack_steps: of the adversary (``at`` and ``trades``).
        attack_step_size: of the adversary, as a share of epsilon.
        trades_beta: ``1/lambda`` of TRADES.
        replays: m of free training.
        natural_epochs: epochs without an adversary at the start.
        ramp_epochs: epochs in which epsilon then grows from 0 to its value.
        sparsity_ratios: ``(first epoch, ratio)`` of incremental training (Section 2.2); empty for the network's own.
        augment: shift by up to four pixels and mirror, as is usual for CIFAR-10.

    Raises:
        InvalidArgumentError: a value that is not allowed.
    """

    method: str
    epochs: int
    batch_size: int
    learning_rates: Schedule
    momentum: float = 0.9
    weight_decay: float = 0.0
    epsilon: float = 0.0
    attack_steps: int = 8
    attack_step_size: float = 0.3125
    trades_beta: float = 6.0
    replays: int = 8
    natural_epochs: int = 0
    ramp_epochs: int = 0
    sparsity_ratios: Schedule = ()
    augment: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InvalidArgumentError(f"method={self.method!r} is not known: it must be one of {', '.join(METHODS)}.")
        for name in ("epochs", "batch_size", "attack_steps", "replays"):
            check_integer(name, getattr(self, name), 1)
        for name in ("natural_epochs", "ramp_epochs"):
            check_integer(name, getattr(self, name), 0)
        for name in ("weight_decay", "epsilon", "attack_step_size", "trades_beta"):
            check_number(name, getattr(self, name), 0.0)
        check_number("momentum", self.momentum, 0.0, 1.0, open_maximum=True)
        for name in ("learning_rates", "sparsity_ratios"):
            schedule = tuple((check_integer(f"{name} epoch", e, 0), float(v)) for e, v in getattr(self, name))
            object.__setattr__(self, name, schedule)
            epochs = [epoch for epoch, _ in schedule]
            if epochs != sorted(set(epochs)) or (epochs and epochs[0] != 0):
                raise InvalidArgumentError(f"{name}={schedule!r} is not allowed: its epochs must rise from 0.")
            for _, value in schedule:
                check_number(name, value, 0.0, open_minimum=True)
        if not self.learning_rates:
            raise InvalidArgumentError("learning_rates is empty: give at least ((0, RATE),).")

    def learning_rate(self, epoch: int) -> float:
        """The rate of an epoch."""
        return at_epoch(self.learning_rates, epoch)

    def sparsity_ratio(self, epoch: int) -> float | None:
        """The ratio of an epoch, or None where the network keeps its own."""
        return at_epoch(self.sparsity_ratios, epoch) if self.sparsity_ratios else None

    def epsilon_at(self, epoch: int) -> float:
        """The adversary's radius in an epoch: 0, then rising, then the whole."""
        if self.method == "natural" or epoch < self.natural_epochs:
            return 0.0
        done = epoch - self.natural_epochs + 1
        return self.epsilon * min(1.0, done / (self.ramp_epochs + 1))

    def as_json(self) -> dict[str, Any]:
        """For a checkpoint; :meth:`of` reads it back."""
        return asdict(self)

    @classmethod
    def of(cls, record: dict[str, Any]) -> Recipe:
        """From :meth:`as_json`, also after a detour through JSON or a checkpoint."""
        return cls(**record)


def at_epoch(schedule: Schedule, epoch: int) -> float:
    """The value of the last entry that has begun.

    >>> at_epoch(((0, 0.1), (50, 0.01)), 49)
    0.1
    """
    return next(value for first, value in reversed(schedule) if first <= epoch)


def incremental(first_epochs: int, every: int, start: float, stop: float, step: float) -> Schedule:
    """Section 2.2: ``start`` for so many epochs, then ``step`` less every few, down to ``stop``.

    >>> incremental(50, 2, 0.2, 0.19, 0.005)
    ((0, 0.2), (50, 0.195), (52, 0.19))
    """
    count = round((start - stop) / step)
    later = [(first_epochs + every * i, round(start - step * (i + 1), 10)) for i in range(count)]
    return ((0, start), *later)


def recipe(method: str, data: str, *, scale: str = "small", activation: str = "relu", **changes: Any) -> Recipe:
    """The preset for a method and a data set.

    ``scale="paper"`` is Appendix D.1 (CIFAR-10, SVHN: 80 epochs, batch 256, rate 0.1, from epoch 50 on 0.01; natural
    k-WTA at ratios below 0.2 incrementally) and D.4 (MNIST: 20 epochs, rate 0.01). What the paper leaves open is as in
    the sources it names: weight decay 5e-4 and augmentation for the colour images, free training with ``epochs / m``
    passes. ``scale="small"`` learns on two CPU cores in minutes; its adversarial methods start with natural epochs and
    let epsilon grow, because from scratch at epsilon 0.3 the loss stays at ``log 10`` for epochs.

    Args:
        method: one of :data:`METHODS`.
        data: name of the data set.
        scale: ``"paper"`` or ``"small"``.
        activation: decides whether the paper trains incrementally.
        **changes: attributes of :class:`Recipe` to replace.

    Raises:
        InvalidArgumentError: an unknown name or attribute.

    >>> recipe("natural", "cifar10", scale="paper", activation="kwta-0.1").epochs
    90
    """
    if scale not in SCALES:
        raise InvalidArgumentError(f"scale={scale!r} is not known: it must be one of {', '.join(SCALES)}.")
    if data not in NAMES:
        raise InvalidArgumentError(f"data={data!r} is not known: it must be one of {', '.join(NAMES)}.")
    colour = data in ("cifar10", "svhn")
    found = _paper(method, data, colour, activation) if scale == "paper" else _small(method, data, colour)
    unknown = sorted(set(changes) - {field.name for field in dataclasses.fields(Recipe)})
    if unknown:
        raise InvalidArgumentError(f"{unknown[0]}={changes[unknown[0]]!r} is not a part of a recipe.")
    return dataclasses.replace(found, **changes)


def _paper(method: str, data: str, colour: bool, activation: str) -> Recipe:
    free = method == "free"
    if not colour:
        epochs = -(-20 // 8) if free else 20
        return Recipe(method, epochs, 256, ((0, 0.01),), epsilon=EPSILON[data])
    epochs, drop = (10, 6) if free else (80, 50)
    rates: Schedule = ((0, 0.1), (drop, 0.01))
    ratios: Schedule = ()
    kind, _, number = activation.partition("-")
    if method == "natural" and kind == "kwta" and float(number) < 0.2:
        ratios = incremental(50, 2, 0.2, float(number), 0.005)
        epochs = max(epochs, 50 + 2 * (len(ratios) - 1))
    return Recipe(
        method,
        epochs,
        256,
        rates,
        weight_decay=5e-4,
        epsilon=EPSILON[data],
        sparsity_ratios=ratios,
        augment=data == "cifar10",
    )


def _small(method: str, data: str, colour: bool) -> Recipe:
    epochs = {"natural": 10, "at": 20, "trades": 20, "free": 6}[method]
    natural, ramp = {"natural": (0, 0), "at": (3, 4), "trades": (3, 4), "free": (1, 1)}[method]
    rate = 0.05 if colour else 0.02
    rates = ((0, rate), (epochs * 3 // 4, rate / 10))
    return Recipe(
        method,
        epochs,
        64,
        rates,
        weight_decay=5e-4,
        epsilon=EPSILON[data],
        natural_epochs=natural,
        ramp_epochs=ramp,
    )
