"""The launcher's repository: where it is, which commit, and which files a run keeps."""

from __future__ import annotations

import os
from typing import Iterable, NamedTuple

from reprorun.experiment import git, unchanged
from reprorun.experiment.atomic import is_unfinished
from reprorun.experiment.earlier_runs import EarlierRuns
from reprorun.experiment.git import RepositoryError
from reprorun.experiment.tree import LARGE_FILE, LeftOut, Tree, TreeBuilder

__all__ = [
    "LARGE_FILE",
    "LeftOut",
    "Repository",
    "RepositoryError",
    "Submodule",
    "Tree",
    "describe",
    "find_root",
    "list_directory",
    "list_tree",
]

_NOT_CHECKED_OUT = "submodule that is not checked out"
_LEFT_OUT_BY_NAME = {".git": "git's own data", "node_modules": "installed packages"}


class Submodule(NamedTuple):
    """A submodule: its path relative to the root, and the commit that is checked out there."""

    path: str
    commit: str


class Repository(NamedTuple):
    """What git says about a working tree.

    Args:
        root: The root of the working tree, an absolute path.
        commit: The commit that is checked out, None before the first one.
        dirty: Whether there are changes that are not committed.
        submodules: All submodules, also those inside others, by path.
    """

    root: str
    commit: str | None
    dirty: bool
    submodules: tuple[Submodule, ...]

    @property
    def githash(self) -> str | None:
        """The commit, with `-dirty` after it when there are changes; None before the first one."""
        if self.commit is None:
            return None
        return self.commit + "-dirty" if self.dirty else self.commit


def find_root(path: str) -> str | None:
    """Finds the repository that a file is in.

    Args:
        path: A file or a directory; it need not exist.

    Returns:
        The root of its working tree, an absolute path without symbolic links; None outside git.

    Raises:
        RepositoryError: If there is a repository that git refuses to read, or no git to read it.
    """
    directory = os.path.abspath(path)
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return git.top_level(directory)


def describe(root: str) -> Repository:
    """Asks git for the commit, for uncommitted changes and for submodules.

    Log directories of earlier runs are no changes, even where git tracks them.

    Args:
        root: The root of a working tree.

    Returns:
        The facts.

    Raises:
        RepositoryError: If git can't be asked.
    """
    runs = EarlierRuns(root)
    state = git.status(root)
    dirty = any(not (runs.containing(path) or is_unfinished(path)) for path in state.changed)
    submodules = []
    for entry in git.tracked(root):
        if entry.link is None or runs.containing(entry.path + "/"):
            continue
        if not _is_checkout(os.path.join(root, entry.path)):
            submodules.append(Submodule(entry.path, entry.link))
            continue
        inner = describe(os.path.join(root, entry.path))
        dirty = dirty or inner.dirty
        submodules.append(Submodule(entry.path, inner.commit or entry.link))
        submodules += [Submodule(f"{entry.path}/{sub}", commit) for sub, commit in inner.submodules]
    return Repository(root, state.commit, dirty, tuple(sorted(submodules)))


def list_tree(root: str, launcher: str | None = None) -> Tree:
    """Lists what a repository holds: tracked and untracked files, as they are on disk.

    Ignored files and deleted ones are no part of it. Files of submodules and of repositories
    inside the repository are.

    Args:
        root: The root of a working tree.
        launcher: The launcher's path relative to the root: kept even where git ignores it.

    Returns:
        The files to keep, and what had to be left out.

    Raises:
        RepositoryError: If git can't be asked, or a file can't be read.
    """
    look = unchanged.look_at(root, launcher)
    known = unchanged.recall(root, look) if look else None
    if known is not None:
        return known
    builder = TreeBuilder(root, look.runs if look else None)
    entries = git.tracked_and_new(root)
    _add_entries(builder, root, "", entries)
    if launcher is not None:
        builder.add_launcher(launcher)
    tree = builder.build()
    if look is None or not all(_is_watched(entry) for entry in entries):
        return tree
    tracked = [entry.path for entry in entries if entry.tag != "?"]
    return unchanged.keep(
        root, look, tree, newest=builder.newest, tracked=tracked, links=builder.links
    )


def list_directory(root: str) -> Tree:
    """Lists everything below a directory but caches, for code that is not in git.

    Args:
        root: A directory.

    Returns:
        The files to keep, and what had to be left out.

    Raises:
        RepositoryError: If a directory or a file can't be read.
    """
    builder = TreeBuilder(root)
    for directory, names, files in os.walk(root, onerror=_unreadable):
        prefix = os.path.relpath(directory, root) + "/" if directory != root else ""
        for name in files + [name for name in names if _is_link(directory, name)]:
            if name == ".git":
                builder.leave_out(prefix + name, _LEFT_OUT_BY_NAME[name])
            else:
                builder.add(prefix + name)
        names[:] = sorted(name for name in names if _to_enter(builder, prefix + name))
    return builder.build()


def _is_watched(entry: git.Listed) -> bool:
    """Says whether git would notice any change: it is told not to look at some, or never does."""
    return entry.tag in ("H", "?") and entry.link is None and not entry.path.endswith("/")


def _add_entries(
    builder: TreeBuilder, root: str, prefix: str, entries: Iterable[git.Listed]
) -> None:
    for entry in entries:
        if entry.link is None and not entry.path.endswith("/"):
            builder.add(prefix + entry.path)
        else:
            _add_inner_repository(builder, root, prefix + entry.path.rstrip("/"))


def _add_inner_repository(builder: TreeBuilder, root: str, path: str) -> None:
    """Adds the files of a submodule, or of a repository that merely lies inside another."""
    full = os.path.join(root, path)
    if os.path.islink(full) or os.path.isfile(full):
        builder.add(path)  # something else took the submodule's place
    elif not builder.enter(path):
        return
    elif _is_checkout(full):
        _add_entries(builder, root, path + "/", git.tracked_and_new(full))
    else:
        builder.leave_out(path + "/", _NOT_CHECKED_OUT)


def _is_checkout(directory: str) -> bool:
    """Says whether a directory has its own .git; git would else answer for the one around it."""
    return os.path.lexists(os.path.join(directory, ".git")) and not os.path.islink(directory)


def _to_enter(builder: TreeBuilder, path: str) -> bool:
    """Says whether the walk goes on into a directory; names it as left out where it doesn't."""
    name = os.path.basename(path)
    if name == "__pycache__" or not builder.enter(path):
        return False
    reason = _LEFT_OUT_BY_NAME.get(name)
    if os.path.lexists(os.path.join(builder.root, path, "pyvenv.cfg")):
        reason = "virtual environment"
    if reason:
        builder.leave_out(path + "/", reason)
    return reason is None


def _is_link(directory: str, name: str) -> bool:
    return os.path.islink(os.path.join(directory, name))


def _unreadable(error: OSError) -> None:
    raise RepositoryError(f"{error.filename} can't be read: {error.strerror}; try chmod or move it")
