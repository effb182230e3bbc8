"""Each file of a launch archive beside the commit's: the same, added, changed or deleted."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import Literal

from reprorun.model import Value
from reprorun.probe import git_objects
from reprorun.probe.git_objects import Entry

LARGEST = 1 << 20  # bytes of a text whose lines are compared
_LARGEST_POINTER = 1024  # bytes
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n"
)


class CodeChange(Value, frozen=True, kw_only=True):
    """One file in which an archive differs from a commit."""

    path: str
    kind: Literal["added", "changed", "deleted"]
    facts: tuple[str, ...] = ()  # in words
    patch: tuple[str, ...] = ()  # hunks of a unified diff


class Comparison:
    """Goes through an archive once and compares each file with the commit's.

    Args:
        there: what the commit has.
        left_out: whether the archive is without a file on purpose.
        read_blob: gives the content of a blob.
        hash_name: of the repository's objects.
        scratch: a directory to be written to.
    """

    def __init__(
        self,
        there: dict[str, Entry],
        left_out: Callable[[str, Entry], bool],
        read_blob: Callable[[str], bytes],
        hash_name: str,
        scratch: str,
    ) -> None:
        self.skipped: list[str] = []  # paths of the commit that were left out of the archive
        self.submodules = {path: e.oid for path, e in there.items() if e.kind == "submodule"}
        self._there = there
        self._left_out = left_out
        self._read_blob = read_blob
        self._hash_name = hash_name
        self._scratch = scratch
        self._seen: dict[str, str] = {}  # path -> blob

    def changes(self, tar: tarfile.TarFile) -> Iterator[CodeChange]:
        """The differences: those of the archive's files in its order, then what is deleted."""
        for member in tar:
            if not member.isdir() and not self._is_submodules(member.name):
                change = self._compare(tar, member)
                if change:
                    yield change
        for path, entry in sorted(self._there.items()):
            if path in self._seen or entry.kind == "submodule":
                continue
            if self._left_out(path, entry):
                self.skipped.append(path)
            else:
                yield CodeChange(path=path, kind="deleted", facts=(in_bytes(entry.size),))

    def _is_submodules(self, path: str) -> bool:
        while path and path not in self.submodules:
            path = os.path.dirname(path)
        return bool(path)

    def _compare(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> CodeChange | None:
        old = self._there.get(member.name)
        new = self._content(tar, member)
        self._seen[member.name] = new.oid
        if old is None:
            facts, patch = _added(new)
            return CodeChange(path=member.name, kind="added", facts=facts, patch=patch)
        facts, patch = _mode_facts(old, new), tuple[str, ...]()
        if old.oid != new.oid and not self._is_pointer(old, new):
            more, patch = self._different(old, new)
            facts += more
        if not facts and not patch:
            return None
        return CodeChange(path=member.name, kind="changed", facts=facts, patch=patch)

    def _content(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> _Content:
        """What the archive has: identified, and held if it is small."""
        executable = bool(member.mode & 0o100)
        if member.islnk():  # its content came before
            twin = member.linkname
            oid = self._seen.get(twin, "")  # "": in a submodule
            return _Content(kind="file", oid=oid, twin=twin, executable=executable)
        if member.issym():
            data = os.fsencode(member.linkname)
            oid = git_objects.blob_id(io.BytesIO(data), len(data), self._hash_name)
            return _Content(kind="link", oid=oid, size=len(data), data=data)
        source = tar.extractfile(member)
        assert source is not None  # a regular file has content
        sha256, held = hashlib.sha256(), _Held(member.size)
        oid = git_objects.blob_id(source, member.size, self._hash_name, sha256, held)
        return _Content(
            kind="file", oid=oid, size=member.size, data=held.data, sha256=sha256.hexdigest(),
            executable=executable,
        )  # fmt: skip

    def _is_pointer(self, old: Entry, new: _Content) -> bool:
        """Whether the commit has but the digest of the very file, as git-lfs does it."""
        if old.kind != "file" or old.size > _LARGEST_POINTER or not new.sha256:
            return False
        found = _POINTER.match(self._read_blob(old.oid))
        return found is not None and found[1].decode() == new.sha256

    def _different(self, old: Entry, new: _Content) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The difference in words, and in lines where both are text."""
        if new.twin is not None:
            return (f"a hard link to {new.twin}",), ()
        if new.data is None or old.size > LARGEST:
            return (f"{_sizes(old, new)}, too large to compare lines",), ()
        before = self._read_blob(old.oid)
        if not (_is_text(before) and _is_text(new.data)):
            return (f"binary, {_sizes(old, new)}",), ()
        if before.replace(b"\r\n", b"\n") == new.data.replace(b"\r\n", b"\n"):
            return ("only the line endings differ",), ()
        return (), git_objects.unified_diff(before, new.data, self._scratch)


class _Content(Value, frozen=True, kw_only=True):
    """A file or link of the archive."""

    kind: Literal["file", "link"]
    oid: str
    size: int = 0
    data: bytes | None = None  # None: too large to be held
    sha256: str = ""
    twin: str | None = None  # another name of the same file
    executable: bool = False


class _Held:
    """Takes pieces of a file, and holds them if it is small."""

    def __init__(self, size: int) -> None:
        self._pieces: list[bytes] | None = [] if size <= LARGEST else None

    def update(self, piece: bytes) -> None:
        """Take a piece."""
        if self._pieces is not None:
            self._pieces.append(piece)

    @property
    def data(self) -> bytes | None:
        """All pieces; None for a large file."""
        return None if self._pieces is None else b"".join(self._pieces)


def _added(new: _Content) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if new.twin is not None:
        return (f"a hard link to {new.twin}",), ()
    facts = (*(["link"] if new.kind == "link" else []), *(["executable"] if new.executable else []))
    if new.data is None or not _is_text(new.data):
        what = "too large to show" if new.data is None else "binary"
        return (*facts, f"{what}, {in_bytes(new.size)}"), ()
    return facts or (in_bytes(new.size),), _all_added(new.data.decode())


def _all_added(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    lines = text.removesuffix("\n").split("\n")
    ending = () if text.endswith("\n") else ("\\ No newline at end of file",)
    return (f"@@ -0,0 +1,{len(lines)} @@", *(f"+{line}" for line in lines), *ending)


def _mode_facts(old: Entry, new: _Content) -> tuple[str, ...]:
    if old.kind != new.kind:
        return (f"was a {old.kind}, now a {new.kind}",)
    if old.executable != new.executable:
        return ("now executable" if new.executable else "no longer executable",)
    return ()


def _is_text(data: bytes) -> bool:
    if b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _sizes(old: Entry, new: _Content) -> str:
    return f"{in_bytes(old.size)}, now {in_bytes(new.size)}"


def in_bytes(size: int) -> str:
    """A size in words; the difference may be a single byte."""
    return f"{size} byte{'s' * (size != 1)}"
