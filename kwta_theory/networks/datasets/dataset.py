"""A data set: training and test images with their labels, kept as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import SupportsIndex

import torch

from kwta_theory.checks import InvalidArgumentError, check_integer


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels.

    Args:
        pixels: uint8 of shape ``(N, C, H, W)``; bytes, because the 60,000 images as floats would take 2 GB of memory.
        labels: int64 of shape ``(N,)``.
        largest: the byte that means 1.

    Raises:
        InvalidArgumentError: other types or shapes, no image, a byte above ``largest``.

    >>> split = Split(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8), torch.tensor([7]))
    >>> split.images().max().item(), split.labels.item()
    (1.0, 7)
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    largest: int = 255

    def __post_init__(self) -> None:
        right = self.pixels.dtype == torch.uint8 and self.pixels.ndim == 4 and len(self.pixels) > 0
        if not right or self.labels.dtype != torch.int64 or self.labels.shape != self.pixels.shape[:1]:
            raise InvalidArgumentError(
                f"pixels of {self.pixels.dtype} and shape {tuple(self.pixels.shape)} with labels of "
                f"{self.labels.dtype} and shape {tuple(self.labels.shape)} are not allowed: they must be uint8 "
                "(N, C, H, W) and int64 (N,), N at least 1."
            )
        if int(self.pixels.max()) > self.largest:
            raise InvalidArgumentError(f"largest={self.largest} is not allowed: a pixel is {int(self.pixels.max())}.")

    def __len__(self) -> int:
        return len(self.labels)

    def images(
        self,
        index: torch.Tensor | slice | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """Images in [0, 1], shape ``(B, C, H, W)``; all of them without an index."""
        chosen = self.pixels if index is None else self.pixels[index]
        return chosen.to(device=device, dtype=dtype) / self.largest

    def first(self, count: SupportsIndex) -> Split:
        """The first so many."""
        count = check_integer("n", count, 1, len(self))
        return Split(self.pixels[:count], self.labels[:count], self.largest)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images.

    Attributes:
        name: as in ``--data``.
        train: to learn from.
        test: to be judged on.
        description: one phrase for a report: what the images are and how many.
        classes: number of labels.
    """

    name: str
    train: Split
    test: Split
    description: str
    classes: int = 10

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self.train.pixels.shape[1]

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return self.train.pixels.shape[2]
