"""Unpacking what came out of a container: it is hostile, so nothing leaves the directory."""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
from collections.abc import Iterator
from typing import IO

from reprorun.model import LeftOut

_LARGEST_FILE = 1 << 43  # bytes

# What a name of a tar can do to a file system; anything else, such as a full disk, is an error.
_CANT_BE_MADE = (
    *(errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EILSEQ),
)


def extract(tar: tarfile.TarFile, root: str, below: str = "") -> list[LeftOut]:
    """Unpack a tar; nothing is made outside `root`.

    Files get the caller's ownership and lose setuid bits. Links that lead out of `root`, devices
    and pipes are not made but returned.

    Args:
        tar: read once, in order.
        root: the directory that nothing may leave.
        below: where in it the names of the tar start.
    """
    left_out: list[LeftOut] = []
    for member in _members(tar):
        name = os.path.normpath(os.path.join(below, member.name))
        try:
            reason = _extract_member(tar, member, name, root, below)
        except ValueError:  # a NUL in its name
            reason = "its name can't be a file's"
        except OSError as error:
            if error.errno not in _CANT_BE_MADE:
                raise
            reason = f"it can't be made: {error.strerror}"
        if reason:
            left_out.append(LeftOut(path=name, reason=reason))
    return left_out


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members. Sizes that no file has would be counted through, block by block."""
    try:
        for member in tar:
            if not 0 <= member.size <= _LARGEST_FILE:
                raise tarfile.ReadError(f"a file of {member.size} bytes")
            yield member
    except OverflowError as error:
        raise tarfile.ReadError(str(error)) from error


def _extract_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, root: str, below: str
) -> str | None:
    """Make one member; the reason, where it can't be."""
    target = os.path.normpath(os.path.join(root, name))
    if not _is_inside(target, root):
        return "its path leads out of the record"
    if _through_link(target, root):
        return "its path leads through a link"
    if member.isdir():
        os.makedirs(target, exist_ok=True)
        return None
    if not (member.isreg() or member.issym() or member.islnk()):
        return "not a regular file"
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.lexists(target):
        os.unlink(target)
    if member.issym():
        return _make_link(member.linkname, target, root)
    if member.islnk():
        return _copy_twin(os.path.join(root, below, member.linkname), target, root)
    source = tar.extractfile(member)
    assert source is not None  # a regular file has content
    with source:
        _write_file(source, target, 0o755 if member.mode & 0o100 else 0o644)
    return None


def _through_link(target: str, root: str) -> bool:
    path = root
    for part in os.path.relpath(os.path.dirname(target), root).split("/"):
        path = os.path.join(path, part)
        if os.path.islink(path):
            return True
    return False


def _make_link(linkname: str, target: str, root: str) -> str | None:
    reached = os.path.normpath(os.path.join(os.path.dirname(target), linkname))
    parts = linkname.split("/")
    climbs_later = ".." in parts[parts.count("..") :]  # by way of another link, perhaps
    if not _is_inside(reached, root) or climbs_later:
        return f"a link that leads out of the outputs (to {linkname})"
    os.symlink(linkname, target)
    return None


def _copy_twin(twin: str, target: str, root: str) -> str | None:
    """A hard link comes after its file in the tar: take that one's content."""
    twin = os.path.normpath(twin)
    if not _is_inside(twin, root) or _through_link(twin, root) or not os.path.isfile(twin):
        return "a hard link to something else than an output"
    if os.path.islink(twin):  # as a link it may lead elsewhere from here
        return _make_link(os.readlink(twin), target, root)
    shutil.copy2(twin, target)
    return None


def _is_inside(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _write_file(source: IO[bytes], target: str, mode: int) -> None:
    with open(target, "xb") as file:
        try:
            shutil.copyfileobj(source, file)
        except BaseException:
            os.unlink(target)  # half a file would be taken for an output
            raise
    os.chmod(target, mode)
