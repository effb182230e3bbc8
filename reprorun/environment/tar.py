"""Deterministic tars: equal entries give equal bytes. Streamed; the size is known beforehand.

Entries are values, so that what a layer holds can be decided, ordered and measured before a byte
of it is read. Every parent directory is an entry; owner, mode and time are fixed.
"""

from __future__ import annotations

import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

from reprorun.environment.inflate import Archive
from reprorun.errors import LockFailed

EPOCH = 315532800  # 1980-01-01, the oldest time that a zip file can hold
_PIECE = 1 << 20  # bytes
# RuntimeError: encrypted; NotImplementedError: a compression that zipfile does not know;
# KeyError: no such member; ValueError: names that are no text, places before the start
DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
"""What zipfile raises for a zip that is not what it should be."""
_LONGEST = 100  # bytes of a path or target that the header itself can hold
_END = b"\0" * (2 * tarfile.BLOCKSIZE)


class Entry(NamedTuple):
    """A file, directory or link. Its content is `data`, or `member` of the zip `archive`."""

    path: str
    kind: bytes = tarfile.REGTYPE
    mode: int = 0o644
    size: int = 0  # bytes
    link: str = ""
    data: bytes = b""
    archive: str = ""
    member: str = ""


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    """A file with known content."""
    return Entry(path, mode=mode, size=len(data), data=data)


def directory(path: str, mode: int = 0o755) -> Entry:
    """A directory."""
    return Entry(path, kind=tarfile.DIRTYPE, mode=mode)


def link(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path, kind=tarfile.SYMTYPE, mode=0o777, link=target)


def with_parents(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, each parent directory before what lies in it, each path once.

    Of two entries with one path the later counts, as when one package is installed over another:
    engines take no path twice.
    """
    found: dict[str, Entry] = {}
    for entry in entries:
        path = entry.path.strip("/")
        for parent in _parents(path):
            if parent not in found or found[parent].kind != tarfile.DIRTYPE:
                found[parent] = directory(parent)
        if entry.kind == tarfile.DIRTYPE and path in found and found[path].kind == entry.kind:
            continue
        if path in found and found[path].kind == tarfile.DIRTYPE:
            found = {p: other for p, other in found.items() if not p.startswith(f"{path}/")}
        found[path] = entry._replace(path=path)
    return list(found.values())


def _parents(path: str) -> list[str]:
    """The directories above a path, outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def size_of(entries: Iterable[Entry]) -> int:
    """Bytes of the tar that `stream` gives."""
    return sum(_header_size(entry) + _padded(entry.size) for entry in entries) + len(_END)


def stream(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The tar, in pieces that are worth being sent.

    Raises:
        LockFailed: a zip that content is taken from is damaged.
    """
    waiting: list[bytes] = []
    size = 0
    for piece in _parts(entries):
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _parts(entries: Iterable[Entry]) -> Iterator[bytes]:
    with ExitStack() as opened:
        archives: dict[str, Archive] = {}
        for entry in entries:
            yield _header(entry)
            if entry.archive:
                if entry.archive not in archives:
                    opened.close()  # entries of one archive follow each other
                    archives = {entry.archive: opened.enter_context(_opened(entry.archive))}
                yield from _content(archives[entry.archive], entry)
            elif entry.data:
                yield entry.data
            yield b"\0" * (_padded(entry.size) - entry.size)
    yield _END


def _header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.path)
    info.type, info.mode, info.mtime = entry.kind, entry.mode, EPOCH
    info.size, info.linkname = entry.size, entry.link
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _header_size(entry: Entry) -> int:
    """Bytes of a header: one block, and more before it for a long path or target."""
    path = f"{entry.path}/" if entry.kind == tarfile.DIRTYPE else entry.path
    long = [size for text in (path, entry.link) if (size := len(os.fsencode(text))) > _LONGEST]
    return tarfile.BLOCKSIZE + sum(tarfile.BLOCKSIZE + _padded(size + 1) for size in long)


def _padded(size: int) -> int:
    return size + -size % tarfile.BLOCKSIZE


def _opened(path: str) -> Archive:
    try:
        return Archive(path)
    except DAMAGE as error:
        raise LockFailed(f"{os.path.basename(path)} can't be read: {error}") from error


def _content(archive: Archive, entry: Entry) -> Iterator[bytes]:
    left = entry.size
    try:
        for piece in archive.pieces(entry.member):
            left -= len(piece)
            yield piece
    except DAMAGE as error:
        raise _damaged(entry, str(error)) from error
    if left:
        raise _damaged(entry, f"{entry.member} is {left} bytes short")


def _damaged(entry: Entry, why: str) -> LockFailed:
    name = os.path.basename(entry.archive)
    return LockFailed(f"{name} is damaged: {why}. Remove it from the cache ({entry.archive}).")
