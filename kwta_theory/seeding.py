"""One seed, many independent streams: every draw of the package comes from a generator that is made here and passed on.

Nobody's global random state is read or written. A stream is named by ``(seed, label)`` and hands out one generator per
index, so that tile 7 of a simulation holds the same numbers whichever worker draws it, and whenever.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
import torch

from kwta_theory.checks import InvalidArgumentError, check_integer

Device = str | torch.device
RandomGenerator = np.random.Generator | torch.Generator

_WORD = 2**32


def _words(text: str) -> tuple[int, ...]:
    """Four 32-bit words of a text: the same on every machine and in every run, unlike ``hash``."""
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))


def _fixed_words(number: int) -> tuple[int, int]:
    """An index as exactly two words, so that no two tuples of indices of the same length share a key."""
    return number % _WORD, number // _WORD


@dataclass(frozen=True)
class Stream:
    """The independent random streams of one purpose.

    Args:
        seed: a non-negative integer; the whole run follows from it.
        label: what the numbers are for, such as ``"layer"``. Different labels give independent streams.

    >>> Stream(7, "layer").generator(0).standard_normal() == Stream(7, "layer").generator(0).standard_normal()
    True
    >>> Stream(7, "layer").generator(0).standard_normal() == Stream(7, "inputs").generator(0).standard_normal()
    False
    """

    seed: int
    label: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_integer("seed", self.seed))

    def sequence(self, *index: SupportsIndex) -> np.random.SeedSequence:
        """The seed sequence of one index: entropy ``seed``, spawn key (hash of the label, words of the index)."""
        numbers = [check_integer("index", number, maximum=2**64 - 1) for number in index]
        words = [word for number in numbers for word in _fixed_words(number)]
        return np.random.SeedSequence(self.seed, spawn_key=(*_words(self.label), len(numbers), *words))

    def generator(self, *index: SupportsIndex, device: Device = "cpu") -> RandomGenerator:
        """A fresh generator for one index (an integer, or several such as trial and chunk).

        On the CPU it is NumPy's SFC64, whose float64 normals take less than half of torch's time and are drawn without
        the interpreter's lock. Elsewhere it is a ``torch.Generator`` on that device, seeded from the same sequence:
        devices agree in law, not in numbers.
        """
        device = torch.device(device)
        sequence = self.sequence(*index)
        if device.type == "cpu":
            return np.random.Generator(np.random.SFC64(sequence))
        generator = torch.Generator(device=device)
        generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
        return generator

    def normals(
        self, index: tuple[int, ...], shape: tuple[int, ...], device: torch.device, dtype: torch.dtype
    ) -> torch.Tensor:
        """Standard normals of one index, drawn in the device's finest precision and then rounded to ``dtype``.

        So float32 and float16 values are correctly rounded normals; native float32 generators have few distinct values
        in the tail.
        """
        generator = self.generator(*index, device=device)
        if isinstance(generator, np.random.Generator):
            return torch.from_numpy(generator.standard_normal(shape)).to(dtype)
        return torch.randn(shape, generator=generator, device=device, dtype=_finest(device)).to(dtype)

    def uniforms(self, index: tuple[int, ...], shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """Uniforms on ``[0, 1)`` of one index, in the finest precision that the device has."""
        generator = self.generator(*index, device=device)
        if isinstance(generator, np.random.Generator):
            return torch.from_numpy(generator.random(shape))
        return torch.rand(shape, generator=generator, device=device, dtype=_finest(device))


def _finest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def derive(seed: int, *labels: object) -> int:
    """A child seed in ``[0, 2^63)`` that depends on the seed and on the labels, in their order.

    >>> derive(0, "theorem-10", 3) == derive(0, "theorem-10", 3) != derive(0, "theorem-10", 4)
    True
    """
    key = _words("\x1f".join(f"{type(label).__name__}:{label}" for label in labels))
    state = np.random.SeedSequence(check_integer("seed", seed), spawn_key=key).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def available_devices() -> list[str]:
    """The devices that a computation can be sent to, the preferred one first."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def resolve_device(device: Device, dtype: torch.dtype = torch.float64) -> torch.device:
    """The device meant by a name.

    Args:
        device: ``"auto"`` takes CUDA, then MPS where the dtype allows (MPS has no float64), then the CPU; any other
            name, or a ``torch.device``, must be there.
        dtype: the dtype that will be used on it.

    Raises:
        InvalidArgumentError: the device is not there (the sentence lists what is), or cannot hold the dtype.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    there = available_devices()
    if device == "auto":
        return torch.device(next(name for name in there if name != "mps" or dtype != torch.float64))
    message = f"device={str(device)!r} is not there: it must be 'auto' or one of {', '.join(there)}."
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        raise InvalidArgumentError(message) from None
    full_name = f"cuda:{resolved.index or 0}" if resolved.type == "cuda" else resolved.type
    if full_name not in there:
        raise InvalidArgumentError(message)
    if resolved.type == "mps" and dtype == torch.float64:
        raise InvalidArgumentError(
            f"device={str(device)!r} has no {dtype}: ask for dtype=torch.float32 or for the CPU."
        )
    return resolved
