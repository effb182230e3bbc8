"""Series of numbers in an output, to be drawn: columns of a table, keys of JSON lines, scalars.

What is read is bounded; of longer outputs the beginning is taken.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import BinaryIO, cast

from reprorun.compare.content import head
from reprorun.compare.events import read_events
from reprorun.compare.rich import Refused
from reprorun.compare.table import rows
from reprorun.compare.values import Content, Unreadable
from reprorun.model import Value
from reprorun.report.curves import Series

MOST_ROWS = 100_000
_MOST_COLUMNS = 50
_LARGEST_EVENTS = 64 << 20  # bytes
_MOST_BYTES = 64 << 20  # of tables and JSON lines
_LONGEST_LINE = 1 << 20  # bytes
_DELIMITERS = ",\t;|"
_ROW = "row"
_STEPS = frozenset({
    "step", "steps", "epoch", "iteration", "iter", "itr", "timestep", "t", "x",
    "global_step", "totalenvsteps", "batch",
})  # fmt: skip


class Columns(Value, frozen=True, kw_only=True):
    """The series of one output by name, and what they are drawn over."""

    x_name: str
    series: dict[str, Series]


def columns_of(content: Content) -> Columns | None:
    """The series in an output; None where its format has none.

    Raises:
        Unreadable, Refused: it is damaged, or too large.
        OSError: it can't be read.
    """
    name = content.name.lower()
    if name.endswith((".csv", ".tsv")):
        return _over_steps(_table(content))
    if name.endswith((".jsonl", ".ndjson")):
        return _over_steps(_json_lines(content))
    if "events.out.tfevents" in name.rpartition("/")[2]:
        return _scalars(content)
    return None


class _Beginning:
    """The beginning of a stream, for who reads it by lines."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_BYTES

    def readline(self, size: int = -1) -> bytes:
        """The next line; empty at the end, or when enough has been read."""
        line = self._file.readline(size) if self._left > 0 else b""
        self._left -= len(line)
        return line


# ---------------------------------------------------------------- tables and JSON lines


def _table(content: Content) -> dict[str, array[float]]:
    line = head(content, 1 << 13).decode(errors="backslashreplace").lstrip("\ufeff\r\n")
    delimiter = max(_DELIMITERS, key=line.partition("\n")[0].count)
    with content.open() as file:
        table = rows(cast(BinaryIO, _Beginning(file)), delimiter)
        first = next(table, [])[:_MOST_COLUMNS]
        has_header = not any(map(_is_number, first))
        names = first if has_header else [str(number) for number in range(1, len(first) + 1)]
        data = [] if has_header else [first]
        return _by_column(names, islice(_chain(data, table), MOST_ROWS))


def _chain(first: list[list[str]], rest: Iterator[list[str]]) -> Iterator[list[str]]:
    yield from first
    yield from rest


def _by_column(names: list[str], table: Iterable[list[str]]) -> dict[str, array[float]]:
    found = [array("d") for _ in names]
    for row in table:
        for index, numbers in enumerate(found):
            numbers.append(_number(row[index]) if index < len(row) else float("nan"))
    return dict(zip(names, found, strict=True))


def _json_lines(content: Content) -> dict[str, array[float]]:
    found: dict[str, array[float]] = {}
    with content.open() as file:
        beginning = _Beginning(file)
        lines = iter(lambda: beginning.readline(_LONGEST_LINE), b"")
        for number, line in enumerate(islice(lines, MOST_ROWS)):
            for name, value in _members(line):
                if name not in found and len(found) < _MOST_COLUMNS:
                    found[name] = array("d", [float("nan")]) * number
                if name in found and len(found[name]) == number:
                    found[name].append(value)
            for numbers in found.values():
                numbers.extend([float("nan")] * (number + 1 - len(numbers)))
    return found


def _members(line: bytes) -> Iterator[tuple[str, float]]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"a line is no JSON ({error})"[:200]) from error
    if isinstance(entry, dict):
        for name, value in entry.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield name, _number(str(value))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _is_number(text: str) -> bool:
    return _number(text) == _number(text)


def _over_steps(columns: dict[str, array[float]]) -> Columns:
    """Over the column that counts steps, where there is one; else over the rows."""
    for name, numbers in columns.items():
        if name.strip().lower() in _STEPS and _grows(numbers):
            rest = {other: Series(numbers, ys) for other, ys in columns.items() if other != name}
            return Columns(x_name=name, series=rest)
    return Columns(
        x_name=_ROW,
        series={
            name: Series(array("d", range(1, len(ys) + 1)), ys) for name, ys in columns.items()
        },
    )


def _grows(numbers: array[float]) -> bool:
    return len(numbers) > 0 and all(a < b for a, b in pairwise(numbers))


# ---------------------------------------------------------------- TensorBoard


def _scalars(content: Content) -> Columns:
    if content.size > _LARGEST_EVENTS:
        raise Refused(f"it is larger than {_LARGEST_EVENTS >> 20} MiB")
    with content.open() as stream:
        events = read_events(stream)
    return Columns(
        x_name="step",
        series={
            tag: Series(array("d", series.steps), series.scalars)
            for tag, series in events.series.items()
            if not series.places
        },
    )
