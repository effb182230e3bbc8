"""`reprorun ls`: the table, the same with the index as without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reprorun import files, held, record_index, store
from reprorun.cli import run

from . import values

Capture = pytest.CaptureFixture[str]
EVIL = "\x1b[2J\x1b]0;owned\x07\u202e"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(record_index, "WORTH", 2)
    monkeypatch.setattr(record_index, "_CLOCK", -(10**9))


def write(place: str, **fields: Any) -> None:
    Path(place).mkdir(parents=True, exist_ok=True)
    store.write_record(place, values.record(**fields))


def make(root: str = "runs", count: int = 5) -> None:
    """Records of which the first by name is the last by creation."""
    for number in range(count):
        write(f"{root}/{number}", created=f"2024-03-31T12:34:{59 - number}.000001+00:00")


def ls(capsys: Capture, *arguments: str) -> tuple[list[str], list[str]]:
    """The rows without the header, and what is said beside."""
    capsys.readouterr()
    assert run(["ls", *arguments]) == 0
    said = capsys.readouterr()
    return said.out.splitlines()[1:], said.err.splitlines()


def indexed() -> bool:
    return bool(os.listdir(files.cache_directory("index")))


def test_the_second_time_says_the_same(capsys: Capture) -> None:
    make()
    values.keep(Path("runs/bad"), "{")
    rows, told = ls(capsys, "runs")
    assert indexed()
    assert [row.split()[0] for row in rows] == [f"runs/{n}" for n in (4, 3, 2, 1, 0)]
    assert rows[0] == (
        "runs/4  finished  0     2024-03-31 12:34:55        -       train.py --lr 0.1"
    )
    assert len(told) == 1
    assert "runs/bad/run.json can't be read" in told[0]
    assert ls(capsys, "runs") == (rows, told)


def test_a_run_that_ends_is_seen(capsys: Capture) -> None:
    make()
    write("runs/9", created="2023", status="running", exit_code=None)
    assert ls(capsys, "runs")[0][0].split()[:2] == ["runs/9", "running"]
    write("runs/9", created="2023", status="failed", exit_code=3)
    assert ls(capsys, "runs")[0][0].split()[:3] == ["runs/9", "failed", "3"]
    write("runs/9", created="2023", status="finished", exit_code=0)
    assert ls(capsys, "runs")[0][0].split()[:3] == ["runs/9", "finished", "0"]


@pytest.mark.parametrize(
    ("start", "directory", "shown"),
    [
        (".", "runs", "runs/0"),
        (".", "runs/", "runs/0"),
        (".", ".", "runs/0"),
        (".", "other/../runs/.", "runs/0"),
        ("runs", ".", "0"),
        ("runs/0", "..", "."),
        ("runs/4", "..", "../0"),
        ("runs/4", "../..", "../0"),
        ("runs", "..", "0"),
        ("runs/0", ".", "."),
        ("other", "../runs", "../runs/0"),
        ("other", "../runs/0", "../runs/0"),
        ("other", "{root}/runs", "../runs/0"),
    ],
)
def test_paths_are_relative_to_where_one_is(
    start: str, directory: str, shown: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    Path("other").mkdir()
    root = str(Path.cwd())
    monkeypatch.chdir(start)
    for _ in range(2):
        rows, told = ls(capsys, directory.format(root=root))
        assert rows[-1].split()[0] == shown
        assert told == []


@pytest.mark.parametrize(("status", "told"), [("running", True), ("finished", False)])
def test_runs_that_were_cut_short(status: str, told: bool, capsys: Capture) -> None:
    write("runs/cut", status=status)
    left = held.hold("a" * 16)
    assert ls(capsys, "runs")[1] == []  # somebody is at work on it
    left.let_go()
    _, said = ls(capsys, "runs")
    assert any("`reprorun recover`" in line for line in said) == told
    left = held.take_over()[0]
    left.end()
    assert ls(capsys, "runs")[1] == []


def test_several_directories_are_one_list(capsys: Capture) -> None:
    make("b")
    make("a", 3)
    write("c/newest", created="2025")
    for _ in range(2):
        rows, _ = ls(capsys, "c", "b", "a")
        assert [row.split()[0] for row in rows] == [
            *("b/4", "b/3", "b/2", "a/2", "b/1", "a/1", "b/0", "a/0", "c/newest")
        ]
    assert run(["ls", "a", "nowhere"]) == 2
    assert capsys.readouterr().out == ""


def test_json_reads_whole_records(capsys: Capture) -> None:
    make()
    ls(capsys, "runs")
    run(["ls", "--json", "runs"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in rows] == [f"runs/{n}" for n in (4, 3, 2, 1, 0)]
    assert rows[0]["argv"] == ["train.py", "--lr", "0.1"]


def test_what_the_index_holds_is_made_printable_too(capsys: Capture) -> None:
    make()
    write(f"runs/x{EVIL}", argv=(EVIL, "a b\n"), created=EVIL, githash=EVIL)
    first = ls(capsys, "runs")
    second = ls(capsys, "runs")
    assert first == second
    assert all(line.isprintable() for line in second[0])
    assert any("\\x1b[2J" in line and "'a b\\n'" in line for line in second[0])


def test_a_few_records_cost_no_import_for_the_index() -> None:
    make()
    program = (
        "import sys; from reprorun.cli import run; run(['ls', 'runs'])\n"
        "print(sorted({'platformdirs', 'sqlite3', 'tempfile'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(done.stdout.splitlines()) == 7
