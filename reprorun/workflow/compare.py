"""compare: two files, two directories or two records in, a comparison out. Nothing is run.

Of a record its outputs are compared, what it printed and its parameters, and how the run ended;
not what describes the run, such as its times and its image.
"""

from __future__ import annotations

import os
import stat

from reprorun import store
from reprorun.compare.tree import Entry, compare_files, compare_trees, entries_of
from reprorun.compare.values import Comparison, Divergence, Finding, NamedFinding, Settings
from reprorun.errors import RecordError, UsageError
from reprorun.files import is_unfinished
from reprorun.formats import garage
from reprorun.model import Record, Value

_KEPT = frozenset({store.VARIANT_FILE, store.CONSOLE_FILE})  # of ours, those that are compared
_OF_A_CALL = frozenset({store.METADATA_FILE, store.ARCHIVE_FILE})  # beside a call's outputs


class _Side(Value, frozen=True, kw_only=True):
    """One of two directories."""

    entries: dict[str, Entry]
    record: Record | None = None
    calls: tuple[str, ...] = ()  # directories of calls; garage's is the log directory itself
    of_garage: bool = False


def compare_paths(a: str, b: str, settings: Settings) -> Comparison:
    """Compare two outputs, two directories of them, or two records.

    Args:
        a: the original.
        b: the new one.
        settings: how strictly.

    Raises:
        UsageError: one of them is not there, or they are not two of a kind.
    """
    kinds = _kind_of_path(a), _kind_of_path(b)
    if kinds[0] != kinds[1]:
        raise UsageError(f"{a} is a {kinds[0]} and {b} a {kinds[1]}: name two of a kind.")
    if kinds[0] == "file":
        return compare_files(os.path.realpath(a), os.path.realpath(b), a, settings)
    one, other = _side(a), _side(b)
    original, now = _aligned(one, other)
    return compare_trees(original, now, settings, _ends(one.record, other.record))


def outputs_of_both(a: str, b: str) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """The outputs of two directories or records, under the names by which they are compared.

    Args:
        a: the original.
        b: the new one.
    """
    return _aligned(_side(a), _side(b))


def _kind_of_path(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}.") from error
    except ValueError as error:  # a NUL
        raise UsageError(f"{path!r} can't be a path.") from error
    if stat.S_ISDIR(mode):
        return "directory"
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} is neither a regular file nor a directory.")
    return "file"


# ---------------------------------------------------------------- directories and records


def _side(directory: str) -> _Side:
    """What a directory holds. One whose run.json is no record's is compared as it stands."""
    found = entries_of(os.path.realpath(directory))
    if garage.is_garage_record(directory):
        kept = {name: entry for name, entry in found.items() if name not in _OF_A_CALL}
        return _Side(entries=kept, calls=("",), of_garage=True)
    try:
        record = store.read_record(directory)
    except RecordError:
        return _Side(entries=found)
    kept = {name: entry for name, entry in found.items() if not _is_ours(name, record)}
    return _Side(entries=kept, record=record, calls=record.sub_records)


def _is_ours(name: str, record: Record) -> bool:
    """Whether a file describes the run and is no output of it."""
    if is_unfinished(name.rpartition("/")[2]):
        return True
    if name in store.OURS:
        return name not in _KEPT
    directory, _, last = name.partition("/")
    return last in _OF_A_CALL and directory in record.sub_records


def _aligned(one: _Side, other: _Side) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """The outputs of both under the names of the first.

    The log directory of garage's corresponds to the one call's directory of its re-run.
    """
    if one.of_garage != other.of_garage:
        return _as_garage(one), _as_garage(other)
    if len(one.calls) == len(other.calls) and one.calls != other.calls:
        renamed = dict(zip(other.calls, one.calls, strict=True))
        return one.entries, {_renamed(name, renamed): e for name, e in other.entries.items()}
    return one.entries, other.entries


def _as_garage(side: _Side) -> dict[str, Entry]:
    if side.of_garage or len(side.calls) != 1:
        return side.entries
    call = side.calls[0] + "/"
    own = {name: entry for name, entry in side.entries.items() if name not in store.OURS}
    return {name.removeprefix(call): entry for name, entry in own.items()}


def _renamed(name: str, directories: dict[str, str]) -> str:
    directory, slash, rest = name.partition("/")
    return directories.get(directory, directory) + slash + rest if slash else name


def _ends(one: Record | None, other: Record | None) -> tuple[NamedFinding, ...]:
    """A finding where the runs ended differently."""
    if one is None or other is None:
        return ()
    ends = _end(one), _end(other)
    if ends[0] == ends[1]:
        return ()
    divergence = Divergence(where="end of the run", original=ends[0], now=ends[1])
    finding = Finding(
        verdict="different",
        comparator="run",
        reason="the run ended differently",
        divergence=divergence,
    )
    return (NamedFinding(path="run", finding=finding),)


def _end(record: Record) -> str:
    if record.exit_code is None:
        return record.status
    return f"{record.status}, exit code {record.exit_code}"
