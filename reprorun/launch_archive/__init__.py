"""Reading a launch archive that may be hostile: the first member that is not right is refused.

Archives are tar.xz as reprorun writes them, or GNU tar for garage. What comes out has been checked:
names are relative and normalized, nothing leads out of the tree, and owners are gone.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from reprorun.errors import RecordError
from reprorun.launch_archive.tar import GuardedTar
from reprorun.launch_archive.tree import ArchiveLimits
from reprorun.launch_archive.xz import Unpacked
from reprorun.model import Value

__all__ = ["ArchiveLimits", "ArchiveListing", "guarded", "list_archive"]

_DEFAULT = ArchiveLimits()


class ArchiveListing(Value, frozen=True, kw_only=True):
    """What an archive holds."""

    files: tuple[str, ...]  # names relative to the root, sorted; links among them
    size: int  # bytes of the files' content
    newest: int | None  # when the newest file was changed, in seconds since 1970
    links_out: tuple[str, ...] = ()  # symbolic links that lead out of the tree


@contextmanager
def guarded(
    path: str, limits: ArchiveLimits = _DEFAULT, *, links_out: Collection[str] | None = ()
) -> Iterator[GuardedTar]:
    """Open a launch archive for reading once, from the first member to the last.

    Each member has been checked when it comes; those before a bad one are handed out. Iterate to
    the end to know that the archive is whole.

    Args:
        path: the archive.
        limits: how much it may hold.
        links_out: names of symbolic links that may lead out of the tree; None: any may.

    Raises:
        RecordError: it can't be read, is cut short or holds what no launch archive holds; from the
            iteration and from reading a member, too.
    """
    try:
        if not os.path.isfile(path):  # a pipe in its place would be waited for
            raise RecordError(f"the launch archive {path} is not there, or is no file.")
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise RecordError(f"the launch archive {path} can't be read: {error.strerror}.") from error
    with file, GuardedTar(path, Unpacked(file, path), limits, links_out) as tar:
        yield tar


def list_archive(
    path: str, limits: ArchiveLimits = _DEFAULT, *, links_out: Collection[str] | None = ()
) -> ArchiveListing:
    """What a launch archive holds, with all of it read and checked.

    Args:
        path: the archive.
        limits: how much it may hold.
        links_out: names of symbolic links that may lead out of the tree; None: any may.

    Raises:
        RecordError: as `guarded`.
    """
    with guarded(path, limits, links_out=links_out) as tar:
        found = [(m.name, m.size, int(m.mtime)) for m in tar if not m.isdir()]
        links = tar.links_out
    return ArchiveListing(
        files=tuple(sorted(name for name, _, _ in found)),
        size=sum(size for _, size, _ in found),
        newest=max((mtime for _, _, mtime in found), default=None),
        links_out=links,
    )
