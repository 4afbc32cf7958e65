"""Readers of the published files: IDX (MNIST, Fashion-MNIST), CIFAR-10's two archives, SVHN's MATLAB files.

Nothing in a file is executed, and nothing is unpacked to the disk.
"""

from __future__ import annotations

import gzip
import math
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks.datasets import _pickled
from kwta_theory.networks.datasets.dataset import Dataset, Split

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

# MNIST and Fashion-MNIST have the same file names; how the labels of their training images begin tells them apart.
_FIRST_LABELS = {"MNIST": bytes([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]), "Fashion-MNIST": bytes([9, 0, 0, 3, 0, 2, 7, 2, 5, 5])}
_CIFAR_LARGEST = 2**26  # bytes; a batch of CIFAR-10 has 31 million


class DatasetError(Exception):
    """Images that are not there or cannot be read. The text is one sentence with what to do."""


def idx_dataset(name: str, found: Path, title: str) -> Dataset:
    """MNIST's own format: four files, compressed or not, beside the one that was found."""
    parts = []
    for stem in ("train", "t10k"):
        path = _either(found.parent, f"{stem}-images-idx3-ubyte")
        images = read_idx(path, 3)
        labels = read_idx(_either(found.parent, f"{stem}-labels-idx1-ubyte"), 1)
        for other, first in _FIRST_LABELS.items():
            if other != title and labels[: len(first)].tobytes() == first:
                raise DatasetError(f"{str(found.parent)!r} holds {other} and not {title}: put {title} somewhere else.")
        parts.append(_split(images[:, None], labels, path))
    return _dataset(name, parts, title, found)


def read_idx(path: Path, axes: int) -> Pixels:
    """An array of bytes: two zeros, type 8, the number of axes, their lengths (big-endian, 32 bits), the bytes."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{str(path)!r} cannot be read: {_reason(error)}; get it anew.") from None
    start = 4 + 4 * axes
    shape = tuple(int.from_bytes(data[i : i + 4]) for i in range(4, start, 4))
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) != start + math.prod(shape):
        raise DatasetError(f"{str(path)!r} is not an IDX file of bytes with {axes} axes, or is cut off: get it anew.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def cifar10_dataset(name: str, source: Path, title: str) -> Dataset:
    """CIFAR-10: the binary or the Python version, as an archive or unpacked."""
    binary = "bin" in source.name
    ending = ".bin" if binary else ""
    names = [f"data_batch_{i}{ending}" for i in range(1, 6)] + [f"test_batch{ending}"]
    found: dict[str, tuple[Pixels, Labels]] = {}
    for file, data in _members(source, "cifar-10-batches-bin" if binary else "cifar-10-batches-py", names):
        try:
            found[file] = _cifar_binary(data) if binary else _cifar_pickle(data)
        except Exception as error:  # a damaged pickle may fail in any way
            raise DatasetError(
                f"{file!r} of {str(source)!r} is not a batch of CIFAR-10: {_reason(error)}; get it anew."
            ) from None
    missing = [file for file in names if file not in found]
    if missing:
        raise DatasetError(f"{str(source)!r} holds no {missing[0]!r}: get CIFAR-10 anew.")
    batches = [found[file] for file in names[:5]]
    sizes = [len(labels) for _, labels in batches]
    if len(set(sizes)) > 1:
        raise DatasetError(f"{str(source)!r} holds batches of {sizes} images: a file is cut off, get CIFAR-10 anew.")
    train = _split(np.concatenate([b[0] for b in batches]), np.concatenate([b[1] for b in batches]), source)
    return _dataset(name, [train, _split(*found[names[5]], source)], title, source)


def svhn_dataset(name: str, found: Path, title: str) -> Dataset:
    """SVHN's cropped digits: ``train_32x32.mat`` and ``test_32x32.mat``, in which the digit 0 has the label 10."""
    from scipy.io import loadmat

    parts = []
    for stem in ("train", "test"):
        path = found.with_name(f"{stem}_32x32.mat")
        try:
            record = loadmat(path, variable_names=["X", "y"], appendmat=False)
            images, labels = record["X"].transpose(3, 2, 0, 1), record["y"].ravel()
        except Exception as error:  # SciPy's reader fails in many ways on a damaged file
            raise DatasetError(
                f"{str(path)!r} cannot be read as SVHN's cropped digits: {_reason(error)}; get it anew."
            ) from None
        if labels.dtype.kind not in "iuf" or not np.isin(labels, range(1, 11)).all():
            raise DatasetError(f"{str(path)!r} has labels that are not SVHN's, which are 1..10: get it anew.")
        parts.append(_split(images, labels % 10, path))
    return _dataset(name, parts, title, found)


def _either(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.exists() else folder / f"{name}.gz"


def _reason(error: Exception) -> str:
    """In one line, without the name of the file, which the sentence has already."""
    text = getattr(error, "strerror", None) or str(error)
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def _members(source: Path, folder: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """The contents of the files of these names in a directory, or of a tar archive with that directory."""
    try:
        if source.is_dir():
            yield from ((name, (source / name).read_bytes()) for name in names if (source / name).exists())
            return
        with tarfile.open(source) as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                # Links and devices have no contents of their own.
                if member.isfile() and parts[:-1] == (folder,) and parts[-1] in names:
                    stream = archive.extractfile(member)
                    if stream is None or member.size > _CIFAR_LARGEST:
                        raise DatasetError(f"{member.name!r} of {str(source)!r} is too large: get CIFAR-10 anew.")
                    yield parts[-1], stream.read()
            # The check sum of the compressed data stands at their end, beyond what the archive needs.
            while archive.fileobj is not None and archive.fileobj.read(2**20):
                pass
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DatasetError(f"{str(source)!r} cannot be read: {_reason(error)}; get CIFAR-10 anew.") from None


def _cifar_binary(data: bytes) -> tuple[Pixels, Labels]:
    """Records of one label and 3,072 pixels: red, green, blue, each by rows."""
    records = np.frombuffer(data, np.uint8).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def _cifar_pickle(data: bytes) -> tuple[Pixels, Labels]:
    """A dictionary with the rows of ``data`` and the list ``labels``; its keys are bytes from Python 2, else text."""
    record: dict[Any, Any] = {
        key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in _pickled.load(data).items()
    }
    rows, labels = record["data"].values, np.asarray(record["labels"])
    if rows.shape != (len(labels), 3072) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError("it does not hold rows of 3,072 bytes and one whole number for each")
    return rows.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _split(pixels: npt.NDArray[Any], labels: npt.NDArray[Any], source: Path) -> Split:
    if pixels.dtype != np.uint8 or not len(pixels) == len(labels) > 0 or labels.min() < 0 or labels.max() > 9:
        raise DatasetError(f"{str(source)!r} does not hold one label in 0..9 for each image of bytes: get it anew.")
    own = np.require(pixels, requirements=["C", "W"])  # copied only where it is not in order already
    return Split(torch.from_numpy(own), torch.from_numpy(labels.astype(np.int64)))


def _dataset(name: str, parts: list[Split], title: str, source: Path) -> Dataset:
    train, test = parts
    description = f"{len(train):,} training and {len(test):,} test images of {title}"
    try:
        return Dataset(name, train, test, description)
    except InvalidArgumentError as error:
        raise DatasetError(f"{str(source)!r} is not {title}: {error}") from None
