"""Having what an engine stores written to its disk while it stores more.

When Docker creates a container it unmounts its first view of a new image, and Linux then writes
all that the file system has not written yet: a run would wait for that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LEAST = 32 << 20  # bytes; less is written in no time
MOST = 512 << 20  # bytes; Docker's own copies, soon removed, are written too: slow disks take long
PAUSE = 0.2  # seconds between one writing and the next


def is_worth_it(size: int) -> bool:
    """Whether so many bytes of layers should be written early."""
    return LEAST <= size <= MOST


@contextmanager
def written_early(directory: str) -> Iterator[None]:
    """Write what is stored below a directory again and again, as long as the block lasts.

    Nothing happens where the directory is not on a disk of this machine.

    Args:
        directory: the engine's; need not be ours to look into.
    """
    file = _on_the_same_disk(directory)
    if file is None:
        yield
        return
    ended = threading.Event()
    threading.Thread(target=_write, args=(file, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()  # a writing that is under way goes on; Docker would wait for it, too


def _on_the_same_disk(directory: str) -> int | None:
    """The directory, or the nearest one above it that may be opened: a file descriptor."""
    with suppress(OSError):  # the engine does without
        disk = os.stat(directory).st_dev
        while os.stat(directory).st_dev == disk:
            with suppress(PermissionError):
                return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            if directory == os.path.dirname(directory):
                break
            directory = os.path.dirname(directory)
    return None


def _write(file: int, ended: threading.Event) -> None:
    try:
        while not ended.wait(PAUSE):
            _syncfs(file)
    finally:
        os.close(file)


def _syncfs(file: int) -> int:
    """0 where it could be written; that it couldn't will be heard when it matters."""
    import ctypes  # in the thread: importing it takes its time

    return int(ctypes.CDLL(None).syncfs(file))
