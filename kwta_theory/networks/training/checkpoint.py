"""Checkpoints: tensors, numbers and text, read by ``torch.load(weights_only=True)`` and by nothing else."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks.architectures import Architecture, build

FORMAT = "kwta_theory checkpoint"
VERSION = 1
_KEYS = {
    "format",
    "version",
    "architecture",
    "recipe",
    "data",
    "seed",
    "epoch",
    "step",
    "model",
    "optimizer",
    "metrics",
}


class CheckpointError(Exception):
    """A checkpoint that cannot be read, or that belongs to another run. The text is one sentence with the file."""


def save_checkpoint(path: Path, record: dict[str, Any]) -> None:
    """Write whole or not at all: a killed run keeps the last complete one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save({"format": FORMAT, "version": VERSION, **record}, temporary)
        temporary.replace(path)
    except OSError as error:
        raise CheckpointError(f"checkpoint {str(path)!r} cannot be written: {error.strerror or error}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a checkpoint, on the CPU.

    Raises:
        CheckpointError: no such file; a file that would run code, which is refused before it does; anything that this
            package did not write.
    """
    title = f"checkpoint {str(path)!r}"
    if not Path(path).is_file():
        raise CheckpointError(f"{title} does not exist or is no ordinary file.")
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{title} is refused: it is damaged, or holds more than tensors, numbers and text and would run code."
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{title} cannot be read: {first_line}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CheckpointError(f"{title} was not written by kwta_theory.")
    if record.get("version") != VERSION or set(record) < _KEYS:
        raise CheckpointError(f"{title} has version {record.get('version')!r}: this package reads version {VERSION}.")
    return record


def load_network(path: str | os.PathLike[str]) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint, in evaluation mode on the CPU, and the record without its weights.

    Raises:
        CheckpointError: as :func:`load_checkpoint`, and weights that do not fit the architecture.
    """
    record = load_checkpoint(path)
    network = rebuilt(path, record)
    rest = {name: value for name, value in record.items() if name not in ("model", "optimizer")}
    return network.eval(), rest


def rebuilt(path: str | os.PathLike[str], record: dict[str, Any]) -> nn.Module:
    """The network of a record, with the sparsity ratio that it was last trained with."""
    from kwta_theory.networks.training.incremental import set_sparsity_ratio

    try:
        network = build(Architecture(**record["architecture"]))
        network.load_state_dict(record["model"])
        if record.get("sparsity_ratio") is not None:
            set_sparsity_ratio(network, record["sparsity_ratio"])
    except (RuntimeError, TypeError, InvalidArgumentError) as error:
        raise CheckpointError(f"checkpoint {str(path)!r} does not fit its architecture: {error}") from None
    return network
