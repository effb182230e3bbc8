"""`sweep.csv`: a line for each run, its parameters, how it went, and its last results.

First come the parameters, as JSON where they are no text; then `record`, `status`, `exit_code` and
`seconds`; then the last row of its `progress.csv` (see `progress.py`). The columns are those of all
runs in the order in which they first appear. A name that is taken already gets `run/` or
`progress/` in front. All text is made harmless, that of parameters and names of columns too;
`sweep.json` has the parameters to the letter.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, NamedTuple

import msgspec

from reprorun.files import replacing
from reprorun.sweeps.book import RECORD_FILE
from reprorun.sweeps.progress import MOST_COLUMNS, last_row, plain
from reprorun.sweeps.values import Entry, Params

TABLE_FILE = "sweep.csv"

_FACTS = ("record", "status", "exit_code", "seconds")
_LARGEST_RECORD = 1 << 24  # bytes


class Result(NamedTuple):
    """One run of a sweep, and what came of it."""

    params: Params
    entry: Entry
    metrics: dict[str, str]  # the last row of its progress.csv, by column
    reason: str = ""  # why it is not finished, where that was asked for


def read_results(
    directory: str, runs: Iterable[tuple[Params, Entry]], *, reasons: bool = False
) -> Iterator[Result]:
    """What came of each run, read from its record when its turn comes.

    Args:
        directory: of the sweep.
        runs: parameters of each, and how far it has come.
        reasons: read also why runs have failed.
    """
    for params, entry in runs:
        record = _record_of(directory, entry)
        if record is None:
            yield Result(params, entry, {})
            continue
        ended = entry.status == "finished"
        reason = _reason(record) if reasons and not ended else ""
        yield Result(params, entry, last_row(record, ended=ended), reason)


def write_table(path: str, results: Iterable[Result]) -> tuple[str, ...]:
    """Write `sweep.csv`; it is whole at any time.

    Args:
        path: of the file. Its directory must exist.
        results: of all runs, in order; each is taken once, and not kept.

    Returns:
        What the user should know.

    Raises:
        OSError: it can't be written.
    """
    with tempfile.TemporaryFile(dir=os.path.dirname(path) or ".") as lines:
        header = _Header()
        for result in results:
            lines.write(msgspec.json.encode(header.line(result)) + b"\n")
        lines.seek(0)
        with replacing(path) as file:
            _write(header, lines, file)
    return header.notes


# ---------------------------------------------------------------- lines


class _Line(msgspec.Struct):
    params: dict[str, str]
    facts: tuple[str, ...]
    metrics: dict[str, str]


class _Header:
    """The names of all columns, as they come up."""

    def __init__(self) -> None:
        self.params: dict[str, None] = {}  # in the order of their first appearance
        self.metrics: dict[str, None] = {}
        self._left_out = ""

    def line(self, result: Result) -> _Line:
        """The cells of a run; those of metrics for which there is room."""
        params = {plain(name): _cell(value) for name, value in result.params.items()}
        metrics = {name: cell for name, cell in result.metrics.items() if self._has_room(name)}
        self.params.update(dict.fromkeys(params))
        return _Line(params, _facts(result.entry), metrics)

    def names(self) -> list[str]:
        """All names, no two alike."""
        names = dict.fromkeys(self.params)
        for prefix, more in (("run/", _FACTS), ("progress/", self.metrics)):
            for name in more:
                while name in names:
                    name = prefix + name
                names[name] = None
        return list(names)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is missing."""
        if not self._left_out:
            return ()
        return (
            f"{TABLE_FILE} has {MOST_COLUMNS} columns of progress.csv; there are more, "
            f"such as {self._left_out!r}.",
        )

    def _has_room(self, name: str) -> bool:
        if name not in self.metrics:
            if len(self.metrics) >= MOST_COLUMNS:
                self._left_out = self._left_out or name
                return False
            self.metrics[name] = None
        return True


def _write(header: _Header, lines: IO[bytes], file: IO[bytes]) -> None:
    decoder = msgspec.json.Decoder(_Line)
    writer = csv.writer(codecs.getwriter("utf-8")(file), lineterminator="\n")
    writer.writerow(header.names())
    for encoded in lines:
        line = decoder.decode(encoded)
        params = _in_order(header.params, line.params)
        writer.writerow([*params, *line.facts, *_in_order(header.metrics, line.metrics)])


def _in_order(names: Iterable[str], cells: Mapping[str, str]) -> Iterator[str]:
    return (cells.get(name, "") for name in names)


def _facts(entry: Entry) -> tuple[str, ...]:
    seconds = "" if entry.seconds is None else f"{entry.seconds:.3f}"
    code = "" if entry.exit_code is None else str(entry.exit_code)
    return plain(entry.log_dir or ""), entry.status, code, seconds


def _cell(value: Any) -> str:
    return plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


# ---------------------------------------------------------------- records


class _Reason(msgspec.Struct):
    """What is wanted of a `run.json`."""

    reason: str | None = None


def _record_of(directory: str, entry: Entry) -> str | None:
    """Where a run's record lies: right in the sweep's directory, whatever is claimed."""
    name = entry.log_dir
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        return None
    return os.path.join(directory, name)


def _reason(record: str) -> str:
    """Why a run is not finished, as its record says."""
    path = os.path.join(record, RECORD_FILE)
    if os.path.islink(record) or os.path.islink(path) or not os.path.isfile(path):
        return ""
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(_LARGEST_RECORD), type=_Reason).reason or ""
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return ""  # there is nothing that it says
