"""A log directory lent to another user, for a run whose uid is varied, and taken back afterwards.

The container's user is somebody else and in the group that the directory is lent to; what they make
in it belongs to that group, too. When the run has ended, copies take the place of what is theirs,
since only root can change the owner of a file.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from reprorun.model import ContainerSpec

_FOR_THE_GROUP = 0o2770  # and what is made in it is the group's, too
_BESIDE = ".reprorun-taken"


@contextmanager
def lent(log_dir: str, container: ContainerSpec) -> Iterator[None]:
    """Let the container's user write in the log directory while the block lasts.

    Nothing happens where that is the caller.

    Raises:
        OSError: what they left can't be taken over.
    """
    if not container.groups or container.user.partition(":")[0] == str(os.getuid()):
        yield  # groups alone are those of devices
        return
    before = stat.S_IMODE(os.stat(log_dir).st_mode)
    os.chown(log_dir, -1, int(container.groups[0]))
    os.chmod(log_dir, _FOR_THE_GROUP)
    try:
        yield
        _take(log_dir)  # not after an error: somebody may still be at work there
    finally:
        os.chmod(log_dir, before)


def take_back(log_dir: str, mode: int) -> None:
    """End what a process began that was killed meanwhile.

    Args:
        log_dir: the directory; nobody is at work there any more.
        mode: that it had before.

    Raises:
        OSError: what they left can't be taken over.
    """
    if stat.S_IMODE(os.stat(log_dir).st_mode) == _FOR_THE_GROUP != mode:
        _take(log_dir)
        os.chmod(log_dir, mode)


def _take(directory: str) -> None:
    """Make everything in a directory the caller's own."""
    me = os.geteuid()
    with os.scandir(directory) as entries:
        theirs = [entry for entry in entries if entry.stat(follow_symlinks=False).st_uid != me]
    for entry in theirs:
        beside = os.path.join(directory, f"{_BESIDE}-{os.urandom(8).hex()}")
        _copy(entry.path, beside)
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        os.replace(beside, entry.path)


def _copy(path: str, target: str) -> None:
    """Copy whatever it is. What has no content is moved: it stays theirs, and can be removed."""
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(path), target)
    elif stat.S_ISDIR(mode):
        os.mkdir(target)
        for name in os.listdir(path):
            _copy(os.path.join(path, name), os.path.join(target, name))
        os.chmod(target, mode & 0o755 | 0o700)
    elif stat.S_ISREG(mode):
        shutil.copyfile(path, target)
        os.chmod(target, mode & 0o755)
    else:
        os.rename(path, target)
