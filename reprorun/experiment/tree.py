"""Which files of a directory are kept, decided one path at a time."""

from __future__ import annotations

import os
import stat
from typing import Iterable, NamedTuple

from reprorun.experiment.atomic import is_unfinished
from reprorun.experiment.earlier_runs import EarlierRuns
from reprorun.experiment.git import RepositoryError

LARGE_FILE = 8 * 2**20
"""Files of this size (in bytes) and more are named, with their digest, and not kept."""

_LARGE = "8 MiB or larger"
EARLIER_RUN = "log directory of an earlier run"
_LINK_OUT = "a link that leads out of the repository (to {}): what lies there is not kept"


class LeftOut(NamedTuple):
    """Something of the working tree that is not kept.

    Args:
        path: Relative to the root; a directory ends in a slash.
        size: In bytes, for a regular file.
        sha256: Hexadecimal, for a regular file.
        reason: Why, a few words.
    """

    path: str
    size: int | None
    sha256: str | None
    reason: str


class Tree(NamedTuple):
    """The files to keep and what is left out: paths relative to the root, with '/', sorted.

    Args:
        files: What is kept.
        left_out: What is not.
        state: Equal for equal content of all files; empty where that is not known. Hexadecimal.
    """

    files: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    state: str = ""


class TreeBuilder:
    """Takes paths one by one and sorts them into kept and left out.

    Args:
        root: The directory that all paths are relative to.
        runs: The log directories below it, if somebody has looked for them already.

    Attributes:
        newest: The latest time of all files so far, in nanoseconds since 1970.
        links: The symbolic links among those that are kept.
    """

    def __init__(self, root: str, runs: EarlierRuns | None = None) -> None:
        self.root = root
        self.newest = 0
        self.links: list[str] = []
        self._runs = runs or EarlierRuns(root)
        self._files: set[str] = set()
        self._left_out: dict[str, LeftOut] = {}
        self._reached_by_link: dict[str, bool] = {"": False}

    def add(self, path: str) -> None:
        """Keeps a file, unless it is gone, belongs to an earlier run, or must be left out."""
        if not is_unfinished(path) and self._outside_earlier_runs(path):
            self._sort_in(path)

    def add_launcher(self, path: str) -> None:
        """Keeps the launcher, wherever it is."""
        if os.path.isabs(path) or ".." in path.split("/"):
            raise RepositoryError(f"the launcher {path} is outside {self.root}; it must be inside")
        self._sort_in(path)

    def enter(self, directory: str) -> bool:
        """Says whether to list a directory: a real one, and not of an earlier run."""
        return not self._is_reached_by_link(directory) and self._outside_earlier_runs(
            directory + "/"
        )

    def leave_out(
        self, path: str, reason: str, size: int | None = None, sha256: str | None = None
    ) -> None:
        """Names something that is not kept."""
        self._left_out[path] = LeftOut(path, size, sha256, reason)

    def build(self) -> Tree:
        """Returns everything that was sorted in so far."""
        return Tree(tuple(sorted(self._files)), tuple(sorted(self._left_out.values())))

    def _outside_earlier_runs(self, path: str) -> bool:
        run = self._runs.containing(path)
        if run is not None:
            self.leave_out(run + "/", EARLIER_RUN)
        return run is None

    def _sort_in(self, path: str) -> None:
        full = os.path.join(self.root, path)
        try:
            facts = os.lstat(full)
        except (FileNotFoundError, NotADirectoryError):
            return  # deleted
        except OSError as error:
            raise _unreadable(full, error) from None
        # git lists `a/b` still when `a` is a link by now; whoever unpacks both would follow it.
        if self._is_reached_by_link(os.path.dirname(path)) or stat.S_ISDIR(facts.st_mode):
            return
        self.newest = max(self.newest, facts.st_ctime_ns, facts.st_mtime_ns)
        if stat.S_ISLNK(facts.st_mode):
            self._add_link(path)
        elif not stat.S_ISREG(facts.st_mode):
            self.leave_out(path, f"special file ({_kind(facts.st_mode)})")
        elif not os.access(full, os.R_OK):
            raise _unreadable(full, PermissionError(0, "permission denied"))
        elif facts.st_size >= LARGE_FILE:
            self.leave_out(path, _LARGE, *_size_and_sha256(full))
        else:
            self._files.add(path)

    def _add_link(self, path: str) -> None:
        """Keeps a link; what it leads to is kept only where that is part of the tree."""
        self._files.add(path)
        self.links.append(path)
        target = leads_out(self.root, path)
        if target is not None:
            self.leave_out(path, _LINK_OUT.format(target))

    def _is_reached_by_link(self, directory: str) -> bool:
        if directory not in self._reached_by_link:
            self._reached_by_link[directory] = self._is_reached_by_link(
                os.path.dirname(directory)
            ) or os.path.islink(os.path.join(self.root, directory))
        return self._reached_by_link[directory]


def parents_of(paths: Iterable[str]) -> set[str]:
    """Returns the directories that the paths are in, up to the root, which is not among them."""
    found: set[str] = set()
    for path in paths:
        parent = os.path.dirname(path)
        while parent and parent not in found:
            found.add(parent)
            parent = os.path.dirname(parent)
    return found


def leads_out(root: str, path: str) -> str | None:
    """Returns the target of a symbolic link that leads out of the root; None if it doesn't."""
    full = os.path.join(root, path)
    target = os.readlink(full)
    inside = os.path.relpath(os.path.realpath(full), os.path.realpath(root))
    # an absolute one leads elsewhere in a container, also where it leads inside here
    leads = os.path.isabs(target) or inside.split(os.sep)[0] == os.pardir
    return target if leads else None


def hash_file(path: str) -> str:
    """Returns the SHA-256 of a file in hexadecimal, reading it piece by piece."""
    return _size_and_sha256(path)[1]


def _size_and_sha256(path: str) -> tuple[int, str]:
    """Returns how many bytes were read, and their digest: the two belong together."""
    import hashlib

    digest, size = hashlib.sha256(), 0
    try:
        with open(path, "rb") as file:
            while True:
                piece = file.read(2**20)
                if not piece:
                    return size, digest.hexdigest()
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> RepositoryError:
    return RepositoryError(
        f"{path} can't be read: {error.strerror}; make it readable or let git ignore it"
    )


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"
