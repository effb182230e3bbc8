"""CSV and TSV compared by column, streamed: numbers within tolerance, columns of times aside."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import zip_longest
from typing import BinaryIO

from reprorun.compare.content import head
from reprorun.compare.numbers import cut, how_many
from reprorun.compare.registry import HEAD
from reprorun.compare.table_columns import Column
from reprorun.compare.values import (
    Content,
    Divergence,
    Finding,
    Settings,
    Unreadable,
    Verdict,
    worst,
)
from reprorun.compare.volatile import number_of, whole
from reprorun.model import Value

LONGEST = 1 << 24  # bytes of a row
_DELIMITERS = ",\t;|"
_HEADER = -1  # its row
_NO_MORE, _MORE = "no more rows", "more rows"
_SHOWN = 10  # columns that are named


class Form(Value, frozen=True, kw_only=True):
    """How a table is written."""

    delimiter: str
    header: tuple[str, ...] | None  # None: the first row is of data
    width: int  # columns


class Ragged(Exception):
    """Rows are not all of one length: they have to be looked at one by one."""


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two tables, with pyarrow where it is there and rows are all of one length."""
    forms = _form(a), _form(b)
    try:
        from reprorun.compare.table_arrow import compare_blocks

        comparison = TableComparison(settings, a.name, *forms)
        compare_blocks(a, b, comparison)
    except (ImportError, Ragged):
        comparison = TableComparison(settings, a.name, *forms)
        _compare_rows(a, b, comparison)
    return comparison.finding()


class TableComparison:
    """Compares two tables column by column and keeps what was found."""

    def __init__(self, settings: Settings, path: str, one: Form, other: Form) -> None:
        self.forms = one, other
        self.rows = 0  # that were compared
        self._settings = settings
        self._path = path
        self._columns: dict[str, Column] = {}
        self._shape: list[tuple[int, Divergence]] = []  # with the row of each
        self.pairs = self._paired()
        """Name of each column that both have, and where each has it."""

    def column(self, name: str) -> Column:
        """The column of that name."""
        if name not in self._columns:
            self._columns[name] = Column(name, self._settings.tolerance_of(self._path, name))
        return self._columns[name]

    def row(self, cells: list[str], twins: list[str]) -> None:
        """Compare two rows."""
        row, self.rows = self.rows, self.rows + 1
        for name, mine, theirs in self.pairs:
            one = cells[mine] if mine < len(cells) else None
            other = twins[theirs] if theirs < len(twins) else None
            if one is None and other is None:
                continue  # a row that is short in both
            if one is None or other is None:
                self._no_cell(name, row, one, other)
            elif one == other:
                self.column(name).equal(one)
            else:
                self.column(name).cells(one, other, row)
        if len(cells) != len(twins) and max(len(cells), len(twins)) > len(self.pairs):
            self._note(row, "number of cells in", str(len(cells)), str(len(twins)))

    def skip(self, rows: int) -> None:
        """Note rows that are known to be equal."""
        self.rows += rows
        for name, _, _ in self.pairs:
            self.column(name).numbers.equal(rows)

    def ends(self, *, in_original: bool) -> None:
        """Note that one table has no more rows, and the other has."""
        words = (_NO_MORE, _MORE) if in_original else (_MORE, _NO_MORE)
        self._note(self.rows, "", *words)

    def finding(self) -> Finding:
        """What is said of the whole."""
        columns = list(self._columns.values())
        for column in columns:
            column.settle()
        shape: list[Verdict] = ["different"] if self._shape else []
        verdict = worst([*shape, *(column.numbers.verdict for column in columns)])
        decisive = [column for column in columns if column.numbers.verdict == verdict]
        decisive = sorted(decisive, key=lambda column: column.first_row)
        places = [*self._shape, *((column.first_row, column.divergence()) for column in decisive)]
        first = min(places, key=lambda place: place[0])[1] if verdict != "equivalent" else None
        volatile = tuple(entry for column in columns for entry in column.volatile.result())
        return Finding(
            verdict=verdict,
            comparator="table",
            reason=self._reason(verdict, decisive, bool(volatile)),
            divergence=first,
            volatile=volatile,
            notes=self._notes(decisive, first),
        )

    # ------------------------------------------------------------ columns

    def _paired(self) -> list[tuple[str, int, int]]:
        one, other = self.forms
        mine, theirs = _names(one), _names(other)
        if one.header is None or other.header is None:
            if one.header != other.header:
                self._note(_HEADER, "header", _words(one.header), _words(other.header))
            width = max(len(mine), len(theirs))
            names = mine if len(mine) == width else theirs
            return [(name, index, index) for index, name in enumerate(names)]
        for name in [*mine, *theirs]:
            if name not in mine or name not in theirs:
                there = ("there", "missing") if name in mine else ("missing", "there")
                self._note(_HEADER, f"column {cut(name)}", *there)
        common = [name for name in mine if name in theirs]
        if common != [name for name in theirs if name in mine]:
            self._note(_HEADER, "order of columns", _words(one.header), _words(other.header))
        return [(name, mine.index(name), theirs.index(name)) for name in common]

    def _no_cell(self, name: str, row: int, one: str | None, other: str | None) -> None:
        words = ["no cell" if cell is None else cut(cell) for cell in (one, other)]
        self._note(row, f"column {cut(name)} of", words[0], words[1])

    def _note(self, row: int, what: str, original: str, now: str) -> None:
        where = what if row == _HEADER else f"{what} row {row + 1}".strip()
        if len(self._shape) <= _SHOWN:
            self._shape.append((row, Divergence(where=where, original=original, now=now)))

    # ------------------------------------------------------------ words

    def _reason(self, verdict: Verdict, decisive: list[Column], volatile: bool) -> str:
        if verdict == "equivalent":
            if volatile:
                return "the cells are equal but for what differs by its nature"
            return "the cells are equal; how they are written differs"
        if verdict == "within tolerance" or not self._shape:
            count = sum(column.numbers.differing for column in decisive)
            within = ", within tolerance" if verdict == "within tolerance" else ""
            of = sum(column.numbers.compared for column in decisive)
            named = ", ".join(cut(column.name) for column in decisive[:_SHOWN])
            more = f" and {len(decisive) - _SHOWN} more" if len(decisive) > _SHOWN else ""
            plural = "s" * (len(decisive) != 1)
            return f"{how_many(count, of, 'cell')} in column{plural} {named}{more}{within}"
        columns_too = " and its cells" if decisive else ""
        return f"the shape of the table{columns_too} differs"

    def _notes(self, decisive: list[Column], first: Divergence | None) -> tuple[str, ...]:
        """What is not the first divergence."""
        lines = [_in_words(divergence) for _, divergence in self._shape if divergence != first]
        for column in decisive:
            divergence = column.divergence()
            if divergence is not None and divergence != first:
                lines.append(f"{_in_words(divergence)}; {column.numbers.reason()} in all")
        return tuple(lines[:_SHOWN])


def _in_words(divergence: Divergence) -> str:
    return f"{divergence.where}: {divergence.original}, now {divergence.now}"


def _words(header: tuple[str, ...] | None) -> str:
    return "no header" if header is None else cut(", ".join(header))


def _names(form: Form) -> list[str]:
    if form.header is not None:
        return list(form.header)
    return [f"{index + 1}" for index in range(form.width)]


# ---------------------------------------------------------------- reading


def _form(content: Content) -> Form:
    """How a table is written, by its first row.

    Raises:
        Unreadable: it is no text, or its first row is too long.
    """
    start = head(content, HEAD)
    if b"\0" in start:
        raise Unreadable("it is no table, but binary")
    line = start.decode(errors="backslashreplace").lstrip("\ufeff\r\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=line.count)
    if content.name.lower().endswith(".tsv"):
        delimiter = "\t"
    with content.open() as file:
        first = next(rows(file, delimiter), [])
    is_header = bool(first) and not any(map(_is_data, first))
    header = _unique(first) if is_header else None
    return Form(delimiter=delimiter, header=header, width=len(first))


def _is_data(cell: str) -> bool:
    return number_of(cell.strip()) is not None or whole(cell) is not None


def _unique(names: list[str]) -> tuple[str, ...]:
    """Names of columns; where one comes twice or is empty, with a number."""
    found: list[str] = []
    for index, name in enumerate(names):
        fresh = name and name not in found
        found.append(name if fresh else f"{name} ({index + 1})".strip())
    return tuple(found)


def rows(file: BinaryIO, delimiter: str) -> Iterator[list[str]]:
    """The rows of a table, without blank lines.

    Raises:
        Unreadable: a row that is too long, or no text.
    """
    reader = csv.reader(_lines(file), delimiter=delimiter)
    try:
        yield from (row for row in reader if row)
    except csv.Error as error:
        raise Unreadable(f"it is no table ({error})") from error


def _lines(file: BinaryIO) -> Iterator[str]:
    start = "\ufeff"
    while line := file.readline(LONGEST):
        if len(line) == LONGEST:
            raise Unreadable(f"it has a line of more than {LONGEST >> 20} MiB")
        yield line.decode(errors="backslashreplace").removeprefix(start)
        start = ""


def _compare_rows(a: Content, b: Content, comparison: TableComparison) -> None:
    """Row by row, without any library."""
    with ExitStack() as opened:
        files = [opened.enter_context(content.open()) for content in (a, b)]
        tables = [rows(f, form.delimiter) for f, form in zip(files, comparison.forms, strict=True)]
        for table, form in zip(tables, comparison.forms, strict=True):
            if form.header is not None:
                next(table, None)
        for cells, twins in zip_longest(*tables):
            if cells is None or twins is None:
                comparison.ends(in_original=cells is None)
                return
            comparison.row(cells, twins)
