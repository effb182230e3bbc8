"""`console.log` of a run that was left alone: made whole with what the engine has kept.

While it is attended, a run's output is written as it comes. Afterwards the engine's own copy takes
its place, which holds all unless the engine is set up to keep less, or nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

from reprorun.errors import EngineError, EngineUnavailable
from reprorun.files import replacing
from reprorun.store import CONSOLE_FILE
from reprorun.workflow.console import TAIL

_PIECE = 1 << 20  # bytes
_BEGINNING = 1 << 16  # bytes in which the first line must turn up, whatever came before it

_REORDERED = (
    f"{CONSOLE_FILE} is the engine's copy: what went to stdout and to stderr may stand in another "
    "order"
)


def write_console(log_dir: str, kept: Iterable[bytes]) -> str | None:
    """Write what a run has printed.

    Args:
        log_dir: of the run; its container has exited.
        kept: what the engine has of it, in pieces.

    Returns:
        What a reader should know.

    Raises:
        EngineUnavailable: the engine stopped answering; the file is as it was.
        OSError: the file can't be written.
    """
    path = os.path.join(log_dir, CONSOLE_FILE)
    try:
        with _opened(path) as before, replacing(path) as out:
            return _merge(before, kept, out)
    except EngineUnavailable:
        raise
    except EngineError as error:
        return f"{CONSOLE_FILE} ends where reprorun was killed: {error}"


def read_tail(log_dir: str) -> str:
    """The end of the output."""
    with _opened(os.path.join(log_dir, CONSOLE_FILE)) as file:
        size = file.seek(0, os.SEEK_END) if file else 0
        return _at(file, max(0, size - TAIL), TAIL).decode(errors="replace")


def _merge(before: IO[bytes] | None, kept: Iterable[bytes], out: BinaryIO) -> str | None:
    """Write the engine's copy, and behind it what was there where that is not in it."""
    same, length = True, 0
    beginning = b""
    for piece in kept:
        written = _at(before, length, len(piece))
        same = same and piece.startswith(written)
        beginning += piece[: _BEGINNING - len(beginning)]
        length += len(piece)
        out.write(piece)
    size = before.seek(0, os.SEEK_END) if before else 0
    if same and size <= length:
        return None
    if same:  # the engine has not kept the last of it
        _append(before, length, size, out)
        return None
    first = _at(before, 0, _BEGINNING).split(b"\n")[0]
    if size <= length and first in beginning:
        return _REORDERED
    _append(before, 0, size, out)
    return (
        f"{CONSOLE_FILE} may hold some lines twice: behind the first {length} bytes, which the "
        "engine had kept, stands what came while reprorun was there"
    )


def _append(before: IO[bytes] | None, start: int, size: int, out: BinaryIO) -> None:
    for at in range(start, size, _PIECE):
        out.write(_at(before, at, min(_PIECE, size - at)))


def _at(file: IO[bytes] | None, start: int, size: int) -> bytes:
    if file is None:
        return b""
    file.seek(start)
    return file.read(size)


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes] | None]:
    """The file; None where it is no regular one: the experiment could put anything in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield None
        return
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        yield None
        return
    with open(descriptor, "rb") as file:
        yield file
