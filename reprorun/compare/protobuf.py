"""Protocol buffers without a schema: the fields of a message, as numbers and bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from reprorun.compare.values import Unreadable

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")

Field = tuple[int, int, int, bytes]
"""Number, wire type, the value of a varint, the bytes of all else."""


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message, in order.

    Raises:
        Unreadable: it is none.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint(data, at)
            yield number, wire, value, b""
            continue
        if wire == BYTES:
            length, at = _varint(data, at)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise Unreadable("it has a damaged message")
        if at + length > end:
            raise Unreadable("it has a damaged message")
        yield number, wire, 0, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for position in range(at, min(at + 10, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise Unreadable("it has a damaged message")


def signed(value: int) -> int:
    """A varint as an int64."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def double(data: bytes) -> float:
    """A fixed64 as a number."""
    return float(_DOUBLE.unpack(data)[0]) if len(data) == 8 else 0.0


def float32(data: bytes) -> float:
    """A fixed32 as a number."""
    return float(_FLOAT.unpack(data)[0]) if len(data) == 4 else 0.0


def numbers(field: Field, code: str) -> tuple[float, ...]:
    """The numbers of a repeated field, packed or not.

    Args:
        field: one of them.
        code: "d" or "f" for floats, "q" for varints.

    Raises:
        Unreadable: it is damaged.
    """
    _, wire, value, data = field
    if code == "q":
        return (signed(value),) if wire == VARINT else tuple(_varints(data))
    size = 8 if code == "d" else 4
    if wire == VARINT or len(data) % size:
        raise Unreadable("it has a damaged message")
    return struct.unpack(f"<{len(data) // size}{code}", data)


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield signed(value)
