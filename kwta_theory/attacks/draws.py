"""Random numbers of an attack: each image has its own, so that its fate does not hang on its neighbours in a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from kwta_theory.seeding import RandomGenerator, Stream


class Draws:
    """One generator for each image of a batch, seeded by the attack, the restart and the pixels of the image.

    So what is drawn for an image depends neither on the images beside it, nor on its place among them, nor on which of
    them are still in the race. (The same image twice in a batch gets the same numbers.)

    Args:
        generators: one for each image.
    """

    def __init__(self, generators: Sequence[RandomGenerator]) -> None:
        self._generators = tuple(generators)

    @classmethod
    def of(cls, stream: Stream, restart: int, keys: Sequence[int], device: torch.device) -> Draws:
        """From the keys of the images (:func:`image_keys`)."""
        return cls([stream.generator(key, restart, device=device) for key in keys])

    def __len__(self) -> int:
        return len(self._generators)

    def where(self, keep: torch.Tensor) -> Draws:
        """Those of some images, which go on where they are."""
        return Draws([g for g, kept in zip(self._generators, keep.tolist(), strict=True) if kept])

    def repeated(self, copies: int) -> Draws:
        """For so many copies of each image, which draw in turn from the generator of their image."""
        return Draws([g for g in self._generators for _ in range(copies)])

    def normals(self, like: torch.Tensor) -> torch.Tensor:
        """Standard normals of the shape, dtype and device of a batch."""
        return self._drawn(like, normal=True)

    def uniforms(self, like: torch.Tensor) -> torch.Tensor:
        """Uniform numbers in [0, 1), to float32's 24 bits, of the shape, dtype and device of a batch."""
        return self._drawn(like, normal=False)

    def _drawn(self, like: torch.Tensor, *, normal: bool) -> torch.Tensor:
        if like.device.type == "cpu":
            numbers = np.empty(tuple(like.shape), dtype=np.float32)
            for row, generator in zip(numbers, self._generators, strict=True):
                if normal:
                    generator.standard_normal(dtype=np.float32, out=row)  # type: ignore[union-attr]
                else:
                    generator.random(dtype=np.float32, out=row)  # type: ignore[union-attr]
            return torch.from_numpy(numbers).to(like.dtype)
        result = torch.empty(like.shape, device=like.device)
        for row, generator in zip(result, self._generators, strict=True):
            (row.normal_ if normal else row.uniform_)(generator=generator)
        return result.to(like.dtype)


def image_keys(images: torch.Tensor) -> list[int]:
    """64 bits of each image's pixels in float32, the same whatever the dtype in which they are held."""
    rows = images.detach().to("cpu", torch.float32).flatten(1).contiguous().numpy()
    return [int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "little") for row in rows]
