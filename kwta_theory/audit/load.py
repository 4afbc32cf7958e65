"""What an audit is given on a command line: a network by its checkpoint or its code, inputs by their file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks.training import CHECKPOINT, load_network

_DAMAGED = (ValueError, TypeError, OverflowError, SyntaxError, tokenize.TokenError)


def load_inputs(path: Path) -> npt.NDArray[Any]:
    """The samples of a ``.npy`` file, ``(n, ...)``, real numbers; nothing in it is executed.

    Raises:
        InvalidArgumentError: for a file that is not there, is no ``.npy`` file, is cut off or holds anything else.
    """
    title = f"inputs {str(path)!r}"
    if path.is_dir():
        raise InvalidArgumentError(f"{title} is a directory: it must be a .npy file.")
    if not path.is_file():
        raise InvalidArgumentError(f"{title} does not exist or is not an ordinary file.")
    with path.open("rb") as stream:
        if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            raise InvalidArgumentError(
                f"{title} is not a .npy file: write the samples with numpy.save('X.npy', samples)."
            )
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except _DAMAGED as error:
        what = (
            "holds pickled Python objects, which are never loaded" if "Python objects" in str(error) else "is damaged"
        )
        raise InvalidArgumentError(f"{title} {what}: save an array of numbers.") from None
    if array.dtype.kind not in "iuf":
        raise InvalidArgumentError(f"{title} holds {array.dtype}: it must hold real numbers.")
    kind = np.float64 if array.dtype.kind == "f" else np.int64  # of those that torch and numpy share
    with np.errstate(over="ignore"):  # what overflows is refused as infinity
        return np.array(array, dtype=kind)


def load_model(given: str) -> tuple[nn.Module, dict[str, Any] | None]:
    """A network by its checkpoint (or the directory of one), or by ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``.

    A checkpoint is what ``kwta train`` writes; nothing in it is executed. The code of a module is, as by ``python``;
    modules are looked for in the current directory first. The function is called without arguments and gives an
    ``nn.Module`` with its weights, on the CPU; it may also be such a module itself.

    Returns:
        The network in evaluation mode, and what is known of it where it is a checkpoint.

    Raises:
        CheckpointError: for a file that is no checkpoint.
        InvalidArgumentError: for code that cannot be imported, fails, or gives something else.
    """
    home, colon, name = given.rpartition(":")
    if not colon or Path(given).exists():
        path = Path(given)
        return load_network(path / CHECKPOINT if path.is_dir() else path)
    module = _module(home)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise InvalidArgumentError(f"{given!r}: {home!r} has no {name!r}.")
    try:
        with _here():
            model = found() if callable(found) and not isinstance(found, nn.Module) else found
    except Exception as error:  # somebody's own code may raise anything
        raise InvalidArgumentError(f"{given!r} raised {type(error).__name__}: {_first_line(error)}.") from None
    if not isinstance(model, nn.Module):
        raise InvalidArgumentError(f"{given!r} gave a {type(model).__name__}: it must give a torch.nn.Module.")
    return model.eval(), None


def _module(home: str) -> ModuleType:
    file = Path(home)
    if home.endswith(".py") and not file.is_file():
        raise InvalidArgumentError(f"{home!r} does not exist or is not an ordinary file.")
    try:
        with _here():
            if not home.endswith(".py"):
                return importlib.import_module(home)
            spec = importlib.util.spec_from_file_location(file.stem, file)
            assert spec is not None  # the ending says that it is Python
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    except Exception as error:  # somebody's own code may raise anything
        raise InvalidArgumentError(
            f"{home!r} cannot be imported: {type(error).__name__}: {_first_line(error)}."
        ) from None


@contextmanager
def _here() -> Iterator[None]:
    """Let modules of the current directory be found, as ``python -m`` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


def check_shape(inputs: npt.NDArray[Any], record: dict[str, Any]) -> None:
    """Refuse samples that are not images of the kind that a network of ``kwta train`` takes."""
    architecture = record["architecture"]
    wanted = (architecture["channels"], architecture["image_size"], architecture["image_size"])
    if inputs.shape[1:] != wanted:
        raise InvalidArgumentError(
            f"inputs has shape {inputs.shape}, and the network takes (n, {', '.join(map(str, wanted))})."
        )


def range_note(inputs: torch.Tensor | npt.NDArray[Any]) -> str:
    """A sentence where samples for a network of ``kwta train`` are no pixels in [0, 1]."""
    low, high = float(inputs.min()), float(inputs.max())
    if low >= 0.0 and high <= 1.0:
        return ""
    return f"The network was trained on pixels in [0, 1]; these inputs go from {low:g} to {high:g}."
