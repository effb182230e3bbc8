"""Values of HDF5: arrays of numbers, texts, structures and lists of any length; block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from reprorun.compare.numbers import Numbers

_BLOCK = 1 << 23  # bytes that are looked at in one go
_LARGEST = 1 << 26  # that are, to have whole chunks

Where = Callable[[int], str]
"""The place of an element, by its index in the flat array."""


def blocks(
    shape: tuple[int, ...], chunks: tuple[int, ...] | None, size: int
) -> Iterator[tuple[slice, ...]]:
    """Parts of a dataset in the order of its elements, each as large as memory is meant to hold.

    Args:
        shape: of the dataset.
        chunks: its chunks' shape: they are read whole, where they fit.
        size: bytes of an element.
    """
    axis, below = _split(shape, size)
    step = max(1, _BLOCK // max(below, 1))
    if chunks and len(shape):
        whole = -(-step // chunks[axis]) * chunks[axis]
        step = whole if whole * below <= _LARGEST else step
    if not shape or 0 in shape:
        yield tuple(slice(None) for _ in shape)
        return
    ends = tuple(slice(None) for _ in shape[axis + 1 :])
    for outer in product(*(range(length) for length in shape[:axis])):
        for start in range(0, shape[axis], step):
            stop = min(start + step, shape[axis])
            yield (*(slice(index, index + 1) for index in outer), slice(start, stop), *ends)


def _split(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """The first axis below which all fits into a block, and the bytes below it."""
    below = max(size, 1)
    for axis in range(len(shape) - 1, 0, -1):
        if below * shape[axis] > _BLOCK:
            return axis, below
        below *= max(shape[axis], 1)
    return 0, below


def flat_place(path: str, shape: tuple[int, ...], block: tuple[slice, ...]) -> Where:
    """How the place of an element of a block is written."""
    starts = [part.start or 0 for part in block]
    lengths = [
        (length if part.stop is None else part.stop) - start
        for length, part, start in zip(shape, block, starts, strict=True)
    ]

    def where(index: int) -> str:
        if not shape:
            return path
        places = []
        for start, length in zip(reversed(starts), reversed(lengths), strict=True):
            index, rest = divmod(index, max(length, 1))
            places.append(start + rest)
        return f"{path}, element {places[::-1]}"

    return where


class ValuePairs:
    """Compares values of two files."""

    def __init__(self, numbers: Numbers, a: Any, b: Any) -> None:
        self._numbers = numbers
        self._files = a, b  # what references lead into

    def compare(self, a: Any, b: Any, where: Where) -> None:
        """Compare two values of a dataset or attribute.

        Args:
            a: the original's, as h5py gives it.
            b: the other's.
            where: the place of an element.

        Raises:
            ValueError: they are of a kind that can't be compared.
        """
        import numpy as np

        one, other = np.asarray(a), np.asarray(b)
        if not _same_dtype(one.dtype, other.dtype):
            self._numbers.mismatch(where(0), f"dtype {one.dtype}", f"dtype {other.dtype}")
        elif one.shape != other.shape:
            self._numbers.mismatch(where(0), f"shape {one.shape}", f"shape {other.shape}")
        elif one.dtype.names:
            for field in one.dtype.names:
                self._field(one, other, where, field)
        elif one.dtype.kind in "iufcb":
            self._numbers.array(one, other, where)
        else:
            self._one_by_one(one, other, where)

    def _field(self, one: Any, other: Any, where: Where, field: str) -> None:
        """One field of structures; its own shape comes behind theirs."""
        count = max(1, one[field].size // max(1, one.size))
        self.compare(
            one[field], other[field], lambda index: f"{where(index // count)}, field {field}"
        )

    def _one_by_one(self, one: Any, other: Any, where: Where) -> None:
        """Texts, opaque bytes, references, and lists of any length."""
        pairs = zip(one.reshape(-1), other.reshape(-1), strict=True)
        for index, (value, now) in enumerate(pairs):
            self._pair(value, now, lambda index=index: where(index))  # type: ignore[misc]

    def _pair(self, value: Any, now: Any, where: Callable[[], str]) -> None:
        if getattr(value, "ndim", 0):
            self.compare(value, now, lambda inner: f"{where()}[{inner}]")
            return
        one, other = (
            _plain(each, file) for each, file in zip((value, now), self._files, strict=True)
        )
        self._numbers.number(one, other, where)


def _same_dtype(one: Any, other: Any) -> bool:
    """The order of bytes is aside, and how long texts may be."""
    if one.kind == other.kind and one.kind in "SU":
        return True
    return bool(one.newbyteorder("=") == other.newbyteorder("="))


def _plain(value: Any, file: Any) -> Any:
    """A value that can be compared as it is. A reference is what it leads to."""
    import h5py

    if isinstance(value, h5py.RegionReference):
        raise ValueError("it has references to regions")
    if isinstance(value, h5py.Reference):
        return h5py.h5r.get_name(value, file.id).decode(errors="replace") if value else None
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value.tobytes() if getattr(getattr(value, "dtype", None), "kind", "") == "V" else value
