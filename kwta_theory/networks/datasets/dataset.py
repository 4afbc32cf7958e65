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
        pixels: uint8 of shape ``(N, C, H, W)``; bytes, because SVHN's training images as floats take 0.9 GB of memory.
        labels: int64 of shape ``(N,)``, on the same device.
        largest: the byte that means 1, in 1..255.

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
        for name in ("pixels", "labels"):
            if not isinstance(getattr(self, name), torch.Tensor):
                raise InvalidArgumentError(f"{name} is a {type(getattr(self, name)).__name__}: it must be a tensor.")
        right = self.pixels.dtype == torch.uint8 and self.pixels.ndim == 4 and self.pixels.numel() > 0
        if not right or self.labels.dtype != torch.int64 or self.labels.shape != self.pixels.shape[:1]:
            raise InvalidArgumentError(
                f"pixels of {self.pixels.dtype} and shape {tuple(self.pixels.shape)} with labels of "
                f"{self.labels.dtype} and shape {tuple(self.labels.shape)} are not allowed: they must be uint8 "
                "(N, C, H, W) and int64 (N,), none of them empty."
            )
        if self.pixels.device != self.labels.device:
            raise InvalidArgumentError(f"labels are on {self.labels.device}: pixels are on {self.pixels.device}.")
        object.__setattr__(self, "largest", check_integer("largest", self.largest, 1, 255))
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
        """Images in [0, 1], shape ``(B, C, H, W)``: each byte over ``largest``, rounded once to the dtype.

        Args:
            index: a slice, or a tensor of indices or of truth values; None for all images.
            device: where the images go; they travel as bytes.
            dtype: of floating point.

        Raises:
            InvalidArgumentError: another kind of index or dtype.
        """
        if not (index is None or isinstance(index, slice) or (isinstance(index, torch.Tensor) and index.ndim == 1)):
            raise InvalidArgumentError(
                f"index is a {type(index).__name__}: it must be a slice or a tensor of one dimension."
            )
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise InvalidArgumentError(f"dtype={dtype!r} is not allowed: images in [0, 1] need one of floating point.")
        chosen = self.pixels if index is None else self.pixels[index]
        return chosen.to(device).to(dtype) / self.largest

    def first(self, count: SupportsIndex) -> Split:
        """The first so many, in the same memory."""
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

    Raises:
        InvalidArgumentError: images that are not square or of two shapes, labels outside ``0 .. classes - 1``.
    """

    name: str
    train: Split
    test: Split
    description: str
    classes: int = 10

    def __post_init__(self) -> None:
        check_integer("classes", self.classes, 2)
        shapes = [tuple(split.pixels.shape[1:]) for split in (self.train, self.test)]
        if shapes[0] != shapes[1] or shapes[0][1] != shapes[0][2]:
            raise InvalidArgumentError(
                f"training images of shape {shapes[0]} and test images of shape {shapes[1]} are not allowed: all must "
                "be square and of one size."
            )
        for split in (self.train, self.test):
            # A negative label would be left out of a loss without a word.
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.classes:
                raise InvalidArgumentError(f"labels from {low} to {high}: they must lie in 0..{self.classes - 1}.")

    @property
    def channels(self) -> int:
        """Of the images: 1 where they are grey, 3 where they are coloured."""
        return self.train.pixels.shape[1]

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return self.train.pixels.shape[2]
