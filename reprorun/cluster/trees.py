"""A directory in pieces of a tar, and back: links within it survive, nothing leads out of it.

What is in a record was made by an experiment. A pipe, a device or a link that leads out is not
sent, as it is no output; whoever unpacks refuses all that is not sent so.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterable, Iterator

from reprorun import files, streams
from reprorun.errors import RecordError

PIECE = 4 << 20  # bytes


def pack_tree(root: str) -> Iterator[bytes]:
    """A directory, or a single file, as a tar in pieces of about PIECE bytes.

    Raises:
        OSError: something can't be read, or changes while it is.
    """
    return _regrouped(_members(root), PIECE)


def unpack_tree(pieces: Iterable[bytes], directory: str) -> None:
    """Make what was packed in a new, empty directory.

    Args:
        pieces: as `pack_tree` gives them.
        directory: nobody else writes in it.

    Raises:
        RecordError: it is cut short, or holds what `pack_tree` never sends.
        OSError: the disk is full.
    """
    try:
        with streams.stream_tar(pieces) as tar:
            for member in tar:
                _make(tar, member, directory)
    except (tarfile.TarError, EOFError) as error:
        raise RecordError(f"what a node sent is cut short or damaged: {error}.") from error


# ---------------------------------------------------------------- packing


def _members(root: str) -> Iterator[bytes]:
    if os.path.isdir(root):
        twins: dict[tuple[int, int], str] = {}
        for path in _walk(root):
            yield from _member(path, os.path.relpath(path, root), root, twins)
    else:
        yield from _member(root, os.path.basename(root), os.path.dirname(root), {})
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _walk(root: str) -> Iterator[str]:
    """All below a directory; each directory before what is in it."""
    for directory, below, names in os.walk(root, onerror=_raise):
        below.sort()
        for name in sorted([*below, *names]):
            if not files.is_unfinished(name):
                yield os.path.join(directory, name)


def _member(path: str, name: str, root: str, twins: dict[tuple[int, int], str]) -> Iterator[bytes]:
    found = os.lstat(path)
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
    if stat.S_ISDIR(found.st_mode):
        member.type = tarfile.DIRTYPE
        yield _header(member)
    elif stat.S_ISLNK(found.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
        if _stays_inside(name, member.linkname):
            yield _header(member)
    elif stat.S_ISREG(found.st_mode):
        first = twins.setdefault((found.st_dev, found.st_ino), name)
        if first != name:
            member.type, member.linkname = tarfile.LNKTYPE, first
            yield _header(member)
        else:
            member.size = found.st_size
            yield _header(member)
            yield from _content(path, found.st_size)


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _content(path: str, size: int) -> Iterator[bytes]:
    left = size
    with open(path, "rb") as file:
        while left and (piece := file.read(min(left, files.READ_SIZE))):
            left -= len(piece)
            yield piece
    if left:
        raise OSError(0, "it has become shorter while it was read", path)
    yield b"\0" * (-size % tarfile.BLOCKSIZE)


def _regrouped(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of at least that size, but for the last."""
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) >= size:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


def _raise(error: OSError) -> None:
    raise error


# ---------------------------------------------------------------- unpacking


def _make(tar: tarfile.TarFile, member: tarfile.TarInfo, root: str) -> None:
    target = _place(member.name, root)
    try:
        if member.isdir():
            os.mkdir(target)
        elif member.issym():
            if not _stays_inside(member.name, member.linkname):
                raise _refused(member.name, "it is a link that leads out")
            os.symlink(member.linkname, target)
        elif member.islnk():
            _make_twin(member, target, root)
        elif member.isreg():
            _make_file(tar, member, target)
        else:
            raise _refused(member.name, "it is no regular file")
    except FileExistsError as error:
        raise _refused(member.name, "it is there twice") from error


def _place(name: str, root: str) -> str:
    """Where a member goes: below the root, and through no link."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise _refused(name, "its path may lead out")
    path = root
    for part in parts[:-1]:
        path = os.path.join(path, part)
        if os.path.islink(path) or not os.path.isdir(path):
            raise _refused(name, "what it should be in is no directory")
    return os.path.join(path, parts[-1])


def _make_twin(member: tarfile.TarInfo, target: str, root: str) -> None:
    first = _place(member.linkname, root)
    if os.path.islink(first) or not os.path.isfile(first):
        raise _refused(member.name, "it is a hard link to no file")
    os.link(first, target)


def _make_file(tar: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
    source = tar.extractfile(member)
    assert source is not None  # a regular file has content
    left = member.size
    with open(target, "xb") as file:
        while piece := source.read(files.READ_SIZE):
            left -= len(piece)
            file.write(piece)
        if left:
            raise tarfile.ReadError(f"{member.name!a} ends too early")
        os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)
    os.utime(target, (member.mtime, member.mtime))


def _stays_inside(name: str, leads_to: str) -> bool:
    """Whether a link leads to a place in the same tree, whatever other links there are."""
    depth = name.count("/")
    parts = leads_to.split("/")
    up = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    climbs_later = ".." in parts[up:]  # by way of another link, perhaps
    return (
        not leads_to.startswith("/") and "\0" not in leads_to and up <= depth and not climbs_later
    )


def _refused(name: str, why: str) -> RecordError:
    return RecordError(f"a node sent {name!a}, which is refused: {why}.")
