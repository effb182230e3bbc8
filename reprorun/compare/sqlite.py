"""SQLite databases, by schema and row; how pages are laid out is aside.

A database is opened read-only and as one that nobody changes. Nothing that it holds is carried
out: an authorizer allows reading, so that no function, trigger or virtual table is run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from itertools import zip_longest
from os.path import abspath, exists
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from reprorun.compare.content import read_full
from reprorun.compare.nested import compare_nested
from reprorun.compare.numbers import Numbers, cut
from reprorun.compare.rich import Parts, Refused, on_disk, paired, refused
from reprorun.compare.values import Content, Finding, Settings, Unreadable, Volatile
from reprorun.compare.volatile import VolatileTally
from reprorun.model import Value

_MAGIC = b"SQLite format 3\0"
_LARGEST = 1 << 28  # bytes of one value
_MOST_TABLES = 10_000
_MARKS = {60: "user version", 68: "application id"}  # offsets of the header
_ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
_STATISTICS = "sqlite_stat"  # of ANALYZE: no content

Row = tuple[Any, ...]


class Table(Value, frozen=True, kw_only=True):
    """An ordinary table."""

    name: str
    columns: tuple[str, ...]  # that are stored
    key: tuple[str, ...]  # of its primary key
    has_rowid: bool


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two databases."""
    try:
        with ExitStack() as opened:
            one, other = (opened.enter_context(_database(content)) for content in (a, b))
            found = _Databases(a, b, settings).compare(one, other)
    except Refused as error:
        return refused("sqlite", error)
    except sqlite3.Error as error:
        raise Unreadable(f"it is a damaged database: {error}"[:200]) from error
    except (OverflowError, UnicodeError) as error:
        raise Unreadable(f"it is a damaged database ({type(error).__name__})") from error
    return found


class _Databases:
    """Two databases, side by side."""

    def __init__(self, a: Content, b: Content, settings: Settings) -> None:
        self._contents = a, b
        self._settings = settings
        self._parts = Parts("sqlite", "table")
        self._reordered: list[str] = []
        self._virtual: list[str] = []
        self._times = VolatileTally()

    def compare(self, a: sqlite3.Connection, b: sqlite3.Connection) -> Finding:
        """Compare the marks of the header, the definitions, and all rows."""
        self._marks()
        self._definitions(_definitions(a), _definitions(b))
        pairs = paired(self._parts.whole, "table", _tables(a), _tables(b))
        for order, (_, one, other) in enumerate(pairs):
            self._table(order, (a, one), (b, other))
        found = self._parts.finding(
            volatile=self._volatile(), equal="all rows are equal; the layout of the file differs"
        )
        return replace(found, notes=(*found.notes, *self._notes()))

    def _marks(self) -> None:
        headers = [_header(content) for content in self._contents]
        for offset, name in _MARKS.items():
            one, other = (int.from_bytes(head[offset : offset + 4], "big") for head in headers)
            if one != other:
                self._parts.whole.mismatch(name, str(one), str(other))

    def _definitions(self, a: dict[str, str], b: dict[str, str]) -> None:
        """Compare how tables, indices, views and triggers are defined."""
        for name, one, other in paired(self._parts.whole, "definition of", a, b):
            if one != other:
                self._parts.whole.mismatch(f"definition of {name}", cut(one), cut(other))
            if one.lower().startswith("create virtual"):
                self._virtual.append(name)

    def _table(
        self, order: int, a: tuple[sqlite3.Connection, Table], b: tuple[sqlite3.Connection, Table]
    ) -> None:
        """Compare the rows of one table: in their order, and where that differs without it."""
        numbers = Numbers(self._settings.tolerance_of(self._contents[0].name))
        if a[1].columns != b[1].columns:
            columns = (cut(", ".join(table.columns)) for _, table in (a, b))
            numbers.mismatch(f"columns of table {a[1].name}", *columns)
        else:
            self._rows(numbers, a, b)
            ordered = a[1].key or b[1].key
            if numbers.verdict == "different" and not ordered and _digest(*a) == _digest(*b):
                self._reordered.append(a[1].name)
                numbers = Numbers(numbers.tolerance)
        self._parts.add(a[1].name, numbers, order)

    def _rows(
        self,
        numbers: Numbers,
        a: tuple[sqlite3.Connection, Table],
        b: tuple[sqlite3.Connection, Table],
    ) -> None:
        table = a[1]
        with closing(_rows(*a)) as mine, closing(_rows(*b)) as theirs:
            for number, (row, twin) in enumerate(zip_longest(mine, theirs), 1):
                where = f"row {number} of table {table.name}"
                if row is None or twin is None:
                    numbers.mismatch(where, _shown_row(row), _shown_row(twin))
                    return
                self._row(numbers, table, row, twin, where)

    def _row(self, numbers: Numbers, table: Table, row: Row, twin: Row, where: str) -> None:
        if row == twin and list(map(type, row)) == list(map(type, twin)):
            numbers.equal(len(row))
            return
        name = self._contents[0].name
        for column, value, now in zip(table.columns, row, twin, strict=True):
            numbers.tolerance = self._settings.tolerance_of(name, column)
            place = f"{where}, column {column}"
            compare_nested(numbers, self._times, value, now, place, column)

    def _volatile(self) -> tuple[Volatile, ...]:
        if self._reordered:
            names = ", ".join(self._reordered[:3])
            order = Volatile(what="order of rows", count=len(self._reordered), example=names)
            return (order, *self._times.result())
        return self._times.result()

    def _notes(self) -> Iterator[str]:
        """What is not compared."""
        if self._virtual:
            yield f"virtual tables are compared by their definition: {', '.join(self._virtual[:3])}"
        for content in self._contents:
            if content.path and exists(f"{content.path}-wal"):
                yield "a -wal file beside it may hold more, and is compared on its own"
                return


def _shown_row(row: Row | None) -> str:
    return "no more rows" if row is None else cut(", ".join(map(repr, row[:8])))


# ---------------------------------------------------------------- reading


def _header(content: Content) -> bytes:
    with content.open() as stream:
        return read_full(stream, 100)


@contextmanager
def _database(content: Content) -> Iterator[sqlite3.Connection]:
    """A database that can be read and nothing else.

    Raises:
        Unreadable: it is none.
    """
    if not _header(content).startswith(_MAGIC):
        raise Unreadable("it is no SQLite database")
    with on_disk(content) as path:
        address = f"file:{quote(abspath(path))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as database:
            database.text_factory = lambda data: data.decode(errors="surrogateescape")
            if hasattr(database, "setlimit"):  # since Python 3.11
                database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST)
            database.set_authorizer(_authorize)
            yield database


def _authorize(action: int, what: str | None, *_: Any) -> int:
    """Allow nothing but to read columns, and to ask what columns there are."""
    asks = action == sqlite3.SQLITE_PRAGMA and what == "table_xinfo"
    return sqlite3.SQLITE_OK if asks or action in _ALLOWED else sqlite3.SQLITE_DENY


def _definitions(database: sqlite3.Connection) -> dict[str, str]:
    """What the schema says of each table, index, view and trigger, without its white space."""
    rows = database.execute("SELECT type, name, sql FROM sqlite_master").fetchmany(_MOST_TABLES)
    if len(rows) == _MOST_TABLES:
        raise Refused(f"it has more than {_MOST_TABLES:,} tables")
    return {
        f"{kind} {name}": " ".join(str(sql).split())
        for kind, name, sql in sorted(rows, key=lambda row: (row[0] != "table", str(row[1])))
        if not str(name).startswith(_STATISTICS)
    }


def _tables(database: sqlite3.Connection) -> dict[str, Table]:
    """The ordinary tables by name."""
    rows = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    names = [
        str(name)
        for name, sql in rows
        if not str(name).startswith(_STATISTICS)
        and not str(sql).lower().startswith("create virtual")
    ]
    return {name: _table(database, name) for name in sorted(names)}


def _table(database: sqlite3.Connection, name: str) -> Table:
    """A table as SQLite describes it. Generated columns are left out: reading runs functions."""
    rows = database.execute(f"PRAGMA table_xinfo({_quoted(name)})").fetchall()
    stored = [row for row in rows if row[6] == 0]
    keys = sorted((row for row in stored if row[5]), key=lambda row: int(row[5]))
    return Table(
        name=name,
        columns=tuple(str(row[1]) for row in stored),
        key=tuple(str(row[1]) for row in keys),
        has_rowid=_has_rowid(database, name),
    )


def _has_rowid(database: sqlite3.Connection, name: str) -> bool:
    """Whether it is not WITHOUT ROWID."""
    try:
        database.execute(f"SELECT _rowid_ FROM {_quoted(name)} LIMIT 0")
    except sqlite3.OperationalError:
        return False
    return True


def _rows(database: sqlite3.Connection, table: Table) -> Generator[Row, None, None]:
    """The rows, by primary key, else in the order in which they were put in."""
    columns = ", ".join(map(_quoted, table.columns)) or "NULL"
    by_key = ", ".join(map(_quoted, table.key))
    order = by_key or ("_rowid_" if table.has_rowid else "1")
    query = f"SELECT {columns} FROM {_quoted(table.name)} NOT INDEXED ORDER BY {order}"
    yield from database.execute(query)


def _digest(database: sqlite3.Connection, table: Table) -> tuple[int, int]:
    """The same for the same rows in any order: how many, and the sum of their digests."""
    count = total = 0
    for row in _rows(database, table):
        count += 1
        total += int.from_bytes(sha256(repr(row).encode(errors="surrogatepass")).digest(), "big")
    return count, total % (1 << 256)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
