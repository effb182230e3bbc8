"""TensorBoard's event files: records with checksums, and the readings of each tag in them."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from typing import BinaryIO

from reprorun.compare.content import read_full
from reprorun.compare.protobuf import BYTES, double, fields, float32, numbers, signed
from reprorun.compare.rich import Refused
from reprorun.compare.values import Unreadable
from reprorun.model import Value

_LARGEST = 256 << 20  # bytes of one record
_MOST = 20_000_000  # readings, which are held in memory
_POLYNOMIAL = 0x82F63B78  # of CRC-32C, reversed
_MASK = 0xA282EAD8


class Series:
    """The readings of one tag, in the order of the file."""

    def __init__(self) -> None:
        self.steps = array("q")
        self.times = array("d")  # wall time, seconds
        self.scalars = array("d")  # NaN for what is none
        self.places: dict[int, tuple[int, int]] = {}  # of what is no scalar: bytes of the file

    def add(self, step: int, time: float, scalar: float | None, place: tuple[int, int]) -> None:
        """Add a reading."""
        if scalar is None:
            self.places[len(self.steps)] = place
        self.steps.append(step)
        self.times.append(time)
        self.scalars.append(0.0 if scalar is None else scalar)


class Reading(Value, frozen=True, kw_only=True):
    """What is no scalar: numbers, and texts or bytes."""

    kind: str
    numbers: tuple[float, ...] = ()
    blobs: tuple[bytes, ...] = ()
    shape: tuple[int, ...] = ()


class Events(Value, frozen=True, kw_only=True):
    """A file: the series by tag, and whether it ends in the middle of a record."""

    series: dict[str, Series]
    cut: bool


# ---------------------------------------------------------------- records


def _table() -> list[int]:
    table = []
    for code in range(256):
        for _ in range(8):
            code = code >> 1 ^ (_POLYNOMIAL if code & 1 else 0)
        table.append(code)
    return table


_TABLE = _table()


def checksum(data: bytes) -> int:
    """The masked CRC-32C of TFRecord."""
    crc = 0xFFFFFFFF
    table = _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return (crc >> 15 | crc << 17) + _MASK & 0xFFFFFFFF


def records(stream: BinaryIO) -> Iterator[tuple[int, bytes] | None]:
    """The records of a file and where each starts; a None at last where the file is cut short.

    Raises:
        Unreadable: a checksum is wrong.
        Refused: a record is too large.
    """
    at = 0
    while head := read_full(stream, 12):
        if len(head) < 12:
            yield None
            return
        if checksum(head[:8]) != int.from_bytes(head[8:], "little"):
            raise Unreadable(f"it is no event file, or damaged: wrong checksum at byte {at}")
        length = int.from_bytes(head[:8], "little")
        if length > _LARGEST:
            raise Refused(f"it has a record of more than {_LARGEST >> 20} MiB")
        data = read_full(stream, length + 4)
        if len(data) < length + 4:
            yield None
            return
        if checksum(data[:length]) != int.from_bytes(data[length:], "little"):
            raise Unreadable(f"it is damaged: wrong checksum at byte {at}")
        yield at + 12, data[:length]
        at += length + 16


# ---------------------------------------------------------------- events


def read_events(stream: BinaryIO) -> Events:
    """The readings of a file, by tag. Those that are no scalars are read later.

    Raises:
        Unreadable: it is no event file, or damaged.
        Refused: it is beyond a limit.
    """
    found: dict[str, Series] = {}
    count = 0
    for record in records(stream):
        if record is None:
            return Events(series=found, cut=True)
        for tag, step, time, scalar, place in _readings(*record):
            found.setdefault(tag, Series()).add(step, time, scalar, place)
            count += 1
        if count > _MOST:
            raise Refused(f"it has more than {_MOST:,} readings")
    return Events(series=found, cut=False)


def _readings(
    start: int, data: bytes
) -> Iterator[tuple[str, int, float, float | None, tuple[int, int]]]:
    """Tag, step, wall time, scalar and place of each reading of an event."""
    time, step = 0.0, 0
    parts: list[tuple[str, bytes]] = []
    for number, wire, value, part in fields(data):
        if number == 1:
            time = double(part)
        elif number == 2:
            step = signed(value)
        elif number == 5 and wire == BYTES:
            parts += [("", each) for field, _, _, each in fields(part) if field == 1]
        elif number in _OTHERS:
            parts.append((_OTHERS[number], part))
    at = 0
    for name, part in parts:
        at = data.index(part, at)  # the same bytes elsewhere would do as well
        tag, scalar = (name, None) if name else _tag_and_scalar(part)
        yield tag, step, time, scalar, (start + at, len(part))


_OTHERS = {4: "(graph)", 6: "(log message)", 9: "(meta graph)"}  # of an event, beside its summary


def _tag_and_scalar(data: bytes) -> tuple[str, float | None]:
    tag, scalar = "", None
    for number, _, _, part in fields(data):
        if number == 1:
            tag = part.decode(errors="replace")
        elif number == 2:
            scalar = float32(part)
    return tag, scalar


def read_reading(stream: BinaryIO, tag: str, place: tuple[int, int]) -> Reading:
    """What is no scalar, by its place."""
    stream.seek(place[0])
    data = read_full(stream, place[1])
    if tag in _OTHERS.values():
        return Reading(kind=tag.strip("()"), blobs=(data,))
    kinds = {4: _image, 5: _histogram, 8: _tensor}
    for number, _, _, part in fields(data):
        if number in kinds:
            return kinds[number](part)
    rest = (part for number, _, _, part in fields(data) if number not in (1, 9))
    plugin = (_without_times(part) for number, _, _, part in fields(data) if number == 9)
    return Reading(kind="other", blobs=(*rest, *plugin))


# ---------------------------------------------------------------- kinds of readings


def _image(data: bytes) -> Reading:
    found = list(fields(data))
    size = tuple(value for number, _, value, _ in found if number in (1, 2))
    pixels = tuple(part for number, _, _, part in found if number == 4)
    return Reading(kind="image", shape=size, blobs=pixels)


def _histogram(data: bytes) -> Reading:
    values: tuple[float, ...] = ()
    for field in fields(data):
        values += numbers(field, "d")
    return Reading(kind="histogram", numbers=values, shape=(len(values),))


_REPEATED = {5: "f", 6: "d", 7: "q", 10: "q", 11: "q", 13: "q", 16: "q", 17: "q"}
_CONTENT = {1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 19: "e"}  # by dtype


def _tensor(data: bytes) -> Reading:
    dtype, content = 0, b""
    shape: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    blobs: tuple[bytes, ...] = ()
    for field in fields(data):
        number, _, value, part = field
        if number == 1:
            dtype = value
        elif number == 2:
            shape = _shape(part)
        elif number == 4:
            content = part
        elif number == 8:
            blobs += (part,)
        elif number in _REPEATED:
            values += numbers(field, _REPEATED[number])
    if content:
        values, blobs = _of_content(content, dtype, values, blobs)
    return Reading(kind=f"tensor of dtype {dtype}", numbers=values, blobs=blobs, shape=shape)


def _shape(data: bytes) -> tuple[int, ...]:
    sizes: tuple[int, ...] = ()
    for number, _, _, part in fields(data):
        if number == 2:
            sizes += tuple(signed(value) for field, _, value, _ in fields(part) if field == 1)
    return sizes


def _of_content(
    content: bytes, dtype: int, values: tuple[float, ...], blobs: tuple[bytes, ...]
) -> tuple[tuple[float, ...], tuple[bytes, ...]]:
    """The numbers of a tensor that is written as bytes."""
    code = _CONTENT.get(dtype, "")
    size = struct.calcsize(f"<{code}")
    if not code or len(content) % size:
        return values, (*blobs, content)
    return struct.unpack(f"<{len(content) // size}{code}", content), blobs


_HPARAMS_TIMES = {3: (5,), 4: (2,)}  # start and end of a session, in the hparams plugin's data


def _without_times(metadata: bytes) -> bytes:
    """The metadata of a summary, without the times that the hparams plugin writes."""
    for number, _, _, plugin in fields(metadata):
        parts = {field: part for field, _, _, part in fields(plugin)} if number == 1 else {}
        if parts.get(1) == b"hparams":
            return b"".join(_session(field) for field in fields(parts.get(2, b"")))
    return metadata


def _session(field: tuple[int, int, int, bytes]) -> bytes:
    number, wire, value, part = field
    if number not in _HPARAMS_TIMES or wire != BYTES:
        return b"%d:%d:%d:%s;" % (number, wire, value, part)
    kept = (each for each in fields(part) if each[0] not in _HPARAMS_TIMES[number])
    return b"".join(sorted(b"%d:%d:%d:%s;" % each for each in kept))
