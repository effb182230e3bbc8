"""Zip archives: their directory within limits, and their members one by one."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from lzma import LZMAError
from typing import BinaryIO

from reprorun.compare.content import PIECE, read_full
from reprorun.compare.rich import Budget, Refused, spool
from reprorun.compare.tensors import Stretch
from reprorun.compare.values import Unreadable

MOST = 500_000  # members
_LARGEST_DIRECTORY = 256 << 20  # bytes
_ENCRYPTED = 1  # flag
_END = struct.Struct("<4s4H2LH")  # end of central directory
_TAIL = 1 << 16  # bytes that a comment may have
_DAMAGE = (
    *(zipfile.BadZipFile, struct.error, ValueError, OverflowError, EOFError, zlib.error, LZMAError),
    *(NotImplementedError, RuntimeError, IndexError, KeyError),  # for what zipfile can't do
)


@contextmanager
def damage_named() -> Iterator[None]:
    """Makes what zipfile raises for wrong archives an `Unreadable`."""
    try:
        yield
    except OSError:
        raise
    except _DAMAGE as error:
        raise Unreadable(f"it is a damaged zip archive: {error}"[:200]) from error


def open_zip(stream: BinaryIO, size: int) -> zipfile.ZipFile:
    """A zip archive, to be read.

    Raises:
        Unreadable: it is none, or damaged.
        Refused: it has more members than are held in memory.
    """
    _refuse_crowds(stream, size)
    with damage_named():
        return zipfile.ZipFile(stream)


def _refuse_crowds(stream: BinaryIO, size: int) -> None:
    """zipfile reads the whole directory into memory: look at its size first."""
    start = max(0, size - _TAIL - _END.size)
    stream.seek(start)
    tail = read_full(stream, size - start)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise Unreadable("it is no zip archive")
    members, length = _END.unpack_from(tail, at)[4:6]
    zip64 = tail.rfind(b"PK\6\6", 0, at)
    if zip64 >= 0 and len(tail) - zip64 >= 56:
        members, length = struct.unpack_from("<2Q", tail, zip64 + 32)
    elif length == 0xFFFFFFFF or zip64 >= 0:
        raise Unreadable("it is a damaged zip archive")
    if members > MOST or length > _LARGEST_DIRECTORY:
        raise Refused(f"it has more than {MOST:,} members")


def refuse_encrypted(member: zipfile.ZipInfo) -> None:
    """Refuse a member that only a password opens.

    Raises:
        Refused: it is one.
    """
    if member.flag_bits & _ENCRYPTED:
        raise Refused("it is encrypted")


def pieces(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget) -> Iterator[bytes]:
    """The bytes of a member.

    Raises:
        Unreadable: it is damaged.
        Refused: there are more than may be, or it is encrypted.
    """
    refuse_encrypted(member)
    with damage_named(), archive.open(member) as file:
        while piece := file.read(PIECE):
            budget.take(len(piece))
            yield piece


def stretch(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    stream: BinaryIO,
    budget: Budget,
    opened: ExitStack,
) -> Stretch:
    """A member that can be read at any place: in the archive itself where it is not compressed.

    Raises:
        Unreadable: it is damaged.
        Refused: it is larger than may be, or encrypted.
    """
    refuse_encrypted(member)
    if member.compress_type == zipfile.ZIP_STORED:
        stream.seek(member.header_offset)
        header = read_full(stream, 30)
        if len(header) < 30 or not header.startswith(b"PK\3\4"):
            raise Unreadable("it is a damaged zip archive")
        names = sum(struct.unpack_from("<2H", header, 26))
        return Stretch(stream, member.header_offset + 30 + names, member.file_size)
    file = opened.enter_context(spool())
    size = 0
    for piece in pieces(archive, member, budget):
        size += file.write(piece)
    return Stretch(file, 0, size)
