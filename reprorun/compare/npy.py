"""npy files compared element by element, in pieces. Their header is read as data."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

from reprorun.compare.content import read_full
from reprorun.compare.inert import read as read_pickle
from reprorun.compare.numbers import Numbers
from reprorun.compare.rich import Refused, refused, without
from reprorun.compare.values import Content, Finding, Settings, Unreadable
from reprorun.model import Value

MAGIC = b"\x93NUMPY"
_VERSIONS = ((1, 0), (2, 0), (3, 0))
PIECE = 1 << 22  # bytes of each that are looked at in one go
GATHERED = 1 << 28  # bytes of an array that has to be put into another order in memory
_LONGEST_HEADER = 1 << 16
_SIMPLE = re.compile(r"[<>|=]?(?:[?biufcSUVa]\d{0,9}|[mM]8(?:\[\d*[a-zA-Z]{1,2}\])?|O8?)")
_MOST_FIELDS = 1000


class _Header(Value, frozen=True, kw_only=True):
    """What an npy file says of its array."""

    dtype: Any  # of numpy
    shape: tuple[int, ...]
    fortran: bool
    start: int  # of the data, in bytes

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two npy files. One of objects is compared as the pickle that it is."""
    try:
        import numpy as np  # noqa: F401
    except ImportError:
        return without("npy", "numpy")
    numbers = Numbers(settings.tolerance_of(a.name))
    with ExitStack() as opened:
        streams = [opened.enter_context(content.open()) for content in (a, b)]
        one, other = (_read_header(s, c.size) for s, c in zip(streams, (a, b), strict=True))
        try:
            _compare(numbers, one, other, streams, settings, a)
        except Refused as error:
            return refused("npy", error)
    return numbers.finding("npy", equal="all values are equal; the layout of the file differs")


def _compare(
    numbers: Numbers,
    one: _Header,
    other: _Header,
    streams: list[BinaryIO],
    settings: Settings,
    content: Content,
) -> None:
    dtypes = one.dtype.newbyteorder("="), other.dtype.newbyteorder("=")
    if dtypes[0] != dtypes[1]:
        numbers.mismatch("dtype", str(one.dtype), str(other.dtype))
    elif one.shape != other.shape:
        numbers.mismatch("shape", str(list(one.shape)), str(list(other.shape)))
    elif one.dtype.hasobject:
        _compare_objects(numbers, streams, settings, content)
    elif one.fortran == other.fortran or len(one.shape) < 2:
        _compare_pieces(numbers, one, other, streams)
    else:
        arrays = [_whole(header, s) for header, s in zip((one, other), streams, strict=True)]
        _compare_fields(numbers, arrays[0], arrays[1], 0, one.shape, fortran=False)


def _compare_objects(
    numbers: Numbers, streams: list[BinaryIO], settings: Settings, content: Content
) -> None:
    from reprorun.compare.pickles import PickleComparison

    mine, theirs = (read_pickle(stream, content.size) for stream in streams)
    PickleComparison(numbers).values(mine, theirs)


def _compare_pieces(
    numbers: Numbers, one: _Header, other: _Header, streams: list[BinaryIO]
) -> None:
    """Both lie in the same order: compare as they lie."""
    start = 0
    pieces = (_pieces(header, s) for header, s in zip((one, other), streams, strict=True))
    for mine, theirs in zip(*pieces, strict=True):
        if one.dtype == other.dtype and mine.tobytes() == theirs.tobytes():
            numbers.equal(len(mine))
        else:
            _compare_fields(numbers, mine, theirs, start, one.shape, fortran=one.fortran)
        start += len(mine)


def _compare_fields(
    numbers: Numbers, one: Any, other: Any, start: int, shape: tuple[int, ...], *, fortran: bool
) -> None:
    """Compare flat arrays; structured ones field by field, and these element by element."""
    for path, mine, theirs in _fields(one, other, ""):
        each = mine.size // len(one) if len(one) else 1  # elements of the field in one of the array

        def where(index: int, path: str = path, each: int = each) -> str:
            place = _element(start + index // each, shape, fortran=fortran)
            inside = f" [{index % each}]" if each > 1 else ""
            return place + (f", field {path}" if path else "") + inside

        if mine.dtype.kind == "V":  # bytes without a meaning
            width = mine.dtype.itemsize
            mine, theirs = (_contiguous(each).view(f"S{width}") for each in (mine, theirs))
        numbers.array(mine, theirs, where)


def _contiguous(array: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(array)


def _fields(one: Any, other: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if one.dtype.names is None:
        yield path, one, other
        return
    for name in one.dtype.names:
        yield from _fields(one[name], other[name], f"{path}.{name}".lstrip("."))


def _element(index: int, shape: tuple[int, ...], *, fortran: bool) -> str:
    """An element in words, by its position in the file."""
    if not shape:
        return "the value"
    indices = []
    for length in shape if fortran else reversed(shape):
        index, step = divmod(index, max(length, 1))
        indices.append(step)
    return f"element {indices if fortran else indices[::-1]}"


# ---------------------------------------------------------------- reading


def _read_header(stream: BinaryIO, size: int) -> _Header:
    """What the file says of itself. The stream is then at its data.

    Raises:
        Unreadable: it is no npy file, or damaged.
    """
    start = read_full(stream, 8)
    if not start.startswith(MAGIC) or len(start) < 8 or (start[6], start[7]) not in _VERSIONS:
        raise Unreadable("it is no npy file")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(read_full(stream, width), "little")
    text = read_full(stream, min(length, _LONGEST_HEADER))
    if len(text) != length:
        raise Unreadable("its npy header is damaged")
    try:
        decoded = text.decode("utf-8" if start[6] == 3 else "latin-1")
        header = _header(_literal(decoded.strip(" \n")), 8 + width + length)
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise Unreadable("its npy header is damaged") from error
    if not header.dtype.hasobject and header.start + header.count * header.dtype.itemsize > size:
        raise Unreadable("its npy data end too early")
    return header


def _literal(text: str) -> Any:
    """What a literal of Python stands for; nothing is evaluated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Python thinks of its style
        return ast.literal_eval(text)


def _header(entries: Any, start: int) -> _Header:
    import numpy as np

    shape, fortran = entries["shape"], entries["fortran_order"]
    if not isinstance(shape, tuple) or not isinstance(fortran, bool) or len(shape) > 64:
        raise ValueError("shape")
    if not all(type(length) is int and 0 <= length < 1 << 62 for length in shape):
        raise ValueError("shape")
    if not _is_plain(entries["descr"], [_MOST_FIELDS]):
        raise ValueError("descr")
    return _Header(dtype=np.dtype(entries["descr"]), shape=shape, fortran=fortran, start=start)


def _is_plain(descr: Any, left: list[int]) -> bool:
    """Whether a description of a dtype is made of numbers, texts and fields of such."""
    left[0] -= 1
    if isinstance(descr, str):
        return _SIMPLE.fullmatch(descr) is not None
    if isinstance(descr, tuple) and len(descr) == 2:  # with a shape of its own
        return _is_plain(descr[0], left) and _is_shape(descr[1])
    if not isinstance(descr, list) or left[0] < 0:
        return False
    return all(
        isinstance(field, tuple)
        and len(field) in (2, 3)
        and _is_plain(field[1], left)
        and (len(field) == 2 or _is_shape(field[2]))
        for field in descr
    )


def _is_shape(value: Any) -> bool:
    lengths = value if isinstance(value, tuple) else (value,)
    return all(type(length) is int and 0 <= length < 1 << 31 for length in lengths)


def _pieces(header: _Header, stream: BinaryIO) -> Iterator[Any]:
    """The elements as they lie in the file, as flat arrays."""
    import numpy as np

    width = header.dtype.itemsize
    if not width:
        return
    left, most = header.count, max(PIECE // width, 1)
    while left:
        data = read_full(stream, min(left, most) * width)
        if len(data) != min(left, most) * width:
            raise Unreadable("its npy data end too early")
        yield np.frombuffer(data, header.dtype)
        left -= min(left, most)


def _whole(header: _Header, stream: BinaryIO) -> Any:
    """The whole array, flat, in the order of its shape."""
    import numpy as np

    size = header.count * header.dtype.itemsize
    if size > GATHERED:
        raise Refused(f"the arrays lie in different orders and have more than {GATHERED >> 20} MiB")
    flat = np.frombuffer(read_full(stream, size), header.dtype)
    return flat.reshape(header.shape, order="F" if header.fortran else "C").reshape(-1)
