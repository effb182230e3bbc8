"""Moves the working tree of a run elsewhere, to find out whether its path makes a difference."""

from __future__ import annotations

import json
import os
import shutil
import time

from reprorun.experiment.bring_out import _mounted as mounted
from reprorun.experiment.guest import VARIABLE

TYPE_CHECKING = False  # typing's own costs an import
if TYPE_CHECKING:
    from typing import List, Set

TICK = 0.02  # seconds; longer than one of the clock that files' times are taken from


def move(target: str, command: List[str]) -> List[str]:
    """Copies the working tree, goes there, and tells the run that it is there.

    What is mounted in the tree, as inputs are, can't be moved: a link takes its place.

    Args:
        target: Where the tree shall be.
        command: The run's.

    Returns:
        The command, with the paths of the tree in it changed.
    """
    told = json.loads(os.environ[VARIABLE])
    root = told["root"]
    _copy(root, target, mounted())
    os.environ[VARIABLE] = json.dumps({**told, "root": target})
    os.chdir(elsewhere(os.getcwd(), root, target))
    time.sleep(TICK)  # what is copied is older than what the run makes
    return [elsewhere(word, root, target) for word in command]


def elsewhere(path: str, root: str, target: str) -> str:
    """A path, with the tree at another place; what lies outside it stays."""
    inside = path == root or path.startswith(root + "/")
    return target + path[len(root) :] if inside else path


def _copy(source: str, target: str, points: Set[str]) -> None:
    os.mkdir(target)
    for entry in os.scandir(source):
        copy = os.path.join(target, entry.name)
        if entry.path in points:
            os.symlink(entry.path, copy)
        elif entry.is_symlink():
            os.symlink(os.readlink(entry.path), copy)
        elif entry.is_dir():
            _copy(entry.path, copy, points)
        else:
            shutil.copy2(entry.path, copy)
