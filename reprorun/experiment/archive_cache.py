"""Launch archives that were made before, found by the state of the files that they hold.

    XDG_CACHE_HOME/reprorun/archives/DIGEST.tar.xz    an archive
    XDG_CACHE_HOME/reprorun/archives/STATE.state      the digest of the one for that state

The state is what git, too, knows changed files by: size, times and inode. A file whose times are
recent may change once more without its times showing that; then nothing is kept.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from typing import BinaryIO, NamedTuple

from reprorun.experiment.atomic import replacing
from reprorun.experiment.git import RepositoryError
from reprorun.experiment.tree import Tree, hash_file

MOST = 20  # archives that are kept, the newest
SETTLED = 2 * 10**9  # nanoseconds; some file systems count no finer
_AT_ONCE = 1 << 30  # bytes
_DIGEST = re.compile("[0-9a-f]{64}")


class State(NamedTuple):
    """What a tree's files look like from outside.

    Args:
        key: Equal for equal files; hexadecimal.
        settled: Whether a later change of any file would show in its times.
    """

    key: str
    settled: bool


def state_of(root: str, tree: Tree, kind: str) -> State:
    """Looks at the files of a tree without reading them.

    Args:
        root: The directory that the tree's paths are relative to.
        tree: What an archive is made of.
        kind: What else the archive's bytes depend on.

    Returns:
        Their state.
    """
    began = time.time_ns()
    newest = 0
    digest = hashlib.sha256(os.fsencode("%s\0%s\0" % (kind, root)))
    for left_out in tree.left_out:
        digest.update(os.fsencode("%s\0%s\0" % (left_out.path, left_out.size is not None)))
    for name in tree.files:
        try:
            found = os.lstat(os.path.join(root, name))
        except OSError:  # gone meanwhile, or it can't be read: whoever reads it says so
            newest = began
            continue
        newest = max(newest, found.st_ctime_ns, found.st_mtime_ns)
        facts = (found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        digest.update(os.fsencode("%s\0%d %d %d %d %d\0" % (name, *facts)))
    return State(digest.hexdigest(), newest < began - SETTLED)


def recall(state: State, path: str) -> str:
    """Copies the archive of a state, if there is one.

    Args:
        state: Of the files as they are now.
        path: Where the archive goes.

    Returns:
        Its sha256 in hexadecimal; an empty string where there is none, or it is damaged.
    """
    try:
        with open(_state_file(state), encoding="ascii") as file:
            digest = file.read()
        if not _DIGEST.fullmatch(digest):
            return ""
        kept = _archive_file(digest)
        with open(kept, "rb") as source, replacing(path) as target:
            _copy(source, target)
        if hash_file(path) == digest:
            return digest
        os.unlink(kept)
    except (OSError, ValueError, RepositoryError):
        pass  # nobody has made it yet, or it can't be read
    return ""


def keep(state: State, path: str, digest: str) -> None:
    """Keeps an archive for the next time; where that can't be done, it is made anew then.

    Args:
        state: Of the files before they were read.
        path: Of the archive.
        digest: Its sha256 in hexadecimal.
    """
    if not state.settled:
        return
    try:
        os.makedirs(_directory(), exist_ok=True)
        kept = _archive_file(digest)
        if not os.path.exists(kept):
            unfinished = "{}.{}".format(kept, os.urandom(4).hex())
            shutil.copyfile(path, unfinished)
            os.replace(unfinished, kept)
        with open(_state_file(state), "w", encoding="ascii") as file:
            file.write(digest)
        _forget_oldest()
    except OSError:
        pass  # a full disk, or no place for it: no reason not to run


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    """Copies a file; where the file system can share its blocks, it does."""
    try:
        while os.copy_file_range(source.fileno(), target.fileno(), _AT_ONCE):
            pass
    except (AttributeError, OSError):  # not here, or not from one file system to another
        source.seek(0)
        target.seek(0)
        shutil.copyfileobj(source, target)


def _forget_oldest() -> None:
    for ending in (".tar.xz", ".state"):
        found = [entry for entry in os.scandir(_directory()) if entry.name.endswith(ending)]
        found.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
        for entry in found[MOST:]:
            os.unlink(entry.path)


def _state_file(state: State) -> str:
    return os.path.join(_directory(), state.key + ".state")


def _archive_file(digest: str) -> str:
    return os.path.join(_directory(), digest + ".tar.xz")


def _directory() -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "reprorun", "archives")
