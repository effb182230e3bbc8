"""What is in an archive: members by name, each as an output of its own. Nothing is written by name.

Directories, permissions, owners, times and the order are aside.
"""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import BinaryIO, cast

from reprorun.compare.content import PIECE, read_full
from reprorun.compare.rich import Budget, Refused, spool
from reprorun.compare.values import Content, Unreadable
from reprorun.compare.zips import MOST, open_zip, pieces
from reprorun.model import Value

_LARGEST_HEADER = 16 << 20  # bytes, of the names and attributes of one member of a tar
_BLOCK = 512  # bytes, of a tar


class View(io.RawIOBase):
    """Part of a stream, as a stream with a position of its own."""

    def __init__(self, base: BinaryIO, start: int, size: int) -> None:
        self._base = base
        self._start = start
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, self._size))
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._base.seek(self._start + self._at)
        data = self._base.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class MemberContent(Value, frozen=True, kw_only=True):
    """Part of a stream that stays open, as an output."""

    name: str
    size: int
    base: BinaryIO
    start: int = 0
    path: None = None

    def open(self) -> BinaryIO:
        """A fresh stream."""
        return cast(BinaryIO, io.BufferedReader(View(self.base, self.start, self.size)))


class Member(Value, frozen=True, kw_only=True):
    """One member of an archive."""

    kind: str  # "file", else what it is instead, in words: "a link to data.csv"
    content: Callable[[str, ExitStack], Content] | None = None
    """Given its name and what closes what is opened, the content of a file."""


def spooled(name: str, data: Iterable[bytes], opened: ExitStack) -> MemberContent:
    """What is unpacked, as an output."""
    file = opened.enter_context(spool())
    size = sum(file.write(piece) for piece in data)
    return MemberContent(name=name, size=size, base=file)


def _by_name(named: Iterable[tuple[str, Member]]) -> dict[str, Member]:
    """Members by name; of one name the second gets a number, as all are compared.

    Raises:
        Refused: there are more than are held in memory.
    """
    found: dict[str, Member] = {}
    seen: dict[str, int] = {}
    for name, member in named:
        seen[name] = seen.get(name, 0) + 1
        found[name if seen[name] == 1 else f"{name} ({seen[name]})"] = member
        if len(found) > MOST:
            raise Refused(f"it has more than {MOST:,} members")
    return found


# ---------------------------------------------------------------- zip


def zip_members(
    stream: BinaryIO, size: int, budget: Budget, opened: ExitStack
) -> dict[str, Member]:
    """The members of a zip archive.

    Raises:
        Unreadable: it is damaged.
        Refused: it is beyond a limit.
    """
    archive = opened.enter_context(open_zip(stream, size))
    infos = (info for info in archive.infolist() if not info.filename.endswith("/"))
    return _by_name((info.filename, zip_member(archive, info, budget)) for info in infos)


def zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget) -> Member:
    """One member of a zip archive, for as long as that is open."""

    def content(name: str, opened: ExitStack) -> Content:
        return spooled(name, pieces(archive, info, budget), opened)

    is_link = stat.S_ISLNK(info.external_attr >> 16)
    return Member(kind="a link" if is_link else "file", content=content)


# ---------------------------------------------------------------- tar


class _Guarded:
    """A stream that gives tarfile no more than one header may have."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.tell = stream.tell
        self.seek = stream.seek

    def read(self, size: int) -> bytes:
        if size > _LARGEST_HEADER:
            raise Unreadable("it is a damaged tar archive: it has a header that is too large")
        return self._stream.read(size)


def tar_members(stream: BinaryIO, budget: Budget) -> dict[str, Member]:
    """The members of a tar archive that is not compressed.

    Raises:
        Unreadable: it is none, or damaged.
        Refused: it is beyond a limit.
    """
    try:
        archive = tarfile.TarFile(fileobj=cast(BinaryIO, _Guarded(stream)))
        found = _by_name(_tar_members(archive, stream, budget))
    except (tarfile.TarError, ValueError, LookupError, OverflowError, RecursionError) as error:
        raise Unreadable(f"it is no tar archive, or a damaged one: {error}"[:200]) from error
    stream.seek(archive.offset)
    if read_full(stream, _BLOCK).strip(b"\0"):  # where tarfile takes it for the end
        raise Unreadable("it is a damaged tar archive")
    return {name: _resolved(member, found) for name, member in found.items()}


def _tar_members(
    archive: tarfile.TarFile, stream: BinaryIO, budget: Budget
) -> Iterator[tuple[str, Member]]:
    before = -1
    while (info := archive.next()) is not None:
        if info.offset <= before or info.size < 0:
            raise Unreadable("it is a damaged tar archive: it leads back")
        before = info.offset
        archive.members = []  # type: ignore[attr-defined]  # it keeps them all
        if not info.isdir():
            yield info.name.removeprefix("./"), _tar_member(archive, info, stream, budget)


def _tar_member(
    archive: tarfile.TarFile, info: tarfile.TarInfo, stream: BinaryIO, budget: Budget
) -> Member:
    start, size = info.offset_data, info.size

    def content(name: str, opened: ExitStack) -> Content:
        return MemberContent(name=name, size=size, base=stream, start=start)

    def unpacked(name: str, opened: ExitStack) -> Content:
        return spooled(name, _sparse_pieces(archive, info, budget), opened)

    if info.issparse():
        return Member(kind="file", content=unpacked)
    if info.isreg():
        return Member(kind="file", content=content)
    if info.islnk():
        return Member(kind=_HARD_LINK + info.linkname.removeprefix("./"))
    return Member(kind=f"a link to {info.linkname}" if info.issym() else "no regular file")


_HARD_LINK = "a hard link to "


def _resolved(member: Member, members: dict[str, Member]) -> Member:
    """The file that a hard link is: which of two names is the link depends on the order."""
    if not member.kind.startswith(_HARD_LINK) or member.content is not None:
        return member
    meant = members.get(member.kind.removeprefix(_HARD_LINK), member)
    return meant if meant.kind == "file" else member


def _sparse_pieces(
    archive: tarfile.TarFile, info: tarfile.TarInfo, budget: Budget
) -> Iterator[bytes]:
    file = archive.extractfile(info)
    while file is not None and (piece := file.read(PIECE)):
        budget.take(len(piece))
        yield piece
