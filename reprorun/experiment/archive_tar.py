"""The tar of a tree: names, content and the owner's executable bit, and nothing else of a file."""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import Iterator, NamedTuple

from reprorun.experiment.git import RepositoryError
from reprorun.experiment.tree import Tree, parents_of

_MTIME = 315532800  # 1980-01-01 in seconds since 1970: the oldest date that zip files can hold
_BLOCK, _RECORD = 512, 10240  # bytes; a tar is padded to whole records
_FILE, _LINK, _DIRECTORY, _LONG_LINK, _LONG_NAME = b"0", b"2", b"5", b"K", b"L"
_LONGEST = 100  # bytes of a name that a header has room for
# name, mode, uid, gid, size, mtime, checksum, kind, target of a link, magic; the rest is empty
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s247x")
_CHECKSUM = 148  # where it stands
_NOBODY, _MAGIC = b"0000000\0", b"ustar  \0"


class Entry(NamedTuple):
    """One member of the tar: `content` is a link's target, a file's content, or nothing."""

    name: str
    kind: bytes
    mode: int
    content: bytes = b""


def tar_of(root: str, tree: Tree) -> Iterator[bytes]:
    """Reads the files of a tree.

    Not by tarfile, with which it all takes twice as long, and whose bytes differ between versions
    of Python. The format is GNU's.

    Args:
        root: The directory that the tree's paths are relative to.
        tree: What to keep. Files that have vanished since it was listed are skipped.

    Yields:
        The tar, in the order of the paths, parents first, part by part.

    Raises:
        RepositoryError: If a file can't be read.
    """
    size = 0
    for entry in _entries(root, tree):
        part = _packed(entry)
        size += len(part)
        yield part
    size += 2 * _BLOCK
    yield bytes(2 * _BLOCK + -size % _RECORD)


def _entries(root: str, tree: Tree) -> Iterator[Entry]:
    directories = _directories(tree)
    for name in sorted(directories.union(tree.files)):
        if name in directories:
            yield Entry(name + "/", _DIRECTORY, 0o755)
            continue
        entry = _file(root, name)
        if entry is not None:
            yield entry


def _directories(tree: Tree) -> set[str]:
    """Returns all parents of files, also of left-out ones, which can be mounted there."""
    return parents_of((*tree.files, *(out.path for out in tree.left_out if out.size is not None)))


def _file(root: str, name: str) -> Entry | None:
    """Returns a link or a file as it is now; None if it has vanished, or become something else."""
    path = os.path.join(root, name)
    try:
        mode, content = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RepositoryError(
            f"{path} can't be read: {error.strerror}; make it readable or let git ignore it"
        ) from None
    if stat.S_ISLNK(mode):
        return Entry(name, _LINK, 0o777, content)
    if not stat.S_ISREG(mode):
        return None
    return Entry(name, _FILE, 0o755 if mode & stat.S_IXUSR else 0o644, content)


def _read(path: str) -> tuple[int, bytes]:
    """Returns a file's mode and content: as a whole, so that one which is being written fits."""
    try:
        # Not blocking, in case that a FIFO has taken the file's place.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return stat.S_IFLNK, os.fsencode(os.readlink(path))
    with open(descriptor, "rb", buffering=0) as file:
        mode = os.fstat(descriptor).st_mode
        return mode, file.read() if stat.S_ISREG(mode) else b""


def _packed(entry: Entry) -> bytes:
    name = os.fsencode(entry.name)
    is_link = entry.kind == _LINK
    target, content = (entry.content, b"") if is_link else (b"", entry.content)
    long = _long(_LONG_LINK, target) + _long(_LONG_NAME, name)
    header = _header(name, entry.kind, entry.mode, len(content), _MTIME, target)
    return long + header + _padded(content)


def _long(kind: bytes, text: bytes) -> bytes:
    """What stands before a header that has no room for a name or a link's target."""
    if len(text) <= _LONGEST:
        return b""
    return _header(b"././@LongLink", kind, 0, len(text) + 1) + _padded(text + b"\0")


def _header(
    name: bytes, kind: bytes, mode: int, size: int, mtime: int = 0, target: bytes = b""
) -> bytes:
    header = _HEADER.pack(
        name[:_LONGEST],
        b"%07o\0" % mode,
        *(_NOBODY, _NOBODY),
        b"%011o\0" % size,
        b"%011o\0" % mtime,
        b" " * 8,  # the checksum, while it is computed
        kind,
        target[:_LONGEST],
        _MAGIC,
    )
    return header[:_CHECKSUM] + b"%06o\0 " % sum(header) + header[_CHECKSUM + 8 :]


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % _BLOCK)
