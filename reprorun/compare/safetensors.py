"""safetensors, by tensor: a length, a header in JSON, and the data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, BinaryIO

from reprorun.compare.content import read_full
from reprorun.compare.numbers import Numbers
from reprorun.compare.rich import Missing, Refused, paired, refused, without
from reprorun.compare.tensors import MOST_DIMENSIONS, SIZES, Stretch, Tensor, compare_tensors
from reprorun.compare.values import Content, Finding, Settings, Unreadable
from reprorun.model import Value

_LARGEST_HEADER = 100_000_000  # bytes, as the format has it
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool", "C64": "complex64",
}  # fmt: skip


class Place(Value, frozen=True, kw_only=True):
    """A tensor of the header; bytes from the end of the header on."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two safetensors files by tensor; their metadata and order are aside."""
    numbers = Numbers(settings.tolerance_of(a.name))
    try:
        with ExitStack() as opened:
            mine = read(opened.enter_context(a.open()), a.size)
            theirs = read(opened.enter_context(b.open()), b.size)
            for name, one, other in paired(numbers, "tensor", mine, theirs):
                numbers.tolerance = settings.tolerance_of(a.name, name)
                compare_tensors(numbers, f"tensor {name}", one, other)
    except Missing as error:
        return without("safetensors", str(error))
    except Refused as error:
        return refused("safetensors", error)
    return numbers.finding("safetensors", equal="all tensors are equal; metadata or order differ")


def read(stream: BinaryIO, size: int) -> dict[str, Tensor]:
    """The tensors of a file, by name; their data is read later.

    Raises:
        Unreadable: it is none, or damaged.
    """
    header, start = _header(stream, size)
    header.pop("__metadata__", None)
    places = {name: _place(entry, size - start) for name, entry in header.items()}
    _refuse_overlaps(places.values())
    return {name: _tensor(place, stream, start) for name, place in places.items()}


def _header(stream: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(read_full(stream, 8), "little")
    if size < 8 or length > min(size - 8, _LARGEST_HEADER):
        raise Unreadable("it is no safetensors file: its header doesn't fit")
    try:
        header = json.loads(read_full(stream, length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is no safetensors file: its header is no JSON") from error
    if not isinstance(header, dict):
        raise Unreadable("it is no safetensors file: its header is no object")
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _place(entry: Any, size: int) -> Place:
    """Where a tensor lies, as the header has it."""
    try:
        dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
        start, stop = entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable("its header has a tensor that can't be read") from error
    if len(shape) > MOST_DIMENSIONS or not all(
        type(number) is int and number >= 0 for number in (*shape, start, stop)
    ):
        raise Unreadable("its header has a tensor of an impossible shape")
    if stop - start != math.prod(shape) * SIZES[dtype] or stop > size:
        raise Unreadable("its header has a tensor that doesn't fit its data")
    return Place(dtype=dtype, shape=shape, start=start, stop=stop)


def _refuse_overlaps(places: Iterable[Place]) -> None:
    end = 0
    for place in sorted(places, key=lambda place: (place.start, place.stop)):
        if place.start < end:
            raise Unreadable("its header has tensors that overlap")
        end = place.stop


def _tensor(place: Place, stream: BinaryIO, start: int) -> Tensor:
    data = Stretch(stream, start + place.start, place.stop - place.start)
    return Tensor(place.dtype, place.shape, lambda: data)
