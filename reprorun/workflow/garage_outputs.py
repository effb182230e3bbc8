"""What a launcher that used garage itself wrote in its working tree becomes part of the record.

garage logs into `data/local/PREFIX/NAME` of the working directory, or wherever `log_dir=` says; a
run brings that out below `outputs/`. Each such log directory moves to the top of the record, where
calls of reprorun's own wrapped functions leave theirs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from reprorun import files, store
from reprorun.errors import UsageError
from reprorun.experiment.earlier_runs import is_log_directory
from reprorun.workflow.harvest import GUEST_REPORT, find_sub_records

_OURS = store.OURS | {store.OUTPUTS, store.RESERVE_FILE, GUEST_REPORT}
_LONGEST = 255  # bytes of a name


def adopt(log_dir: str) -> tuple[str, ...]:
    """Move the log directories that garage made to the top of a record.

    A name that is taken there gets `_1`, `_2`, ... behind it. Links are not followed, and whatever
    is no log directory stays where it is.

    Args:
        log_dir: the record; its outputs have been brought out.

    Returns:
        The names that they have now, in the order of their paths before.

    Raises:
        UsageError: one can't be moved.
    """
    outputs = os.path.join(log_dir, store.OUTPUTS)
    found = list(_log_directories(outputs))
    names = tuple(_move(path, log_dir) for path in found)
    for path in found:
        _remove_emptied(os.path.dirname(path), outputs)
    return names


def _log_directories(outputs: str) -> Iterator[str]:
    """What garage logged into, with all that is inside, in the order of the paths."""
    if os.path.islink(outputs):
        return
    for path, below, _ in os.walk(outputs):
        below.sort()
        full = [os.path.join(path, name) for name in find_sub_records(path)]
        found = [each for each in full if is_log_directory(each)]
        below[:] = [name for name in below if os.path.join(path, name) not in found]
        yield from found


def _move(path: str, log_dir: str) -> str:
    """Move a directory to the top of the record; the name that it got."""
    name = _free_name(os.path.basename(path), log_dir)
    try:
        for each in (path, os.path.dirname(path)):  # the experiment may have protected them
            if not os.access(each, os.W_OK):
                os.chmod(each, 0o755)
        os.rename(path, os.path.join(log_dir, name))
    except OSError as error:
        raise UsageError(
            f"{path} can't be moved to the top of the record: {error.strerror or error}."
        ) from error
    return name


def _free_name(name: str, log_dir: str) -> str:
    number, free = 0, name
    while _is_taken(free, log_dir):
        number += 1
        ending = f"_{number}"
        free = os.fsdecode(os.fsencode(name)[: _LONGEST - len(ending)]) + ending
    return free


def _is_taken(name: str, log_dir: str) -> bool:
    """By what is there, or by files of ours that are still to be written."""
    reserved = name in _OURS or files.is_unfinished(name)
    return reserved or os.path.lexists(os.path.join(log_dir, name))


def _remove_emptied(directory: str, outputs: str) -> None:
    """Remove a directory that nothing is left in, and those above it, `outputs` included."""
    with suppress(OSError):  # the first one that holds something ends it
        while directory.startswith(outputs):
            os.rmdir(directory)
            directory = os.path.dirname(directory)
