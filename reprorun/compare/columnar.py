"""Parquet, Arrow and Feather, by column and row; row groups, compression and metadata are aside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from reprorun.compare.content import read_full
from reprorun.compare.isolated import compare_isolated
from reprorun.compare.nested import compare_nested
from reprorun.compare.numbers import Numbers, cut, shown
from reprorun.compare.rich import Budget, Parts, Refused, is_there, paired, refused, without
from reprorun.compare.values import Content, Finding, Settings, Tolerance, Unreadable
from reprorun.compare.volatile import VolatileTally, is_time, is_time_name

_ROWS = 1 << 16  # that are looked at in one go
_EQUAL = "all values are equal; row groups, compression or metadata differ"


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two tables."""
    if not is_there("pyarrow"):
        return without("columnar", "pyarrow")
    return compare_isolated("columnar", a, b, settings)


def compare_here(a: Content, b: Content, settings: Settings) -> Finding:
    """The same in this process, which damaged files may crash."""
    import pyarrow as pa

    try:
        with ExitStack() as opened:
            one, other = (_opened(content, opened) for content in (a, b))
            return _compare(a.name, one, other, settings)
    except Refused as error:
        return refused("columnar", error)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise Unreadable(f"it is a damaged table: {error}"[:200]) from error


class _Table:
    """A table that is read in batches."""

    def __init__(self, schema: Any, batches: Iterator[Any], rows: int | None = None) -> None:
        self.batches = batches
        self.rows = rows  # where they are known beforehand
        self.columns: dict[str, tuple[int, Any]] = {}  # index and type, by name
        for index, field in enumerate(schema):
            name = field.name if field.name not in self.columns else f"{field.name} ({index + 1})"
            self.columns[name] = index, field.type


def _opened(content: Content, opened: ExitStack) -> _Table:
    """A table, by the first bytes of its file.

    Raises:
        Unreadable: it is none.
    """
    import pyarrow as pa

    stream = opened.enter_context(content.open())
    start = read_full(stream, 6)
    stream.seek(0)
    if start.startswith(b"PAR1"):
        return _parquet(stream, opened)
    if start == b"ARROW1":
        reader = opened.enter_context(pa.ipc.open_file(stream))
        return _Table(reader.schema, _of_file(reader))
    if start.startswith(b"FEA1"):
        from pyarrow.feather import read_table

        table = read_table(stream)
        return _Table(table.schema, iter(table.to_batches(_ROWS)))
    reader = opened.enter_context(pa.ipc.open_stream(stream))
    return _Table(reader.schema, iter(reader))


def _parquet(stream: Any, opened: ExitStack) -> _Table:
    from pyarrow.parquet import ParquetFile

    file = opened.enter_context(ParquetFile(stream, pre_buffer=False))
    return _Table(file.schema_arrow, file.iter_batches(_ROWS), file.metadata.num_rows)


def _of_file(reader: Any) -> Iterator[Any]:
    for index in range(reader.num_record_batches):
        yield reader.get_batch(index)


# ---------------------------------------------------------------- comparing


def _compare(name: str, a: _Table, b: _Table, settings: Settings) -> Finding:
    parts = Parts("columnar", "column")
    volatile = VolatileTally()
    columns = [
        _Column(column, one[0], other[0], settings.tolerance_of(name, column), volatile)
        for column, one, other in paired(parts.whole, "column", a.columns, b.columns)
        if _same_type(parts, column, one[1], other[1])
    ]
    common = [[column for column in table.columns if column in other.columns]
              for table, other in ((a, b), (b, a))]  # fmt: skip
    if common[0] != common[1]:
        parts.whole.mismatch("order of columns", *(cut(", ".join(names)) for names in common))
    rows = _rows(a, b, columns, Budget(settings.largest))
    for column in columns:
        parts.add(column.name, column.numbers, column.first)
    if rows[0] != rows[1]:
        parts.whole.mismatch("number of rows", str(rows[0]), str(rows[1]))
    return parts.finding(volatile=volatile.result(), equal=_EQUAL)


def _same_type(parts: Parts, column: str, one: Any, other: Any) -> bool:
    if one != other:
        parts.whole.mismatch(f"type of column {column}", str(one), str(other))
    return bool(one == other)


def _rows(
    a: _Table, b: _Table, columns: list[_Column], budget: Budget
) -> tuple[int | None, int | None]:
    """Compare all rows that both have; how many there are of each."""
    if not columns and a.rows is not None and b.rows is not None:
        return a.rows, b.rows  # a table without columns may claim any number
    mine, theirs = _Rows(a, budget), _Rows(b, budget)
    while (common := min(mine.fill(), theirs.fill())) > 0:
        start = mine.taken
        one, other = mine.take(common), theirs.take(common)
        for column in columns:
            column.compare(one, other, start)
    return mine.count(), theirs.count()


class _Rows:
    """The rows of a table, taken in any numbers."""

    def __init__(self, table: _Table, budget: Budget) -> None:
        self.taken = 0
        self._batches = table.batches
        self._budget = budget
        self._batch: Any = None
        self._at = 0

    def fill(self) -> int:
        """How many can be taken at once now; none at the end."""
        while self._batch is None or self._at >= self._batch.num_rows:
            self._batch = next(self._batches, None)
            self._at = 0
            if self._batch is None:
                return 0
            self._batch.validate(full=True)
            self._budget.take(self._batch.nbytes + self._batch.num_rows)
        return int(min(_ROWS, self._batch.num_rows - self._at))

    def take(self, count: int) -> Any:
        """The next rows."""
        batch = self._batch.slice(self._at, count)
        self._at += count
        self.taken += count
        return batch

    def count(self) -> int:
        """How many there are in all; the rest is read over."""
        while more := self.fill():
            self.take(more)
        return self.taken


class _Column:
    """A column that both tables have, of one type."""

    def __init__(
        self, name: str, a: int, b: int, tolerance: Tolerance, volatile: VolatileTally
    ) -> None:
        self.name = name
        self.numbers = Numbers(tolerance)
        self.first = 0  # row that differs first
        self._indices = a, b
        self._volatile = volatile

    def compare(self, a: Any, b: Any, start: int) -> None:
        """Compare the column in two batches of as many rows."""
        one, other = a.column(self._indices[0]), b.column(self._indices[1])
        if one.equals(other):
            self.numbers.equal(len(one))
            return
        before, compared = self.numbers.verdict, self.numbers.compared
        if _is_numeric(one) and not one.null_count and not other.null_count:
            self._arrays(one, other, start)
        else:
            self._one_by_one(one, other, start)
        if self.numbers.verdict != before:
            self.first = start + max(0, (self.numbers.place or 0) - compared)

    def _arrays(self, one: Any, other: Any, start: int) -> None:
        values = one.to_numpy(zero_copy_only=False), other.to_numpy(zero_copy_only=False)
        if is_time_name(self.name) and is_time(self.name, *map(_least, values)):
            count = int((values[0] != values[1]).sum())
            example = shown(values[0][0]), shown(values[1][0])
            self._volatile.add(f"time ({self.name})", *example, count)
            self.numbers.equal(len(one))
            return
        self.numbers.array(*values, lambda index: self._where(start + index))

    def _one_by_one(self, one: Any, other: Any, start: int) -> None:
        import pyarrow as pa

        if pa.types.is_temporal(one.type):
            self._moments(one, other, start)
            return
        pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
        for row, (value, now) in enumerate(pairs, start):
            place = self._where(row)
            compare_nested(self.numbers, self._volatile, value, now, place, self.name)

    def _moments(self, one: Any, other: Any, start: int) -> None:
        """Compare dates, times and durations; Python has no nanoseconds, so by their texts."""
        texts = (map(_text, array) for array in (one, other))
        for row, (value, now) in enumerate(zip(*texts, strict=True), start):
            if value != now and is_time_name(self.name):
                self._volatile.add(f"time ({self.name})", value, now)
                self.numbers.equal(1)
            else:
                self.numbers.number(value, now, lambda row=row: self._where(row))  # type: ignore[misc]

    def _where(self, row: int) -> str:
        return f"row {row + 1}, column {self.name}"


def _is_numeric(array: Any) -> bool:
    """Whether numpy can take it as numbers, and is there."""
    import pyarrow as pa

    types = pa.types
    if not (types.is_integer(array.type) or types.is_floating(array.type)):
        return False
    try:
        import numpy  # noqa: F401
    except ImportError:
        return False
    return True


def _text(scalar: Any) -> str:
    """A moment or duration in words."""
    return str(scalar.cast("string")) if scalar.is_valid else "nothing"


def _least(values: Any) -> Any:
    return values.min().item()
