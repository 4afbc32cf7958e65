"""Reading a pickle that holds bytes, text, numbers and NumPy arrays of bytes, and calling nothing that it names.

CIFAR-10's Python version is published as pickles, and a pickle is a program: with Python's own reader, a changed file
runs any code. Here the four names that the published files contain stand for objects of this module, so that not even
NumPy's own unpickling is reached; any other name is refused before it is looked up.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt


def load(data: bytes) -> Any:
    """The object of a pickle, in which an array is a :class:`ByteArray` and the text of Python 2 is bytes.

    Raises:
        pickle.UnpicklingError: a pickle that would call something, or that holds an array of another type. A damaged
            one may raise any exception.

    >>> load(pickle.dumps({"data": np.arange(3, dtype=np.uint8)}, protocol=2))["data"].values
    array([0, 1, 2], dtype=uint8)
    """
    return _Reader(io.BytesIO(data), encoding="bytes").load()


class ByteArray:
    """What an array of NumPy becomes.

    Attributes:
        values: of uint8, read-only.
    """

    values: npt.NDArray[np.uint8]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, by_columns, data = state
        if not isinstance(dtype, _ByteType):
            raise pickle.UnpicklingError("an array has no type")
        self.values = np.frombuffer(data, np.uint8).reshape(shape, order="F" if by_columns else "C")


class _ByteType:
    """What NumPy's uint8 becomes."""

    def __setstate__(self, state: object) -> None:
        """Byte order, field names and the like: a byte has none."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Made anew for each file: a pickle may set attributes of what it is given.
        class NDArray:
            pass

        def reconstruct(*_: object) -> ByteArray:
            return ByteArray()

        def dtype(code: object, *_: object) -> _ByteType:
            if code not in ("u1", b"u1"):
                raise pickle.UnpicklingError(f"an array is of type {code!r} and not of bytes")
            return _ByteType()

        def encode(text: str, encoding: object) -> bytes:
            if encoding != "latin1":
                raise pickle.UnpicklingError(f"text in the encoding {encoding!r}")
            return text.encode("latin1")

        stands_for: dict[tuple[str, str], Any] = {
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): reconstruct,
            ("numpy", "ndarray"): NDArray,
            ("numpy", "dtype"): dtype,
            ("_codecs", "encode"): encode,
        }
        if (module, name) not in stands_for:
            raise pickle.UnpicklingError(f"it would call {module}.{name}, which is refused")
        return stands_for[module, name]
