"""Which runs of a sweep are finished already, and the launch that it is gone on with.

A run is known by its parameters, arguments and environment, not by its name. What `sweep.json` says
is taken, as long as the record is there; records that it does not know of are looked into.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from reprorun import store
from reprorun.errors import RecordError
from reprorun.model import Record
from reprorun.sweeps.book import Kept, Line
from reprorun.sweeps.points import Points, fill, key
from reprorun.sweeps.values import Entry, Head, Params

_SETTLED = ("finished", "failed")  # no record of these changes any more


def key_of(head: Head, params: Params) -> str:
    """What a run is known by, within one environment."""
    args, rest = fill(head.args, params)
    return key({**head.params, **rest}, args)


def find_finished(directory: str, kept: Kept, points: Points, head: Head) -> list[Entry]:
    """How far the runs of a sweep have come that is gone on with.

    Args:
        directory: of the sweep.
        kept: its `sweep.json`.
        points: the runs that are wanted now.
        head: what the sweep is now.
    """
    done = dict(_done(directory, kept, head))
    return [done.get(key_of(head, params)) or Entry() for params in points]


def _done(directory: str, kept: Kept, head: Head) -> Iterator[tuple[str, Entry]]:
    same = kept.head.environment_digest == head.environment_digest
    settled = set()
    for line in kept.runs if same else ():
        if line.log_dir and line.status in _SETTLED and _is_record(directory, line.log_dir):
            settled.add(line.log_dir)
            if line.status == "finished":
                yield key_of(kept.head, line.params), _entry(line)
    for name, record in _records(directory, settled):
        if record.status == "finished" and record.environment_digest == head.environment_digest:
            yield key(record.params, record.argv[1:]), _entry_of(name, record)


def _records(directory: str, without: set[str]) -> Iterator[tuple[str, Record]]:
    for name in sorted(os.listdir(directory)):
        if name not in without and _is_record(directory, name):
            try:
                yield name, store.read_record(os.path.join(directory, name))
            except RecordError:
                continue  # damaged: its run is made again, and the record left as it is


def _is_record(directory: str, name: str) -> bool:
    """Whether there is one of that name, which may have been written by anybody."""
    return "/" not in name and os.path.isfile(os.path.join(directory, name, store.RUN_FILE))


def _entry(line: Line) -> Entry:
    return Entry(
        status=line.status,
        log_dir=line.log_dir,
        id=line.id,
        exit_code=line.exit_code,
        seconds=line.seconds,
        attempts=line.attempts,
    )


def _entry_of(name: str, record: Record) -> Entry:
    return Entry(
        status="finished",
        log_dir=name,
        id=record.id,
        exit_code=record.exit_code,
        seconds=record.seconds,
        attempts=1,
    )


def first_launch(directory: str) -> str:
    """A record of the sweep that the launch can be taken from: its log directory.

    Raises:
        RecordError: there is none.
    """
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if _is_record(directory, name) and os.path.isfile(os.path.join(path, store.ARCHIVE_FILE)):
            return path
    raise RecordError(
        f"no run of {directory} was begun yet, so nothing is kept of its code. Give the whole "
        "command, with SCRIPT, beside --resume."
    )
