"""The fast way to compare tables: blocks of rows, read by pyarrow as columns.

Blocks whose bytes are the same are not read at all. Columns are read as texts, and only of cells
whose texts differ numbers are made; but where most of a column differs, it is read as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from reprorun.compare.table import Form, Ragged, TableComparison
from reprorun.compare.table_blocks import blocks
from reprorun.compare.table_columns import Column
from reprorun.compare.values import Content

_EXACT = float(1 << 53)  # integers below are floats exactly
_FLOAT = r"[.eEnN]"
_COLUMN = re.compile(r"column #(\d+)")


def compare_blocks(a: Content, b: Content, comparison: TableComparison) -> None:
    """Compare two tables block by block.

    Raises:
        Ragged: rows are not all of one length, or something else that pyarrow does not read.
        Unreadable: a row is too long.
    """
    dense = _Dense()
    with ExitStack() as opened:
        files = [opened.enter_context(content.open()) for content in (a, b)]
        one, other = (
            _Side(file, form, index, comparison, dense)
            for index, (file, form) in enumerate(zip(files, comparison.forms, strict=True))
        )
        while True:
            if one.skip_with(other, comparison):
                continue
            count = min(one.fill(), other.fill())
            if not count:
                break
            _compare_rows(one, other, count, comparison, dense)
        if one.left or other.left:
            comparison.ends(in_original=not one.left)


class _Dense:
    """Which columns are read as numbers: those of floats most of which differ."""

    def __init__(self) -> None:
        self.columns: set[str] = set()
        self._never: set[str] = set()

    def note(self, column: Column, differing: int, of: int) -> None:
        """Decide by what the last rows were like."""
        if differing * 2 > of and all(column.has_float) and column.name not in self._never:
            self.columns.add(column.name)

    def never(self, names: set[str]) -> None:
        """These can't be read so: a cell is no number, or none that a float holds."""
        self._never |= names
        self.columns -= names


class _Side:
    """One of the two: its blocks, and the rows of the last one that are still to be compared."""

    def __init__(
        self, file: BinaryIO, form: Form, index: int, comparison: TableComparison, dense: _Dense
    ) -> None:
        self.form = form
        self._places = {name: places[index] for name, *places in comparison.pairs}
        self._dense = dense
        self._blocks = blocks(file, skip_header=form.header is not None)
        self._next: bytes | None = None  # a block that is not read yet
        self._block = b""
        self._table: Any = None
        self._texts: Any = None  # of the same block, where that was needed
        self._done = 0  # rows of it that were compared

    @property
    def left(self) -> int:
        """Rows that are read and not compared."""
        return 0 if self._table is None else int(self._table.num_rows) - self._done

    def skip_with(self, other: _Side, comparison: TableComparison) -> bool:
        """Pass over a block that both have; false where they differ or are not in step."""
        if self.left or other.left or self.form != other.form:
            return False
        mine, theirs = self._peek(), other._peek()
        if not mine or mine != theirs:
            return False
        if b'"' in mine or b"\n\n" in mine or b"\r" in mine:  # lines are not rows, perhaps
            return False
        comparison.skip(mine.count(b"\n") + (not mine.endswith(b"\n")))
        self._next = other._next = None
        return True

    def fill(self) -> int:
        """How many rows there are to compare; none at the end."""
        while not self.left:
            self._block = self._peek()
            if not self._block:
                return 0
            self._next = self._texts = None
            self._done = 0
            self._table = self._read()
        return self.left

    def numbers(self, place: int, count: int) -> Any:
        """The next cells of a column as floats; None where they are read as texts."""
        cells = self._table.column(place)
        if not pa.types.is_floating(cells.type):
            return None
        return cells.slice(self._done, count).to_numpy()

    def texts(self, place: int, count: int) -> Any:
        """The next cells of a column as texts."""
        cells = self._table.column(place)
        if pa.types.is_floating(cells.type):
            if self._texts is None:
                self._texts = _read(self._block, self.form, frozenset())
            cells = self._texts.column(place)
        return cells.slice(self._done, count)

    def take(self, count: int) -> None:
        """Note that so many rows were compared."""
        self._done += count

    def _read(self) -> Any:
        places = {self._places[name]: name for name in self._dense.columns}
        try:
            return _read(self._block, self.form, frozenset(places))
        except pa.ArrowInvalid as error:
            if not places:
                raise Ragged from error
            found = _COLUMN.search(str(error))
            name = places.get(int(found[1])) if found else None
            self._dense.never({name} if name else set(places.values()))
            return self._read()

    def _peek(self) -> bytes:
        if self._next is None:
            self._next = next(self._blocks, b"")
        return self._next


def _read(block: bytes, form: Form, as_numbers: frozenset[int]) -> Any:
    kinds = {
        str(index): pa.float64() if index in as_numbers else pa.string()
        for index in range(form.width)
    }
    return arrow_csv.read_csv(
        pa.BufferReader(block),
        read_options=arrow_csv.ReadOptions(column_names=list(kinds), block_size=1 << 20),
        parse_options=arrow_csv.ParseOptions(
            delimiter=form.delimiter, newlines_in_values=b'"' in block
        ),
        convert_options=arrow_csv.ConvertOptions(
            check_utf8=False, column_types=kinds, strings_can_be_null=False, null_values=[]
        ),
    )


# ---------------------------------------------------------------- cells


def _compare_rows(
    one: _Side, other: _Side, count: int, comparison: TableComparison, dense: _Dense
) -> None:
    """Compare as many rows of each, column by column."""
    for name, mine, theirs in comparison.pairs:
        if mine >= one.form.width or theirs >= other.form.width:
            raise Ragged
        column = comparison.column(name)
        floats = one.numbers(mine, count), other.numbers(theirs, count)
        if any(each is None or _has_large(each) for each in floats):
            texts = one.texts(mine, count), other.texts(theirs, count)
            dense.note(column, _compare_texts(*texts, column, comparison.rows), count)
        else:
            column.arrays(floats[0], floats[1], comparison.rows)
    comparison.rows += count
    one.take(count)
    other.take(count)


def _has_large(numbers: Any) -> bool:
    """Whether some may be integers that floats don't hold, or beyond all floats."""
    return bool((np.abs(numbers) >= _EXACT).any())


def _compare_texts(one: Any, other: Any, column: Column, start: int) -> int:
    """Compare cells that were read as texts; how many differ."""
    (rows,) = np.nonzero(pc.not_equal(one, other).to_numpy())
    if not len(rows):
        column.numbers.equal(len(one))
        return 0
    for side, cells in enumerate((one, other)):
        if not column.has_float[side]:
            column.has_float[side] = _any_float(cells)
    at_end = rows[-1] == len(one) - 1
    equal = len(one) - len(rows)
    if at_end:  # what comes last counts as the end
        column.numbers.equal(equal)
    _compare_unequal(one.take(rows), other.take(rows), column, rows + start)
    if not at_end:
        column.numbers.equal(equal)
    return len(rows)


def _any_float(cells: Any) -> bool:
    return bool(pc.any(pc.match_substring_regex(cells, _FLOAT)).as_py())


def _compare_unequal(one: Any, other: Any, column: Column, rows: Any) -> None:
    """Compare cells whose texts differ: all at once where all are numbers, else one by one."""
    try:
        numbers = _as(one, pa.int64()), _as(other, pa.int64())
    except pa.ArrowInvalid:
        _compare_floats(one, other, column, rows)
    else:
        column.arrays(numbers[0], numbers[1], rows)


def _compare_floats(one: Any, other: Any, column: Column, rows: Any) -> None:
    try:
        mine, theirs = _as(one, pa.float64()), _as(other, pa.float64())
    except pa.ArrowInvalid:
        _one_by_one(one, other, column, rows)
        return
    # integers that floats don't hold, and what is too large or too small for floats
    care = ((abs(mine) >= _EXACT) & (abs(theirs) >= _EXACT)) | ((mine == 0) & (theirs == 0))
    equal = (mine == theirs) & ~care
    if care.any():
        chosen = pa.array(care)
        _one_by_one(one.filter(chosen), other.filter(chosen), column, rows[care])
    if equal.any():
        chosen = pa.array(equal)
        _compare_kinds(one.filter(chosen), other.filter(chosen), column, rows[equal])
    rest = ~(care | equal)
    if rest.any():
        column.arrays(mine[rest], theirs[rest], rows[rest])


def _compare_kinds(one: Any, other: Any, column: Column, rows: Any) -> None:
    """Of equal numbers that are written otherwise: whether one is an integer, and one a float."""
    column.numbers.equal(len(rows))
    kinds = [pc.match_substring_regex(cells, _FLOAT).to_numpy() for cells in (one, other)]
    (differ,) = np.nonzero(kinds[0] != kinds[1])
    if len(differ):
        at = int(differ[0])
        texts = list(_decoded(one.slice(at, 1))), list(_decoded(other.slice(at, 1)))
        column.note_kinds(texts[0][0], texts[1][0], int(rows[at]))


def _one_by_one(one: Any, other: Any, column: Column, rows: Any) -> None:
    for mine, theirs, row in zip(_decoded(one), _decoded(other), rows, strict=True):
        column.cells(mine, theirs, int(row))


def _as(cells: Any, kind: Any) -> Any:
    return pc.cast(cells, kind).to_numpy()


def _decoded(cells: Any) -> Iterator[str]:
    for cell in cells.cast(pa.binary()).to_pylist():
        yield cell.decode(errors="backslashreplace")
