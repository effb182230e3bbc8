"""Recognises the log directories of earlier runs, which are no part of the code.

Were they a part of it, every run would change the code of the next one.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any

_METADATA_KEYS = {"githash", "launcher"}
_LARGEST_MARKER = 64 * 2**20  # bytes; a run.json lists outputs and may grow, but not so far


class EarlierRuns:
    """The log directories below one root; remembers what it has looked at.

    Args:
        root: The directory that all paths are relative to. It is never one itself.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._outermost: dict[str, str | None] = {"": None}

    def containing(self, path: str) -> str | None:
        """Returns the outermost log directory that a path is in.

        Args:
            path: A path relative to the root; with a slash at its end it may be one itself.

        Returns:
            Its path relative to the root, or None.
        """
        return self._above(os.path.dirname(path))

    def _above(self, directory: str) -> str | None:
        if directory not in self._outermost:
            found = self._above(os.path.dirname(directory))
            if found is None and is_log_directory(os.path.join(self._root, directory)):
                found = directory
            self._outermost[directory] = found
        return self._outermost[directory]


def is_log_directory(directory: str) -> bool:
    """Says whether a directory directly holds what only a run or a sweep writes.

    Args:
        directory: The path of a directory.

    Returns:
        True if its metadata.json, run.json or sweep.json is one of ours (or of garage's).
    """
    metadata = _read_object(os.path.join(directory, "metadata.json"))
    if metadata is not None and _METADATA_KEYS.issuperset(metadata):
        if "launcher" in metadata:
            return True
        if not metadata and os.path.lexists(os.path.join(directory, "variant.json")):
            return True
    marked = (_read_object(os.path.join(directory, name)) for name in ("run.json", "sweep.json"))
    return any(found is not None and "reprorun" in found for found in marked)


def _read_object(path: str) -> dict[str, Any] | None:
    """Returns the JSON object in a regular file; None for everything else."""
    if not os.access(path, os.F_OK):  # most often; an exception takes three times as long
        return None
    try:
        # Not blocking: a FIFO of that name would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST_MARKER:
            return None
        try:
            value = json.loads(file.read())
        except (OSError, ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None
