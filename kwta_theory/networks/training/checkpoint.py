"""Checkpoints: tensors, numbers and text, read by ``torch.load(weights_only=True)`` and by nothing else."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks.architectures import Architecture, build
from kwta_theory.networks.training.incremental import set_sparsity_ratio

FORMAT = "kwta_theory checkpoint"
VERSION = 1
# What a record holds. The state of the generators is (seed, epoch, step), that of the schedule (recipe, epoch, step).
_TYPES: dict[str, type | tuple[type, ...]] = {
    "architecture": dict,
    "recipe": dict,
    "data": dict,
    "options": dict,
    "seed": int,
    "epoch": int,  # finished ones
    "step": int,  # finished ones of the epoch that has begun
    "sums": list,
    "seconds": float,
    "metrics": list,
    "model": dict,
    "optimizer": dict,
    "perturbation": (torch.Tensor, type(None)),
    "sparsity_ratio": (float, type(None)),
}
_STATE = ("model", "optimizer", "perturbation", "sums", "seconds", "format", "version")


class CheckpointError(Exception):
    """A checkpoint that cannot be read, or that belongs to another run. The text is one sentence with the file."""


def save_checkpoint(path: Path, record: dict[str, Any]) -> None:
    """Write whole or not at all: a killed run keeps the last complete one. One process at a time may write a path.

    Raises:
        CheckpointError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT, "version": VERSION, **record}, file)
            file.flush()
            os.fsync(file.fileno())  # else a loss of power could leave the new name on an empty file
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise CheckpointError(f"checkpoint {str(path)!r} cannot be written: {reason}.") from None
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a foreign archive makes torch warn before it refuses
            record = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{title} is refused: it is damaged, or holds more than tensors, numbers and text and would run code."
        ) from None
    except Exception as error:  # damaged bytes can make the unpickler stumble over anything, and none of it is ours
        raise CheckpointError(f"{title} cannot be read: {_first_line(error)}.") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CheckpointError(f"{title} was not written by kwta_theory.")
    if record.get("version") != VERSION:
        raise CheckpointError(f"{title} has version {record.get('version')!r}: this package reads version {VERSION}.")
    for name, kind in _TYPES.items():
        if name not in record or not isinstance(record[name], kind):
            raise CheckpointError(f"{title} is damaged: {name!r} is missing or of the wrong type.")
    return record


def load_network(path: str | os.PathLike[str]) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint, in evaluation mode on the CPU, and what is known of it.

    The second part has the entries ``architecture``, ``recipe``, ``data``, ``options``, ``seed``, ``epoch`` and
    ``step`` (finished ones), ``metrics`` (one row for each epoch) and ``sparsity_ratio`` (None where it was not
    scheduled).

    Raises:
        CheckpointError: as :func:`load_checkpoint`, and weights that do not fit the architecture.
    """
    record = load_checkpoint(path)
    try:
        network = build(Architecture(**record["architecture"]))
        network.load_state_dict(record["model"])
        if record["sparsity_ratio"] is not None:
            set_sparsity_ratio(network, record["sparsity_ratio"])
    except (RuntimeError, TypeError, AttributeError, InvalidArgumentError) as error:
        message = f"checkpoint {str(path)!r} does not fit its architecture: {_first_line(error)}"
        raise CheckpointError(message) from None
    return network.eval(), {name: value for name, value in record.items() if name not in _STATE}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
