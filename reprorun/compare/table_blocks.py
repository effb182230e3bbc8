"""A table's bytes in blocks of whole rows, for a reader that takes one block after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from reprorun.compare.content import read_full
from reprorun.compare.table import LONGEST
from reprorun.compare.values import Unreadable

BLOCK = 1 << 23  # bytes that are read at a time


def blocks(file: BinaryIO, *, skip_header: bool) -> Iterator[bytes]:
    """Whole rows, some megabytes at a time.

    Raises:
        Unreadable: a row is too long.
    """
    rest = b""
    if skip_header:
        _pass_header(file)
    while data := read_full(file, BLOCK):
        block = rest + data
        end = last_row_end(block)
        if end == 0 and len(block) > LONGEST:
            raise Unreadable(f"it has a row of more than {LONGEST >> 20} MiB")
        rest = block[end:]
        if end:
            yield block[:end]
    if rest:
        yield rest


def last_row_end(block: bytes) -> int:
    """Where the last whole row ends: after a line break that is not within quotes."""
    end = block.rfind(b"\n") + 1
    if b'"' not in block:
        return end
    quotes = block.count(b'"', 0, end)
    while end and quotes % 2:
        before = block.rfind(b"\n", 0, end - 1) + 1
        quotes -= block.count(b'"', before, end)
        end = before
    return end


def _pass_header(file: BinaryIO) -> None:
    """Read on behind the first row that is not blank."""
    row = b""
    while line := file.readline(LONGEST):
        row += line
        if row.strip(b"\r\n") and row.count(b'"') % 2 == 0:
            return
        if len(row) >= LONGEST:
            raise Unreadable(f"it has a row of more than {LONGEST >> 20} MiB")
