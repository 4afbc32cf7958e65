"""What an attack increases: per image, positive margin means misclassified."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from kwta_theory.checks import InvalidArgumentError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The largest wrong logit minus the right one, shape ``(B,)``.

    Positive: misclassified. Zero is a tie, which counts as right only if the class with the smaller index is the right
    one, as ``argmax`` has it: an attack must go beyond zero. Where a logit is NaN the network has no answer, and the
    margin is infinite; where the right logit and a wrong one are the same infinity it is zero, a tie.

    >>> margin(torch.tensor([[1.0, 3.0, 2.0], [1.0, 1.0, torch.nan]]), torch.tensor([1, 0]))
    tensor([-1., inf])
    """
    right = logits.gather(1, labels[:, None]).squeeze(1)
    wrong = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    difference = torch.where(wrong == right, 0.0, wrong - right)
    return torch.where(logits.isnan().any(1), torch.inf, difference)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Per image, shape ``(B,)``."""
    return functional.cross_entropy(logits, labels, reduction="none")


LOSSES: dict[str, Loss] = {"cross-entropy": cross_entropy, "margin": margin}


def loss_named(name: str, also: tuple[str, ...] = ()) -> Loss:
    """One of :data:`LOSSES`.

    Args:
        name: of the loss.
        also: names that the caller knows besides, for the sentence.

    Raises:
        InvalidArgumentError: an unknown name.
    """
    if name not in LOSSES:
        raise InvalidArgumentError(f"loss={name!r} is not known: it must be one of {', '.join((*LOSSES, *also))}.")
    return LOSSES[name]
