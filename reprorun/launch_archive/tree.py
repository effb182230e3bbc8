"""The tree that the members of an archive make up, and whether a further one fits in. Pure."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Collection

from reprorun.launch_archive.links import LeadsOut, climbs_late, follow
from reprorun.model import Value

ENCODING = ("utf-8", "surrogateescape")

TEXT_PER_FILE = 400  # bytes of names and attributes that a file may have on average
STEPS_PER_FILE = 5  # names that are looked up, on average, in following links
LONGEST_PATH, LONGEST_NAME = 4096, 255  # bytes, as Linux has it
LAST_SECOND = 253402300799  # of the year 9999

_REFUSED = {
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.XGLTYPE: "a global pax header",
}


class ArchiveLimits(Value, frozen=True, kw_only=True):
    """How much an archive may hold. What is larger is taken for a bomb."""

    files: int = 200_000  # directories among them
    size: int = 8 << 30  # bytes of the tar, unpacked


class NotRight(Exception):
    """What is wrong with an archive; reads as the rest of a sentence that begins with its name."""


class Tree:
    """What has come so far.

    Args:
        limits: how much may come.
        links_out: names of symbolic links that may lead out of the tree; None: any may.
    """

    def __init__(self, limits: ArchiveLimits, links_out: Collection[str] | None) -> None:
        self._limits = limits
        self._links_out = None if links_out is None else frozenset(links_out)
        self._kinds: dict[str, str] = {}  # of every path: directory, file, link
        self._links: dict[str, str] = {}  # path -> where it leads
        self._late: list[str] = []  # links to be followed when all are known
        self.leaving: set[str] = set()  # links that lead out, as they may
        self._members = 0
        self._text = 0  # bytes of names and attributes

    def checked(self, header: tarfile.TarInfo, start: int) -> tarfile.TarInfo:
        """A member with a normalized name and without an owner.

        Args:
            header: as it stands in the archive.
            start: where its content starts.

        Raises:
            NotRight: it has no place in a launch archive.
        """
        try:
            return self._checked(header, start)
        except _Wrong as error:
            raise NotRight(f"holds {shown(header.name)}, {error}") from None

    def _checked(self, header: tarfile.TarInfo, start: int) -> tarfile.TarInfo:
        member = tarfile.TarInfo(_normalized(header.name))
        member.type, member.mode, member.mtime = header.type, header.mode & 0o777, header.mtime
        if header.isdir():
            kind = "directory"
        elif header.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            kind = "file"
            member.type, member.size = tarfile.REGTYPE, header.size
        elif header.islnk():
            kind = "file"
            member.linkname = self._twin(header)
        elif header.issym():
            kind = "link"
            member.mode, member.linkname = 0o777, header.linkname
            self._check_link(member.name, header.linkname)
        else:
            found = _REFUSED.get(header.type, f"a member of the unknown kind {header.type!r}")
            raise _Wrong(f"{found}, which no launch archive has")
        _check_form(header, member, kind)
        self._check_size(start + member.size)
        self._members += 1
        self._check_count(self._members)
        self._add(member.name, kind)
        return member

    def spend(self, size: int) -> None:
        """Count bytes of names and attributes, which stay in memory.

        Raises:
            NotRight: they are too many.
        """
        self._text += size
        if self._text > self._limits.files * TEXT_PER_FILE:
            raise NotRight(f"has too much text in its names{self._raise_limits()}")

    def check_links(self) -> None:
        """Follow the links that could not be judged before all were known.

        Raises:
            NotRight: one leads out.
        """
        steps = self._limits.files * STEPS_PER_FILE
        for name in self._late:
            try:
                steps = follow(name, self._links, self.leaving, steps)
            except LeadsOut:
                if not self._may_leave(name):
                    raise NotRight(f"holds {shown(name)}, {_link_out(self._links[name])}") from None
                self.leaving.add(name)
            if steps < 0:
                raise NotRight("has too tangled links")

    def _check_link(self, name: str, target: str) -> None:
        _check_text(target)
        self._links[name] = target
        if climbs_late(target):
            self._late.append(name)
        elif target.startswith("/") or target.split("/").count("..") > name.count("/"):
            if not self._may_leave(name):
                raise _Wrong(_link_out(target))
            self.leaving.add(name)

    def _may_leave(self, name: str) -> bool:
        return self._links_out is None or name in self._links_out

    def _twin(self, header: tarfile.TarInfo) -> str:
        """The file that a hard link is another name of."""
        name = _normalized(header.linkname)
        if self._kinds.get(name) != "file":
            raise _Wrong(f"a hard link to {shown(name)}, which is no file before it")
        return name

    def _check_size(self, end: int) -> None:
        if end > self._limits.size:
            raise _Wrong(
                f"which makes it larger than {self._limits.size} bytes{self._raise_limits()}"
            )

    def _add(self, name: str, kind: str) -> None:
        """Take in a path, and the directories above it, which need not be named."""
        found = self._kinds.get(name)
        if found and not found == kind == "directory":
            raise _Wrong("which is there already")
        while name and self._kinds.get(name) is None:
            self._count(name, kind)
            name, kind = os.path.dirname(name), "directory"
        above = self._kinds.get(name, kind)
        if above != kind:
            raise _Wrong(f"below {shown(name)}, which is a {above}")

    def _count(self, name: str, kind: str) -> None:
        self._kinds[name] = kind
        self.spend(len(name))
        self._check_count(len(self._kinds))

    def _check_count(self, count: int) -> None:
        if count > self._limits.files:
            raise NotRight(f"holds more than {self._limits.files} files{self._raise_limits()}")

    def _raise_limits(self) -> str:
        limits = f"{self._limits.files},{self._limits.size}"
        return f"; if you trust it, raise the limits of {limits} with --archive-limits FILES,SIZE"


class _Wrong(Exception):
    """What is wrong with a member; reads as the rest of a sentence that begins with its name."""


def shown(name: str) -> str:
    """A name for a message, of any length and with any characters."""
    return repr(name) if len(name) <= 120 else f"{name[:120]!r}..."


def _normalized(name: str) -> str:
    """A name relative to the root, without empty parts; `.` for the root itself."""
    _check_text(name)
    if name.startswith("/"):
        raise _Wrong("which is an absolute path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for part in parts:
        if part == "..":
            raise _Wrong("which leads out of the repository")
        if part.startswith(".wh."):  # in a layer it would mean that another file is removed
            raise _Wrong("and engines can't keep a name that begins with .wh.")
        if len(part.encode(*ENCODING)) > LONGEST_NAME:
            raise _Wrong("which is too long for a name")
    return "/".join(parts) or "."


def _check_text(name: str) -> None:
    if not name:
        raise _Wrong("where there should be a name")
    if "\0" in name:
        raise _Wrong("which has a NUL in it")
    if len(name.encode(*ENCODING)) > LONGEST_PATH:
        raise _Wrong("which is too long for a path")


def _check_form(header: tarfile.TarInfo, member: tarfile.TarInfo, kind: str) -> None:
    if kind != "directory" and (header.name.endswith("/") or member.name == "."):
        raise _Wrong(f"which is a {kind} with the name of a directory")
    if kind == "file" and header.mode & 0o7000:  # harmless in a directory, and common there
        raise _Wrong("a setuid, setgid or sticky file")
    if header.size != member.size:
        raise _Wrong("which is no file, but has content")
    if member.size < 0:
        raise _Wrong("which is smaller than nothing")
    if abs(member.mtime) > LAST_SECOND:
        raise _Wrong("which has an impossible date")


def _link_out(target: str) -> str:
    return (
        f"a link that leads out of the repository (to {shown(target)}); "
        "if you trust it, give --allow-links"
    )
