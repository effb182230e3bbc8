"""Writes files so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import BinaryIO, Iterator

_PREFIX, _SUFFIX = ".reprorun-", ".tmp"


@contextmanager
def replacing(path: str, beside: str = "") -> Iterator[BinaryIO]:
    """Opens a file that takes the place of another when the block ends without an error.

    Args:
        path: The file to replace. Its directory must exist.
        beside: What it is called until then, by `unfinished_beside`. By default any such name.

    Yields:
        A binary file beside it. It is removed again when the block raises.
    """
    unfinished = beside or unfinished_beside(path)
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
    _sync_directory(os.path.dirname(path) or ".")


def unfinished_beside(path: str) -> str:
    """Returns a name for what is to take the place of a file, in the same directory."""
    name = f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}"
    return os.path.join(os.path.dirname(path) or ".", name)


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
