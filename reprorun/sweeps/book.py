"""`sweep.json`: what a sweep is, and how far each of its runs has come.

The records are the truth. The book says in one file what they say, so that a sweep of thousands of
runs can be gone on with at once. It is written whole, by renaming, now and then and at the end;
what it has missed stands in the records.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import IO, Any

import msgspec

from reprorun import files
from reprorun.errors import RecordError
from reprorun.files import replacing
from reprorun.json_text import refuse_too_many
from reprorun.model import Value
from reprorun.sweeps.points import Points
from reprorun.sweeps.values import Entry, EntryStatus, Head, Params

SWEEP_FILE = "sweep.json"
RECORD_FILE = "run.json"  # as `store.RUN_FILE`
SCHEMA = 1

_SELDOM = 1.0  # seconds between two times that it is written
_SHARE = 0.05  # of the time, at most, goes into writing it


class Line(Value, frozen=True, kw_only=True):
    """One run, as `sweep.json` has it."""

    params: Params
    status: EntryStatus
    log_dir: str | None = None
    id: str | None = None
    exit_code: int | None = None
    seconds: float | None = None
    attempts: int = 0


class Kept(Value, frozen=True, kw_only=True):
    """A `sweep.json` that was read."""

    head: Head
    runs: tuple[Line, ...]


class Book:
    """A sweep's `sweep.json` while the sweep is at work.

    Args:
        directory: of the sweep.
        head: what the sweep is.
        points: its runs.
        entries: how far they have come, one for each point.
    """

    def __init__(self, directory: str, head: Head, points: Points, entries: list[Entry]) -> None:
        self.directory = directory
        self.head = head
        self.points = points
        self.entries = entries
        self._next_time = 0.0

    def rows(self) -> Iterator[tuple[Params, Entry]]:
        """Every run, in the order of the sweep."""
        return zip(self.points, self.entries, strict=True)

    def write(self) -> None:
        """Write it, whole."""
        began = time.monotonic()
        with replacing(os.path.join(self.directory, SWEEP_FILE)) as file:
            _write(file, self.head, self.rows())
        now = time.monotonic()
        self._next_time = now + max(_SELDOM, (now - began) / _SHARE)

    def write_now_and_then(self) -> None:
        """Write it, unless that was done a short while ago."""
        if time.monotonic() >= self._next_time:
            self.write()


def _write(file: IO[bytes], head: Head, rows: Iterator[tuple[Params, Entry]]) -> None:
    """A run a line, so that thousands of them need no room in memory and can be read by eye."""
    start = json.dumps(msgspec.to_builtins(head), indent=2)
    file.write(start.removesuffix("\n}").encode() + b',\n  "runs": [')
    comma = b"\n    "
    for params, entry in rows:
        line = {"params": params, **msgspec.to_builtins(entry)}
        file.write(comma + json.dumps(line).encode())
        comma = b",\n    "
    file.write(b"\n  ]\n}\n")


def is_sweep(directory: str) -> bool:
    """Whether a directory is a sweep's, with records in it, and no record itself."""
    there = (os.path.isfile(os.path.join(directory, name)) for name in (SWEEP_FILE, RECORD_FILE))
    return tuple(there) == (True, False)


def read_book(directory: str) -> Kept:
    """Read the `sweep.json` of a directory.

    Raises:
        RecordError: there is none, it is damaged, or it is of a newer reprorun.
    """
    path = os.path.join(directory, SWEEP_FILE)
    if not os.path.isfile(path):
        raise RecordError(f"{directory} is no sweep: it has no {SWEEP_FILE}.")
    try:
        with open(path, "rb") as file:
            text = files.read_bounded(file)
        refuse_too_many(text)
        data: Any = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path} can't be read: {error}") from error
    mark = data.get("reprorun") if isinstance(data, dict) else None
    schema = mark.get("schema") if isinstance(mark, dict) else None
    if not isinstance(schema, int) or schema > SCHEMA:
        raise RecordError(
            f"{path} has schema {schema!r}; this reprorun reads up to {SCHEMA}. "
            "Install a newer reprorun."
        )
    try:
        head = msgspec.convert(data, Head)
        return Kept(head=head, runs=msgspec.convert(data["runs"], tuple[Line, ...]))
    except (msgspec.ValidationError, UnicodeEncodeError, KeyError) as error:
        raise RecordError(f"{path} is damaged: {error}") from error
