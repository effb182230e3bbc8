"""Bytes compared: whether two outputs are identical, and where they first differ."""

from __future__ import annotations

import os

from reprorun.compare.content import PIECE, open_regular, read_full
from reprorun.compare.values import Content, Divergence, Finding, Settings
from reprorun.model import Value

_SHOWN = 8  # bytes on each side
_QUICK = 1 << 18  # bytes that stay in the processor's cache while they are compared


class ByteDifference(Value, frozen=True, kw_only=True):
    """Where two streams of bytes part, and how each goes on."""

    offset: int
    original: bytes  # empty where it ends
    now: bytes


def first_difference(a: Content, b: Content) -> ByteDifference | None:
    """The first byte that differs; None where all are the same.

    Raises:
        OSError: one of them can't be read.
    """
    offset = _same_pieces(a.path, b.path) if a.path and b.path else 0
    with a.open() as one, b.open() as other:
        if offset:
            one.seek(offset)
            other.seek(offset)
        while True:
            piece, twin = read_full(one, PIECE), read_full(other, PIECE)
            if piece != twin:
                at = common_length(piece, twin)
                return ByteDifference(
                    offset=offset + at,
                    original=piece[at : at + _SHOWN],
                    now=twin[at : at + _SHOWN],
                )
            if not piece:
                return None
            offset += len(piece)


def _same_pieces(a: str, b: str) -> int:
    """How many bytes of two files are the same at least, as fast as they can be read."""
    one, other = open_regular(a), open_regular(b)
    piece, twin, offset = bytearray(_QUICK), bytearray(_QUICK), 0
    try:
        while os.readv(one, [piece]) == os.readv(other, [twin]) == _QUICK and piece == twin:
            offset += _QUICK
        return offset
    finally:
        os.close(one)
        os.close(other)


def common_length(one: bytes, other: bytes) -> int:
    """How many bytes at the start are the same; the ends are found by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def finding(a: Content, b: Content, difference: ByteDifference) -> Finding:
    """What is said of two outputs whose bytes differ."""
    sizes = f", {a.size:,} bytes against {b.size:,}" if a.size != b.size else ""
    return Finding(
        verdict="different",
        comparator="bytes",
        reason=f"the bytes differ from offset {difference.offset:,} on{sizes}",
        divergence=Divergence(
            where=f"byte {difference.offset}",
            original=_hex(difference.original),
            now=_hex(difference.now),
        ),
    )


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two outputs by nothing but their bytes."""
    difference = first_difference(a, b)
    if difference is None:
        return Finding(verdict="identical", comparator="bytes")
    return finding(a, b, difference)


def _hex(data: bytes) -> str:
    return data.hex(" ") if data else "end of the file"
