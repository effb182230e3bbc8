"""Which record is a re-run of which, as far as the records of this machine tell.

A record names its original by id, so the chain above it is followed by ids, and what is below it is
found by looking at all records that are known: those noted on this machine, and those that lie
beside it. What records say of each other is not trusted: a circle is followed once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from reprorun import known, store
from reprorun.errors import RecordError, UsageError
from reprorun.formats.garage import is_garage_record, read_garage_record
from reprorun.model import Record, Value

# Few of the records of a machine are re-runs: the others are not worth the decoding.
_IS_RERUN = re.compile(rb'"rerun_of"\s*:\s*"')
_LONGEST_CHAIN = 1000


class Kin(Value, frozen=True, kw_only=True):
    """A record in its relation to another one."""

    id: str
    distance: int  # 1: directly; 2: by way of another one
    log_dir: str | None = None  # None: not known on this machine
    record: Record | None = None  # None: not known, or garage's

    @property
    def status(self) -> str:
        """What there is to be said of it in a word."""
        if self.record:
            return self.record.status
        return "by garage" if self.log_dir else "unknown"


class Lineage(Value, frozen=True, kw_only=True):
    """The chain of re-runs that a record is in."""

    originals: tuple[Kin, ...] = ()  # the one that it is a re-run of, that one's original, ...
    reruns: tuple[Kin, ...] = ()  # each before its own re-runs


def trace(log_dir: str, record: Record) -> Lineage:
    """The originals and the re-runs of a record."""
    beside = os.path.dirname(os.path.realpath(log_dir))
    originals = tuple(_originals(record, beside))
    return Lineage(originals=originals, reruns=find_reruns(record.id, [beside]))


def find_reruns(run_id: str, directories: Iterable[str] = ()) -> tuple[Kin, ...]:
    """The re-runs of a record, and those of its re-runs.

    Args:
        run_id: the record.
        directories: whose records are looked at beside those that were noted on this machine.
    """
    below: dict[str, list[tuple[str, Record]]] = {}
    for place, found in _all_reruns(directories):
        below.setdefault(str(found.rerun_of), []).append((place, found))
    return tuple(_descend(run_id, below))


def record_id(record: str) -> str:
    """The id of a record that is given by its log directory, or by its id.

    Raises:
        UsageError: it is neither.
    """
    if os.path.isdir(record):
        if is_garage_record(record):
            return read_garage_record(record, archive_needed=False).id
        return store.read_record(record).id
    if not known.is_id(record):
        raise UsageError(f"{record} is neither the log directory of a record nor its id.")
    return record


# ---------------------------------------------------------------- upwards


def _originals(record: Record, beside: str) -> Iterator[Kin]:
    passed = {record.id}
    wanted = record.rerun_of
    while wanted and wanted not in passed and len(passed) < _LONGEST_CHAIN:
        passed.add(wanted)
        place, found = _find(wanted, beside)
        yield Kin(id=wanted, distance=len(passed) - 1, log_dir=place, record=found)
        wanted = found.rerun_of if found else None


def _find(run_id: str, beside: str) -> tuple[str | None, Record | None]:
    """Where the record of an id lies, and the record; it may be one of garage's."""
    noted = known.noted_place(run_id)
    for place in [*([noted] if noted else []), *_directories_in(beside)]:
        if is_garage_record(place):
            if run_id.startswith("garage-") and _garage_id(place) == run_id:
                return place, None
        elif (found := _read(place, run_id.encode("utf-8", "replace"))) and found.id == run_id:
            return place, found
    return None, None


def _garage_id(place: str) -> str | None:
    try:
        return read_garage_record(place, archive_needed=False).id
    except RecordError:
        return None


# ---------------------------------------------------------------- downwards


def _descend(run_id: str, below: dict[str, list[tuple[str, Record]]]) -> Iterator[Kin]:
    """Each re-run before its own, the oldest first; without recursion, as chains may be long."""
    passed = {run_id}

    def children(original: str, distance: int) -> Iterator[Kin]:
        found = sorted(below.get(original, ()), key=lambda entry: entry[1].created, reverse=True)
        for place, record in found:
            if record.id not in passed:
                passed.add(record.id)
                yield Kin(id=record.id, distance=distance, log_dir=place, record=record)

    ahead = list(children(run_id, 1))
    while ahead:
        kin = ahead.pop()
        yield kin
        ahead += children(kin.id, kin.distance + 1)


def _all_reruns(directories: Iterable[str]) -> Iterator[tuple[str, Record]]:
    """All records that are re-runs, each place once."""
    places = [*known.known_records()]
    for directory in directories:
        places += _directories_in(directory)
    for place in {os.path.realpath(place): place for place in places}.values():
        record = _read(place, None)
        if record and record.rerun_of:
            yield place, record


def _directories_in(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []  # it can't be looked into: nothing is known to lie there
    return [os.path.join(directory, name) for name in names]


def _read(place: str, run_id: bytes | None) -> Record | None:
    """The record of a directory, if it is one of that id, or, without an id, a re-run.

    A damaged record is passed over: it is not the one that was asked about.
    """
    path = os.path.join(place, store.RUN_FILE)
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            data = file.read()
        fits = run_id in data if run_id is not None else _IS_RERUN.search(data)
        return store.read_record(place) if fits else None
    except (OSError, RecordError):
        return None
