"""Brings the files that a run made or changed in its working tree out into its record.

The container's main process does this when the command has ended: it is there already, and engines
take long to say what changed. Where it can't (it was killed too), the host asks the engine.
"""

from __future__ import annotations

import os
import stat

from reprorun.experiment.sparse import copy_with_holes, is_sparse, too_sparse

TYPE_CHECKING = False  # typing's own costs an import
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Set, Tuple

_MOUNTS = "/proc/self/mountinfo"


def bring_out(root: str, outputs: str, since: int) -> List[Dict[str, str]]:
    """Copies what has changed into another directory, at the same relative paths.

    Args:
        root: The working tree.
        outputs: Where the copies go. It is made when there is something to copy.
        since: The time from which on a change counts, in nanoseconds, by the coarse clock.

    Returns:
        What was left behind: pipes and the like, and links that lead out of the working tree;
        each with its `path`, relative to that, and the `reason`.

    Raises:
        OSError: A file could not be read or written; the disk may be full.
    """
    not_kept = []
    for path, found in _changed(root, since, _mounted()):
        inside = os.path.relpath(path, root)
        reason = _copy(path, found, os.path.join(outputs, inside), root)
        if reason:
            not_kept.append({"path": inside, "reason": reason})
    return not_kept


def _changed(directory: str, since: int, mounted: Set[str]) -> Iterator[Tuple[str, os.stat_result]]:
    """All that is no directory and whose inode changed; a program can't set that time back."""
    for name in sorted(_names(directory)):
        path = os.path.join(directory, name)
        found = os.lstat(path)
        if path in mounted:
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from _changed(path, since, mounted)
        elif found.st_ctime_ns >= since:
            yield path, found


def _names(directory: str) -> List[str]:
    try:
        return os.listdir(directory)
    except PermissionError:
        os.chmod(directory, 0o700)
        return os.listdir(directory)


def _mounted() -> Set[str]:
    """Where something else is mounted: inputs are not outputs."""
    with open(_MOUNTS, "rb") as file:
        points = [line.split(b" ")[4] for line in file]
    return {os.fsdecode(_unescape(point)) for point in points}


def _unescape(point: bytes) -> bytes:
    """Takes back what the kernel wrote in place of blanks, line breaks and backslashes."""
    for code, character in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n")):
        point = point.replace(code, character)
    return point.replace(b"\\134", b"\\")


def _copy(path: str, found: os.stat_result, target: str, root: str) -> str:
    """Copies one file or link; the reason where it can't be, else an empty string."""
    if stat.S_ISLNK(found.st_mode):
        return _copy_link(path, target, root)
    if not stat.S_ISREG(found.st_mode):
        return "not a regular file"
    if not os.access(path, os.R_OK):
        os.chmod(path, 0o600)
    sparse = is_sparse(found)
    reason = too_sparse(path, found) if sparse else ""
    if reason:
        return reason
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if sparse:
        copy_with_holes(path, target)
    else:
        import shutil  # only where there is something to copy: it takes longer than the rest

        shutil.copyfile(path, target)
    os.chmod(target, 0o755 if found.st_mode & 0o100 else 0o644)
    return ""


def _copy_link(path: str, target: str, root: str) -> str:
    leads_to = os.readlink(path)
    reached = os.path.normpath(os.path.join(os.path.dirname(path), leads_to))
    if os.path.isabs(leads_to) or not reached.startswith(root + "/"):
        return "a link that leads out of the working tree (to {})".format(leads_to)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.lexists(target):
        os.unlink(target)
    os.symlink(leads_to, target)
    return ""
