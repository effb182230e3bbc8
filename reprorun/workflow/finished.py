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
    args, rest = fill(head.args, {**head.params, **params})
    return key(rest, args)


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
            record = _read(os.path.join(directory, name))
            if record:
                yield name, record


def _read(log_dir: str) -> Record | None:
    """None where it is damaged: its run is made again, and the record left as it is."""
    try:
        return store.read_record(log_dir)
    except RecordError:
        return None


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


def last_launch(directory: str, head: Head) -> str:
    """A record of the launch that the sweep was gone on with last: its log directory.

    Earlier launches may have left records of other code beside. Of those of the same code and
    environment the one that was written last is taken: its flags are the last ones.

    Args:
        directory: of the sweep.
        head: what the sweep was last.

    Raises:
        RecordError: there is none.
    """
    others = False
    for name in _last_first(directory):
        path = os.path.join(directory, name)
        if os.path.isfile(os.path.join(path, store.ARCHIVE_FILE)):
            if _is_of(_read(path), head):
                return path
            others = True
    if others:
        raise RecordError(
            f"no run of {directory} was begun with the code and environment that the sweep was "
            "given last, so they are not kept; its records are of other ones, or damaged. Give the "
            "whole command, with SCRIPT, beside --resume."
        )
    raise RecordError(
        f"no run of {directory} was begun yet, so nothing is kept of its code. Give the whole "
        "command, with SCRIPT, beside --resume."
    )


def _last_first(directory: str) -> list[str]:
    """The records by when they were written: of thousands, hardly any needs to be read."""

    def written(name: str) -> tuple[int, str]:
        return os.stat(os.path.join(directory, name, store.RUN_FILE)).st_mtime_ns, name

    names = (name for name in os.listdir(directory) if _is_record(directory, name))
    return sorted(names, key=written, reverse=True)


def _is_of(record: Record | None, head: Head) -> bool:
    if record is None or record.archive is None:
        return False
    had = (record.archive.sha256, record.environment_digest)
    return had == (head.archive_sha256, head.environment_digest)
