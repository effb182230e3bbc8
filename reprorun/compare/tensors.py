"""Tensors as files hold them: a dtype, a shape, and a stretch of bytes; compared piece by piece."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, BinaryIO

from reprorun.compare.content import read_full
from reprorun.compare.numbers import Numbers
from reprorun.compare.rich import Missing, Refused
from reprorun.compare.values import Unreadable

PIECE = 1 << 22  # bytes that are looked at in one go
GATHERED = 1 << 29  # bytes of a tensor that has to be put into order in memory
MOST_DIMENSIONS = 64

SIZES = {
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    **dict.fromkeys(("float32", "int32", "uint32", "complex32", "qint32"), 4),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("int8", "uint8", "bool", "qint8", "quint8", "byte"), 1),
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"), 1),
    **dict.fromkeys(("float8_e4m3fnuz", "float8_e5m2fnuz"), 1),
    "complex128": 16,
}
"""Bytes of one element."""

_NUMPY = {
    "float64": "f8", "float32": "f4", "float16": "f2", "complex64": "c8", "complex128": "c16",
    "int64": "i8", "int32": "i4", "int16": "i2", "int8": "i1", "qint32": "i4", "qint8": "i1",
    "uint64": "u8", "uint32": "u4", "uint16": "u2", "uint8": "u1", "quint8": "u1", "byte": "u1",
}  # fmt: skip


class Stretch:
    """Part of a stream that can be read at any place."""

    def __init__(self, stream: BinaryIO, start: int, size: int, order: str = "<") -> None:
        self.size = size
        self.order = order  # of the bytes of a number, as numpy writes it
        self._stream = stream
        self._start = start

    def read(self, start: int, stop: int) -> bytes:
        """Those bytes.

        Raises:
            Unreadable: it is shorter.
        """
        if not 0 <= start <= stop <= self.size:
            raise Unreadable("it has a tensor that is larger than its data")
        self._stream.seek(self._start + start)
        data = read_full(self._stream, stop - start)
        if len(data) != stop - start:
            raise Unreadable("it ends in the middle of a tensor")
        return data


class Tensor:
    """A view of a stretch, as the file describes it. Nothing is read yet."""

    def __init__(
        self,
        dtype: str,
        shape: tuple[int, ...],
        data: Callable[[], Stretch],
        *,
        offset: int = 0,
        strides: tuple[int, ...] | None = None,
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self.data = data
        self.offset = offset  # like the strides in elements
        self.strides = contiguous(shape) if strides is None else strides
        self._check()

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def reach(self) -> int:
        """Elements of the stretch, from the first that it uses to the last."""
        if not self.count:
            return 0
        steps = zip(self.shape, self.strides, strict=True)
        return 1 + sum((length - 1) * stride for length, stride in steps)

    def _check(self) -> None:
        numbers = (*self.shape, *self.strides, self.offset)
        if not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
            raise Unreadable("it has a tensor of an impossible shape")
        if len(self.shape) != len(self.strides) or len(self.shape) > MOST_DIMENSIONS:
            raise Unreadable("it has a tensor of an impossible shape")
        if self.dtype not in SIZES:
            raise Unreadable(f"it has a tensor of the unknown dtype {self.dtype[:40]}")


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor that lies row by row without gaps."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


def compare_tensors(numbers: Numbers, name: str, a: Tensor, b: Tensor) -> None:
    """Compare two tensors, element by element.

    Args:
        numbers: told of what differs.
        name: of the tensor, as it is shown.
        a: the original.
        b: the other.

    Raises:
        Unreadable: one is larger than its data.
        Refused: they lie in such an order that they'd have to be held in memory.
        Missing: numpy isn't there, and their bytes differ.
    """
    if a.dtype != b.dtype:
        numbers.mismatch(f"dtype of {name}", a.dtype, b.dtype)
    elif a.shape != b.shape:
        numbers.mismatch(f"shape of {name}", str(list(a.shape)), str(list(b.shape)))
    elif a.count and a.strides == b.strides and a.reach == a.count:
        _in_pieces(numbers, name, a, b)
    elif a.count:
        _gathered(numbers, name, a, b)


def _in_pieces(numbers: Numbers, name: str, a: Tensor, b: Tensor) -> None:
    """Both lie in the same order without gaps: compare as they lie."""
    size = SIZES[a.dtype]
    one, other = a.data(), b.data()
    step = PIECE // size
    for start in range(0, a.count, step):
        stop = min(start + step, a.count)
        mine = one.read((a.offset + start) * size, (a.offset + stop) * size)
        theirs = other.read((b.offset + start) * size, (b.offset + stop) * size)
        if mine == theirs and one.order == other.order:
            numbers.equal(stop - start)
            continue
        numbers.array(
            decoded(mine, a.dtype, one.order),
            decoded(theirs, b.dtype, other.order),
            lambda index, start=start: _element(name, a, start + index),  # type: ignore[misc]
        )


def _element(name: str, tensor: Tensor, position: int) -> str:
    """An element in words, by its position in the file."""
    if not tensor.shape:
        return name
    indices = [0] * len(tensor.shape)
    for axis in sorted(range(len(indices)), key=lambda axis: -tensor.strides[axis]):
        if tensor.shape[axis] > 1:
            indices[axis], position = divmod(position, tensor.strides[axis])
    return f"{name}, element {indices}"


def _gathered(numbers: Numbers, name: str, a: Tensor, b: Tensor) -> None:
    """They lie in different orders: put both into that of their shape."""
    one, other = _in_order(name, a), _in_order(name, b)
    row_by_row = Tensor(a.dtype, a.shape, a.data)
    numbers.array(one, other, lambda index: _element(name, row_by_row, index))


def _in_order(name: str, tensor: Tensor) -> Any:
    size = SIZES[tensor.dtype]
    if max(tensor.reach, tensor.count) * size > GATHERED:
        raise Refused(f"{name} is not contiguous and has more than {GATHERED >> 20} MiB")
    stretch = tensor.data()
    raw = stretch.read(tensor.offset * size, (tensor.offset + tensor.reach) * size)
    values = decoded(raw, tensor.dtype, stretch.order)
    from numpy.lib.stride_tricks import as_strided

    width = values.dtype.itemsize
    strides = tuple(stride * width for stride in tensor.strides)
    return as_strided(values, tensor.shape, strides, writeable=False).reshape(-1)


# ---------------------------------------------------------------- bytes to numbers


def decoded(data: bytes, dtype: str, order: str = "<") -> Any:
    """The numbers that bytes stand for, as a flat numpy array.

    Raises:
        Missing: numpy isn't there.
    """
    try:
        import numpy as np
    except ImportError as error:
        raise Missing("numpy") from error

    if dtype in _NUMPY:
        return np.frombuffer(data, order + _NUMPY[dtype])
    if dtype == "bool":
        return np.frombuffer(data, np.uint8) != 0
    if dtype == "bfloat16":
        wide = np.frombuffer(data, f"{order}u2").astype(np.uint32) << 16
        return wide.view(np.float32)
    if dtype == "complex32":
        return np.frombuffer(data, f"{order}f2").astype(np.float32).view(np.complex64)
    table = np.array([float8(code, dtype) for code in range(256)], dtype=np.float32)
    return table[np.frombuffer(data, np.uint8)]


_FLOAT8 = {  # bits of the mantissa, bias of the exponent
    "float8_e4m3fn": (3, 7),
    "float8_e5m2": (2, 15),
    "float8_e4m3fnuz": (3, 8),
    "float8_e5m2fnuz": (2, 16),
}


def float8(code: int, dtype: str) -> float:
    """The number that one byte stands for."""
    if dtype == "float8_e8m0fnu":
        return math.nan if code == 0xFF else 2.0 ** (code - 127)
    bits, bias = _FLOAT8[dtype]
    sign = -1.0 if code & 0x80 else 1.0
    exponent, mantissa = (code & 0x7F) >> bits, code & ((1 << bits) - 1)
    if dtype.endswith("fnuz"):
        if code == 0x80:
            return math.nan
    elif dtype == "float8_e4m3fn":
        if code & 0x7F == 0x7F:
            return math.nan
    elif exponent == 0x1F:
        return math.nan if mantissa else sign * math.inf
    fraction = mantissa / (1 << bits)
    if exponent == 0:
        return sign * fraction * 2.0 ** (1 - bias)
    return sign * (1 + fraction) * 2.0 ** (exponent - bias)
