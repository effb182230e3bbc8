"""SQLite databases by schema and row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprorun.compare import sqlite
from reprorun.compare.content import file_content
from reprorun.compare.registry import compare_contents
from reprorun.compare.values import Finding, Settings, Tolerance

from .rich_kit import SETTINGS, Damage, content, damages, judged

SCHEMA = (
    "CREATE TABLE runs (id INTEGER PRIMARY KEY, loss REAL, name TEXT, data BLOB, wall_time REAL)",
    "CREATE TABLE log (a, b)",
    "CREATE TABLE named (k TEXT PRIMARY KEY, v) WITHOUT ROWID",
)
RUNS = [(i, i * 0.5, f"run {i}", bytes([i]), 1.7e9 + i) for i in range(20)]
LOG = [(i, str(i)) for i in range(10)]


def database(
    tmp_path: Path,
    *,
    runs: Any = RUNS,
    log: Any = LOG,
    more: tuple[str, ...] = (),
    last: tuple[str, ...] = (),
) -> bytes:
    path = tmp_path / "made.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as made:
        for statement in (*SCHEMA, *more):
            made.execute(statement)
        made.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", runs)
        made.executemany("INSERT INTO log VALUES (?, ?)", log)
        made.execute("INSERT INTO named VALUES ('a', 1)")
        made.commit()
        for statement in last:
            made.execute(statement)
        made.commit()
    return path.read_bytes()


def judge(a: bytes, b: bytes, with_settings: Settings = SETTINGS) -> Finding:
    return sqlite.compare(content("r.db", a), content("r.db", b), with_settings)


def test_the_layout_of_pages_is_aside(tmp_path: Path) -> None:
    other = database(tmp_path, last=("PRAGMA page_size = 8192", "VACUUM"))
    assert judge(database(tmp_path), other).verdict == "equivalent"
    analyzed = database(tmp_path, more=("CREATE INDEX i ON log (a)",))
    again = database(tmp_path, more=("CREATE INDEX i ON log (a)",), last=("ANALYZE",))
    assert judge(analyzed, again).verdict == "equivalent"


def test_rows_without_a_key_are_a_set(tmp_path: Path) -> None:
    found = judge(database(tmp_path), database(tmp_path, log=LOG[::-1]))
    assert found.verdict == "equivalent"
    assert [(each.what, each.example) for each in found.volatile] == [("order of rows", "log")]
    twice = database(tmp_path, log=[*LOG[:-1], LOG[0]])
    assert judge(database(tmp_path), twice).verdict == "different"


def test_wall_times_are_volatile(tmp_path: Path) -> None:
    later = [(*row[:4], row[4] + 100) for row in RUNS]
    found = judge(database(tmp_path), database(tmp_path, runs=later))
    assert found.verdict == "equivalent"
    assert [(each.what, each.count) for each in found.volatile] == [("time (wall_time)", 20)]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("databases")


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 19), st.integers(1, 3))
def test_any_changed_value_is_found(scratch: Path, row: int, column: int) -> None:
    changed = list(RUNS[row])
    changed[column] = [None, 99.5, "other", b"other"][column]
    runs = [*RUNS[:row], tuple(changed), *RUNS[row + 1 :]]
    found = judge(database(scratch), database(scratch, runs=runs))
    assert found.verdict == "different"
    assert found.divergence is not None
    name = ["id", "loss", "name", "data"][column]
    assert found.divergence.where == f"row {row + 1} of table runs, column {name}"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"runs": RUNS[:-1]}, "row 20 of table runs"),
        ({"log": [(0.0, "0"), *LOG[1:]]}, "row 1 of table log, column a"),
        ({"more": ("CREATE TABLE t (x)",)}, "definition of table t"),
        ({"more": ("CREATE VIEW v AS SELECT 1",)}, "definition of view v"),
        ({"last": ("PRAGMA user_version = 3",)}, "user version"),
        ({"last": ("ALTER TABLE log ADD COLUMN c",)}, "definition of table log"),
    ],
)
def test_what_differs_is_named(tmp_path: Path, change: Any, where: str) -> None:
    one, other = database(tmp_path), database(tmp_path, **change)
    for found in (judge(one, other), judge(other, one)):
        assert found.verdict == "different"
        assert found.divergence is not None
        assert found.divergence.where == where


def test_tolerance_by_column(tmp_path: Path) -> None:
    near = [(row[0], row[1] + 0.001, *row[2:]) for row in RUNS]
    allowed = Settings(columns=(("*.db", "loss", Tolerance(atol=0.01)),))
    one, other = database(tmp_path), database(tmp_path, runs=near)
    assert judge(one, other, allowed).verdict == "within tolerance"
    assert judge(one, other).verdict == "different"


# ---------------------------------------------------------------- bad input


@settings(max_examples=100, deadline=None)
@given(damages(), st.booleans())
def test_damage_is_a_verdict(scratch: Path, damage: Damage, first: bool) -> None:
    good = database(scratch)
    judged(sqlite.compare, "r.db", *((damage(good), good) if first else (good, damage(good))))


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    before = sorted(os_entry.name for os_entry in path.iterdir())
    contents = {name: (path / name).read_bytes() for name in before}
    yield
    assert sorted(entry.name for entry in path.iterdir()) == before
    assert {name: (path / name).read_bytes() for name in before} == contents


def test_a_file_is_not_touched(tmp_path: Path) -> None:
    places = [tmp_path / "a #1?mode=rw.db", tmp_path / "b%20.db"]
    places[0].write_bytes(database(tmp_path))
    places[1].write_bytes(database(tmp_path, runs=RUNS[:3]))
    with unchanged(tmp_path):
        contents = [file_content(str(place)) for place in places]
        assert compare_contents(*contents, SETTINGS).verdict == "different"


def test_nothing_in_it_is_run(tmp_path: Path) -> None:
    hostile = (
        "CREATE TABLE g (a, b GENERATED ALWAYS AS (hex(a)) VIRTUAL)",
        "CREATE VIEW runaway AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)"
        " SELECT * FROM c",
    )
    one = database(tmp_path, more=hostile, last=("INSERT INTO g (a) VALUES (1)",))
    other = database(tmp_path, more=hostile, last=("INSERT INTO g (a) VALUES (2)",))
    found = judge(one, other)
    assert found.divergence is not None
    assert found.divergence.where == "row 1 of table g, column a"
    path = tmp_path / "g.db"
    path.write_bytes(one)
    with sqlite._database(file_content(str(path))) as opened:
        assert sqlite._tables(opened)["g"].columns == ("a",)  # of b no authorizer is asked


def test_the_guard_allows_reading_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    path.write_bytes(database(tmp_path))
    with sqlite._database(file_content(str(path))) as opened:
        assert len(opened.execute("SELECT id FROM runs").fetchall()) == 20
        for statement in (
            "SELECT hex(data) FROM runs",
            "DELETE FROM runs",
            "PRAGMA user_version = 1",
            "ATTACH '/etc/passwd' AS x",
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT * FROM c",
        ):
            with pytest.raises(sqlite3.Error):
                opened.execute(statement)


def test_what_is_not_compared_is_said(tmp_path: Path) -> None:
    places = [tmp_path / "one.db", tmp_path / "other.db"]
    places[0].write_bytes(database(tmp_path))
    places[1].write_bytes(database(tmp_path, last=("VACUUM",), more=()))
    (tmp_path / "one.db-wal").write_bytes(b"x")
    found = sqlite.compare(*(file_content(str(place)) for place in places), SETTINGS)
    assert any("-wal" in note for note in found.notes)


def test_hostile_names(tmp_path: Path) -> None:
    name = 'x"; DROP TABLE runs; --'
    quoted = '"' + name.replace('"', '""') + '"'
    pair = [
        database(
            tmp_path,
            more=(f"CREATE TABLE {quoted} ({quoted})",),
            last=(f"INSERT INTO {quoted} VALUES ({value})",),
        )
        for value in (1, 2)
    ]
    found = judge(*pair)
    assert found.divergence is not None
    assert found.divergence.where == f"row 1 of table {name}, column {name}"
