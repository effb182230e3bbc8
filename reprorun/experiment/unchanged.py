"""Remembers how a working tree was listed, and says when it is still the same.

Python takes longer to look at thousands of files than git to list them. So git looks: its index
holds the size, inode and times (in seconds) of each file, and `git diff-files` names those that are
not like that any more. A note says which those were, with times to the nanosecond, and which files
were untracked. It is taken only when all of it is the same once more:

    the index                     the same file, not written since
    files unlike the index        the same ones, each with the same size, times and inode
    untracked files, launcher     the same
    log directories among them    the same
    links that lead out           the same ones

A note is written only when every file had been left alone for two seconds. A later change then has
a later time of change (ctime), which nothing can set back, so git sees it: also one that leaves
size and time of writing, or what git would commit, as it was. Where git does not look at a file, or
where the repository itself says how git is to look, there is no note.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from typing import Any, Iterable, NamedTuple

from reprorun.experiment import archive_cache, git
from reprorun.experiment.atomic import is_unfinished
from reprorun.experiment.earlier_runs import EarlierRuns
from reprorun.experiment.tree import EARLIER_RUN, LeftOut, Tree, leads_out, parents_of

_FORM = "1"  # of a note
# Settings by which a repository could say how git looks at its files, or at which.
_NOT_PLAIN = re.compile(rb"filter|include|worktree", re.IGNORECASE)


class Look(NamedTuple):
    """A working tree, as it looks from outside.

    Args:
        name: Of the note on it.
        note: What the note says; empty if there is none.
        files: Those that it names.
        seen: What git says is not as in its index; equal for equal looks.
        began: When the look began, in nanoseconds since 1970.
        newest: The latest time of the files that were looked at.
        runs: The log directories of earlier runs.
        found: Those of them that hold files which git lists, as far as is known.
    """

    name: str
    note: dict[str, Any]
    files: list[str]
    seen: str
    began: int
    newest: int
    runs: EarlierRuns
    found: set[str]


def look_at(root: str, launcher: str | None) -> Look | None:
    """Asks git what is not as in its index.

    Args:
        root: The root of a working tree.
        launcher: The launcher's path relative to it.

    Returns:
        How the tree looks; None where that can't be told.
    """
    began = time.time_ns()
    index = _index(root)
    if index is None:
        return None
    name = _digest([_FORM, root, launcher, index]) + ".tree"
    runs = EarlierRuns(root)
    with git.changes(root) as answer:
        note, files = _read(name)
        found = set(_runs_among(note.get("directories", ()), runs))
        changed = answer()
    if changed is None or _index(root) != index:  # the answer may be about a later one
        return None
    beside = {launcher} if launcher else set()
    for path in changed:
        run = runs.containing(path)
        if run is not None:
            found.add(run)
        elif path.endswith("/"):
            return None  # a repository inside this one: it has an index of its own
        elif not is_unfinished(path):
            beside.add(path)
    facts = {path: _facts(os.path.join(root, path)) for path in sorted(beside)}
    place = os.path.realpath(os.path.dirname(os.path.join(root, launcher or "")))
    newest = max(max(times[:2], default=0) for times in (index, *facts.values()))
    return Look(name, note, files, _digest([facts, place]), began, newest, runs, found)


def recall(root: str, look: Look) -> Tree | None:
    """Returns a tree as it was listed before; None where it wasn't, or may be another by now."""
    note = look.note
    try:
        runs = _runs_among(note["directories"], look.runs)
        if (note["seen"], note["runs"]) != (look.seen, runs):
            return None
        if note["leading out"] != _leading_out(root, note["links"]):
            return None
        left_out = [LeftOut(*entry) for entry in note["left out"]]
        left_out += [LeftOut(run + "/", None, None, EARLIER_RUN) for run in look.found]
        return Tree(tuple(look.files), tuple(sorted(left_out)), _state(look.name, note))
    except (KeyError, TypeError, OSError):
        return None  # there is no note of ours; a link is gone


def keep(
    root: str, look: Look, tree: Tree, *, newest: int, tracked: Iterable[str], links: Iterable[str]
) -> Tree:
    """Writes a note on a tree, if it has been left alone for long enough.

    Args:
        root: The root of the working tree.
        look: At it, before it was listed.
        tree: What was found.
        newest: The latest time of all of its files.
        tracked: The paths that git tracks.
        links: Those of its files that are symbolic links.

    Returns:
        The tree; it has a state if there is a note.
    """
    if not tree.files or max(newest, look.newest) >= look.began - archive_cache.SETTLED:
        return tree
    directories = sorted(parents_of(tracked))
    links = sorted(links)
    note = {
        "seen": look.seen,
        "directories": directories,
        "runs": _runs_among(directories, look.runs),
        "links": links,
        "leading out": _leading_out(root, links),
        "left out": [entry for entry in tree.left_out if entry.reason != EARLIER_RUN],
    }
    # The files by themselves: there may be thousands, and JSON takes its time.
    content = json.dumps(note).encode("ascii") + b"\n" + os.fsencode("\0".join(tree.files))
    archive_cache.put(look.name, content)
    return tree._replace(state=_state(look.name, note))


def _index(root: str) -> list[int] | None:
    """What git's index looks like; None unless the repository is a plain one."""
    try:
        with open(os.path.join(root, ".git", "config"), "rb") as file:
            plain = not _NOT_PLAIN.search(file.read())
    except OSError:
        return None
    return (_facts(os.path.join(root, ".git", "index")) or None) if plain else None


def _facts(path: str) -> list[int]:
    """The times of a file first; nothing if there is no such file."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_mode, found.st_ino]


def _runs_among(directories: Iterable[str], runs: EarlierRuns) -> list[str]:
    """The outermost log directories that some directories are, or are in."""
    return sorted({run for run in (runs.containing(path + "/") for path in directories) if run})


def _leading_out(root: str, links: Iterable[str]) -> list[list[str]]:
    found = [[path, leads_out(root, path) or ""] for path in links]
    return [[path, target] for path, target in found if target]


def _read(name: str) -> tuple[dict[str, Any], list[str]]:
    """The note of that name, and the files that it names; nothing where there is none."""
    head, _, files = archive_cache.get(name).partition(b"\n")
    try:
        note = json.loads(head)
    except ValueError:
        return {}, []
    return (note, os.fsdecode(files).split("\0")) if isinstance(note, dict) else ({}, [])


def _state(name: str, note: dict[str, Any]) -> str:
    """Equal for equal content of all files: the rest of a note follows from this."""
    return _digest([name, note["seen"], note["runs"], note["leading out"]])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode("ascii")).hexdigest()
