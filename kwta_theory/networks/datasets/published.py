"""Readers of the published files: IDX (MNIST, Fashion-MNIST), CIFAR-10's two archives, SVHN's MATLAB files.

Nothing in a file is executed: CIFAR-10's Python version is pickled, and only arrays and text are unpickled from it.
"""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kwta_theory.networks.datasets.dataset import Dataset, Split

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


class DatasetError(Exception):
    """Images that are not there or cannot be read. The text is one sentence with what to do."""


def idx_dataset(name: str, folder: Path, title: str) -> Dataset:
    """MNIST's own format: four files, compressed or not."""
    parts = []
    for stem in ("train", "t10k"):
        images = read_idx(_either(folder, f"{stem}-images-idx3-ubyte"), 3)
        labels = read_idx(_either(folder, f"{stem}-labels-idx1-ubyte"), 1)
        parts.append(_split(images[:, None], labels.astype(np.int64), folder))
    return _dataset(name, parts, title)


def read_idx(path: Path, axes: int) -> Pixels:
    """An array of bytes: two zeros, type 8, the number of axes, their lengths (big-endian, 32 bits), the bytes."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{str(path)!r} cannot be read: {error}.") from None
    start = 4 + 4 * axes
    shape = tuple(int.from_bytes(data[i : i + 4]) for i in range(4, start, 4))
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) != start + int(np.prod(shape, dtype=np.int64)):
        raise DatasetError(f"{str(path)!r} is not an IDX file of bytes with {axes} axes, or is cut off.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def cifar10_dataset(name: str, source: Path, title: str) -> Dataset:
    """CIFAR-10: the binary or the Python version, as an archive or unpacked."""
    read = _cifar_binary if "bin" in source.name else _cifar_pickle
    ending = ".bin" if "bin" in source.name else ""
    names = [f"data_batch_{i}{ending}" for i in range(1, 6)] + [f"test_batch{ending}"]
    found: dict[str, tuple[Pixels, Labels]] = {}
    for file, data in _members(source, names):
        try:
            found[file] = read(data)
        except (ValueError, KeyError, TypeError, AttributeError, EOFError, IndexError, pickle.UnpicklingError) as error:
            raise DatasetError(f"{file!r} of {str(source)!r} is not a batch of CIFAR-10: {error}.") from None
    missing = [file for file in names if file not in found]
    if missing:
        raise DatasetError(f"{str(source)!r} holds no {missing[0]!r}: download CIFAR-10 again.")
    batches = [found[file] for file in names[:5]]
    train = _split(np.concatenate([b[0] for b in batches]), np.concatenate([b[1] for b in batches]), source)
    return _dataset(name, [train, _split(*found[names[5]], source)], title)


def svhn_dataset(name: str, folder: Path, title: str) -> Dataset:
    """SVHN's cropped digits: ``train_32x32.mat`` and ``test_32x32.mat``, in which the digit 0 has the label 10."""
    from scipy.io import loadmat

    parts = []
    for stem in ("train", "test"):
        path = folder / f"{stem}_32x32.mat"
        try:
            record = loadmat(path)
            images, labels = record["X"].transpose(3, 2, 0, 1), record["y"].ravel().astype(np.int64) % 10
        except (OSError, ValueError, TypeError, KeyError, NotImplementedError, zlib.error) as error:
            raise DatasetError(f"{str(path)!r} cannot be read as SVHN's cropped digits: {error}.") from None
        parts.append(_split(np.ascontiguousarray(images), labels, path))
    return _dataset(name, parts, title)


def _either(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.exists() else folder / f"{name}.gz"


def _members(source: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """The contents of the files of these names in a directory or a tar archive; nothing is unpacked to disk."""
    if source.is_dir():
        yield from ((name, (source / name).read_bytes()) for name in names if (source / name).is_file())
        return
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                name = Path(member.name).name
                stream = archive.extractfile(member) if name in names and member.isfile() else None
                if stream is not None:
                    yield name, stream.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DatasetError(f"{str(source)!r} cannot be read: {error}.") from None


def _cifar_binary(data: bytes) -> tuple[Pixels, Labels]:
    """Records of one label and 3,072 pixels: red, green, blue, each by rows."""
    records = np.frombuffer(data, np.uint8).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def _cifar_pickle(data: bytes) -> tuple[Pixels, Labels]:
    record: dict[Any, Any] = _OnlyArrays(io.BytesIO(data), encoding="bytes").load()
    pixels = np.asarray(record[b"data"], np.uint8).reshape(-1, 3, 32, 32)
    return pixels, np.asarray(record[b"labels"], np.int64)


class _OnlyArrays(pickle.Unpickler):
    """Builds NumPy arrays and what Python has literals for; anything else is refused before it is called."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        core = np.core if not hasattr(np, "_core") else np._core
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): core.multiarray._reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): core.multiarray._reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): lambda text, encoding: text.encode("latin1") if encoding == "latin1" else None,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it would call {module}.{name}, which is refused")
        return allowed[module, name]


def _split(pixels: Pixels, labels: Labels, source: Path) -> Split:
    if pixels.dtype != np.uint8 or len(pixels) != len(labels) or labels.min(initial=0) < 0 or labels.max(initial=0) > 9:
        raise DatasetError(f"{str(source)!r} does not hold one label in 0..9 for each image of bytes.")
    return Split(torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(labels))


def _dataset(name: str, parts: list[Split], title: str) -> Dataset:
    train, test = parts
    return Dataset(name, train, test, f"{len(train):,} training and {len(test):,} test images of {title}")
