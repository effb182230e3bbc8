"""Writes files so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import BinaryIO, Iterator

_PREFIX, _SUFFIX = ".reprorun-", ".tmp"


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """Opens a file that takes the place of another when the block ends without an error.

    Args:
        path: The file to replace. Its directory must exist.

    Yields:
        A binary file beside it. It is removed again when the block raises.
    """
    directory = os.path.dirname(path) or "."
    unfinished = os.path.join(directory, f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}")
    try:
        # Not tempfile: that makes files which only their owner may read.
        with open(unfinished, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        _remove(unfinished)
        raise
    _sync_directory(directory)


def is_unfinished(path: str) -> bool:
    """Says whether a file is one of our writes in flight (or what a killed one left)."""
    name = os.path.basename(path)
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _sync_directory(directory: str) -> None:
    """Makes the new name itself survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
