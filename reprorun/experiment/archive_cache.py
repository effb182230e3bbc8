"""Launch archives that were made before, and what is remembered of the trees that they hold.

    XDG_CACHE_HOME/reprorun/archives/DIGEST.tar.xz    an archive, for nobody to write
    XDG_CACHE_HOME/reprorun/archives/STATE.state      the digest of the one for that state
    XDG_CACHE_HOME/reprorun/archives/LOOK.tree        how a tree was listed: see `unchanged`

The state of a tree is what git, too, knows changed files by: size, times and inode. A file whose
times are recent may change once more without its times showing that; then nothing is kept.

A record's archive is a hard link to the one that is kept: all runs of the same code share it. Its
mode tells everybody not to write. In a container, where hostile code may be the file's owner, it is
mounted for reading only.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from typing import NamedTuple

from reprorun.experiment.atomic import replacing, unfinished_beside
from reprorun.experiment.git import RepositoryError
from reprorun.experiment.tree import Tree, hash_file

MOST = 20  # archives that are kept, and as many notes: the newest
SETTLED = 2 * 10**9  # nanoseconds; git and some file systems count whole seconds
_READ_ONLY = 0o444
_AT_ONCE = 1 << 30  # bytes
_ARCHIVE, _STATE = ".tar.xz", ".state"
_NOTE = re.compile(rb"([0-9a-f]{64}) ([0-9]+ [0-9]+ [0-9]+)\n")


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
    if tree.state:
        return State(hashlib.sha256(f"{kind}\0{tree.state}".encode("ascii")).hexdigest(), True)
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
    """Takes the archive of a state, if there is one.

    Its content is read only when the file is not any more the one that was kept, by its size, time
    and inode.

    Args:
        state: Of the files as they are now.
        path: Where the archive goes.

    Returns:
        Its sha256 in hexadecimal; an empty string where there is none, or it is damaged.
    """
    note = _NOTE.fullmatch(get(state.key + _STATE))
    if not note:
        return ""
    digest, facts = (group.decode("ascii") for group in note.groups())
    try:
        kept = _archive(digest)
        if _facts(kept) != facts or not os.access(kept, os.R_OK):
            if not _is_whole(kept, digest):
                return ""
            _remember(state, digest)
        _share(kept, path)
    except (OSError, RepositoryError):
        return ""  # it can't be read, or written
    return digest


def keep(state: State, path: str, digest: str) -> None:
    """Keeps an archive for the next time; where that can't be done, it is made anew then.

    Args:
        state: Of the files before they were read.
        path: Of the archive; from now on it may be the one that is kept.
        digest: Its sha256 in hexadecimal.
    """
    if not state.settled:
        return
    try:
        os.makedirs(_directory(), exist_ok=True)
        kept = _archive(digest)
        if _is_whole(kept, digest):
            _share(kept, path)
        else:
            _share(path, kept)
            _forget_oldest(_ARCHIVE)
        _remember(state, digest)
    except (OSError, RepositoryError):
        pass  # a full disk, or no place for it: no reason not to run


def place(source: str, digest: str, path: str) -> bool:
    """Puts an archive into a record, so that all records of the same code share it.

    Args:
        source: The archive. It stays as it is: others may write it.
        digest: Its sha256 in hexadecimal.
        path: Where it goes.

    Returns:
        Whether it is there; there may be no place to keep it, or the source may be another by now.
    """
    try:
        os.makedirs(_directory(), exist_ok=True)
        kept = _archive(digest)
        if not _is_whole(kept, digest):
            _copy(source, kept)
            if not _is_whole(kept, digest):
                return False
            _forget_oldest(_ARCHIVE)
        _share(kept, path)
    except (OSError, RepositoryError):
        return False
    return True


def named_in(note: str) -> str:
    """Returns the digest of the archive that a state's note names; nothing where it names none."""
    found = _NOTE.fullmatch(get(os.path.basename(note)))
    return found.group(1).decode("ascii") if found else ""


def get(name: str) -> bytes:
    """Returns what a note says; nothing where there is none, or it is not what it was."""
    try:
        with open(os.path.join(_directory(), name), "rb") as file:
            seal, _, content = file.read().partition(b"\n")
    except OSError:
        return b""
    return content if seal == _seal(content) else b""


def put(name: str, content: bytes) -> None:
    """Writes a note; where that can't be done, there is none.

    Args:
        name: Of the note.
        content: What it says.
    """
    try:
        os.makedirs(_directory(), exist_ok=True)
        path = os.path.join(_directory(), name)
        beside = unfinished_beside(path)
        try:
            with open(beside, "xb") as file:
                file.write(_seal(content) + b"\n" + content)
            os.replace(beside, path)
        finally:
            if os.path.lexists(beside):
                os.unlink(beside)
        _forget_oldest(os.path.splitext(name)[1])
    except OSError:
        pass  # a full disk, or no place for it: no reason not to run


def _seal(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode("ascii")


def _is_whole(kept: str, digest: str) -> bool:
    """Says whether an archive is kept; removes one that is damaged."""
    if not os.path.exists(kept):
        return False
    if hash_file(kept) == digest:
        return True
    os.unlink(kept)
    return False


def _share(source: str, target: str) -> None:
    """Makes a hard link to an archive that nobody is to write from now on; else a copy."""
    try:
        _link(source, target)
    except OSError as error:
        _copy(source, target)  # another file system, or one without links
        if error.errno == errno.EMLINK:  # as many records have it as can be: begin with this one
            _link(target, source)


def _link(source: str, target: str) -> None:
    """Puts a link in the place of what is there. Not synced: the record that names it will be."""
    beside = unfinished_beside(target)
    os.link(source, beside)
    try:
        if os.stat(source).st_mode & 0o222:
            os.chmod(source, _READ_ONLY)
        os.replace(beside, target)
    finally:
        if os.path.lexists(beside):  # also when the two were the same file already
            os.unlink(beside)


def _copy(source: str, target: str) -> None:
    """Copies a file that nobody is to write; its blocks are shared where that can be."""
    with open(source, "rb") as old, replacing(target) as new:
        os.fchmod(new.fileno(), _READ_ONLY)
        try:
            while os.copy_file_range(old.fileno(), new.fileno(), _AT_ONCE):
                pass
        except (AttributeError, OSError):  # not here, or not from one file system to another
            old.seek(0)
            new.seek(0)
            shutil.copyfileobj(old, new)


def _remember(state: State, digest: str) -> None:
    put(state.key + _STATE, f"{digest} {_facts(_archive(digest))}\n".encode("ascii"))


def _facts(path: str) -> str:
    """What shows that a file is another. Its time of change does not: that is the last link's."""
    found = os.stat(path)
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"


def _forget_oldest(ending: str) -> None:
    found = [entry for entry in os.scandir(_directory()) if entry.name.endswith(ending)]
    found.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
    for entry in found[MOST:]:
        os.unlink(entry.path)


def _archive(digest: str) -> str:
    return os.path.join(_directory(), digest + _ARCHIVE)


def _directory() -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "reprorun", "archives")
