"""What `reprorun ls` says of the records below a directory, without reading each every time.

    XDG_CACHE_HOME/reprorun/index/DIGEST     a line on the index itself, then one a record

The index is a cache: removing it loses nothing, and one that is not exactly as we write it is not
looked at. It never says which records there are, nor that one is as it was: all directories that
are no records are listed, and each record's `run.json` is looked at (not read) every time.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from reprorun import __version__, files, store
from reprorun.errors import RecordError
from reprorun.model import Record, Status, Value

WORTH = 100
"""Records that have to be read before the index is. So many are read as quickly as it is found."""

FORMAT = f"reprorun {__version__}, index 1"  # the number grows with a change between versions
_PART = "index"  # of the cache
_OVER = ("finished", "failed", "interrupted", "lost")
_CLOCK = 2_000_000_000  # nanoseconds; the coarsest clock of a file system

_Stamp = tuple[int, int, int, int]


class Summary(Value, frozen=True, kw_only=True, array_like=True, gc=False):
    """What is said of a record in a list."""

    status: Status
    created: str
    exit_code: int | None
    seconds: float | None
    githash: str | None
    command: str  # the launcher as typed, and its arguments; quoted as for a shell


class _Entry(Value, frozen=True, kw_only=True, array_like=True, gc=False):
    """A record in the index."""

    place: str  # relative to the directory
    stamp: _Stamp  # of its run.json
    summary: Summary


class _Head(Value, frozen=True, kw_only=True):
    """The first line: whose index it is, and of what; what it is checked by."""

    format: str
    directory: bytes  # absolute, links resolved
    sha256: str  # of all that follows


_ENTRY = msgspec.json.Decoder(_Entry)


def summarize(record: Record) -> Summary:
    """What is said of a record in a list."""
    return Summary(
        status=record.status,
        created=record.created,
        exit_code=record.exit_code,
        seconds=record.seconds,
        githash=record.githash,
        command=shlex.join(record.argv),
    )


def list_records(directory: str) -> Iterator[tuple[str, Summary | RecordError]]:
    """All records at and below a directory, in the order of `store.find_records`.

    The index is written, if that is worth it, when all were taken.

    Yields:
        Where it lies, relative to the directory, and what is to be said of it: of one that can't be
        read, why not.
    """
    indexed: dict[str, _Entry] = {}
    current: list[_Entry] = []
    read = 0
    for place, entry in _find(directory, indexed):
        if entry:
            current.append(entry)
            yield place, entry.summary
            continue
        path = os.path.join(directory, place) if place else directory
        stamp = _stamp(path)
        now = time.time_ns()
        try:
            summary = summarize(store.read_record(path))
        except RecordError as error:
            yield place, error
        else:
            if stamp and _stays(summary, stamp, now):
                current += _entries(place, stamp, summary)
            yield place, summary
        read += 1
        if read == WORTH:
            indexed.update(_load(directory))
    if _changes(indexed, current) >= WORTH:
        _save(directory, current)


def stale_indexes() -> Iterator[str]:
    """The files of indexes that nobody can use: the directory is gone, or the index is damaged."""
    shelf = files.cache_directory(_PART)
    for name in sorted(os.listdir(shelf)):
        path = os.path.join(shelf, name)
        directory = _directory_of(path)
        if directory is None or not os.path.isdir(directory):
            yield path


# ---------------------------------------------------------------- what there is


def _find(directory: str, indexed: dict[str, _Entry]) -> Iterator[tuple[str, _Entry | None]]:
    """The records, and of those that are as they were when they were indexed, the entry.

    These are not listed; what is put into `indexed` meanwhile is heeded.
    """
    prefix = os.path.join(directory, "")
    ahead = [""]
    while ahead:
        place = ahead.pop()
        path = prefix + place if place else directory
        entry = indexed.get(place)
        if entry and entry.stamp == _stamp(path):
            yield place, entry
            continue
        below = _directories_in(path)
        if below is None:
            yield place, None
        else:
            nearer = os.path.join(place, "")
            ahead += [nearer + name for name in sorted(below, reverse=True)]


def _directories_in(path: str) -> list[str] | None:
    """The directories in one, without links to others; None: it is a record.

    One that can't be listed holds nothing that we know of.
    """
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name == store.RUN_FILE and not os.path.isdir(entry):
                    return None
                if entry.is_dir(follow_symlinks=False):
                    found.append(entry.name)
    except OSError:
        return []
    return found


def _stamp(log_dir: str) -> _Stamp | None:
    """What changes with every change of a `run.json`; None: it is not there."""
    try:
        found = os.stat(f"{log_dir}/{store.RUN_FILE}")
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _stays(summary: Summary, stamp: _Stamp, now: int) -> bool:
    """Whether a later change of a record is sure to be seen by its stamp.

    A file that was changed just now may change again within the same tick of the clock. Across a
    network a stamp may be seconds old: a run that is not over is always read.
    """
    modified, changed, _, _ = stamp
    return summary.status in _OVER and now - max(modified, changed) > _CLOCK


def _entries(place: str, stamp: _Stamp, summary: Summary) -> list[_Entry]:
    """The entry of a record; none where it would not come back the same, such as by its numbers."""
    entry = _Entry(place=place, stamp=stamp, summary=summary)
    try:
        return [entry] if _ENTRY.decode(msgspec.json.encode(entry)) == entry else []
    except (ValueError, OverflowError, msgspec.MsgspecError):
        return []


# ---------------------------------------------------------------- the file


def _changes(indexed: dict[str, _Entry], current: Sequence[_Entry]) -> int:
    """How many entries writing the index anew would add, change or remove."""
    kept = sum(indexed.get(entry.place) == entry for entry in current)
    return max(len(indexed), len(current)) - kept


def _load(directory: str) -> dict[str, _Entry]:
    """The index of a directory; empty unless it is one that this version wrote, undamaged."""
    with suppress(OSError, msgspec.MsgspecError), open(_file_of(directory), "rb") as file:
        head, body = file.readline(), file.read()
        if head == _head(directory, body):
            return {entry.place: entry for entry in _ENTRY.decode_lines(body)}
    return {}


def _save(directory: str, entries: Sequence[_Entry]) -> None:
    """Write the index of a directory, for the user alone. One that can't be written is missed."""
    body = msgspec.json.Encoder().encode_lines(entries)
    with suppress(OSError):
        files.write(_file_of(directory), _head(directory, body) + body, private=True)


def _head(directory: str, body: bytes) -> bytes:
    real = os.fsencode(os.path.realpath(directory))
    head = _Head(format=FORMAT, directory=real, sha256=files.digest_of(body))
    return msgspec.json.encode(head) + b"\n"


def _file_of(directory: str) -> str:
    return os.path.join(files.cache_directory(_PART), files.digest_of(os.path.realpath(directory)))


def _directory_of(path: str) -> bytes | None:
    with suppress(OSError, msgspec.MsgspecError), open(path, "rb") as file:
        return msgspec.json.decode(file.readline(), type=_Head).directory
    return None
