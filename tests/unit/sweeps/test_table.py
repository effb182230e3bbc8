"""`sweep.csv`: which rows it takes from records, hostile ones among them, and how it is written."""

from __future__ import annotations

import csv
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.sweeps.progress import MOST_COLUMNS, last_row, plain
from reprorun.sweeps.table import Result, read_results, write_table
from reprorun.sweeps.values import Entry, EntryStatus, Params

EVIL = "\x1b[31m\x00\u202e\udcff"


def put(path: Path, content: str | bytes = "loss\n1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def entry(name: str | None = "a", status: EntryStatus = "finished", **fields: Any) -> Entry:
    return Entry(status=status, log_dir=name, **fields)


def table(path: Path, *results: Result) -> list[list[str]]:
    write_table(str(path), results)
    with path.open(newline="") as file:
        return list(csv.reader(file))


# ---------------------------------------------------------------- the last row


@pytest.mark.parametrize(
    ("content", "ended", "wanted"),
    [
        ("step,loss\n1,0.5\n2,0.25\n", True, {"step": "2", "loss": "0.25"}),
        ("step,loss\r\n1,0.5\r\n2,0.25\r\n", True, {"step": "2", "loss": "0.25"}),
        ("\ufeffstep,loss\n1,0.5\n\n\n", True, {"step": "1", "loss": "0.5"}),
        ("step,loss\n1,0.5\n2,0.2", False, {"step": "1", "loss": "0.5"}),  # it was killed
        ("step,loss\n1,0.5\n2,0.2", True, {"step": "2", "loss": "0.2"}),
        ("step,loss\n1", False, {}),
        ("step,loss\n", True, {}),
        ("step,loss", True, {}),
        ("", True, {}),
        ("step,loss\n1\n", True, {"step": "1"}),
        ("step\n1,2,3\n", True, {"step": "1"}),
        ('a,"b\nc"\n1,"2\n\n3"\n', True, {"a": "1", "b\\nc": "2\\n\\n3"}),
        ('a,b\n1,"never closed\n', True, {}),
        (b"a\xff,b\n\x00,2\n", True, {"a\\xff": "\\x00", "b": "2"}),
        ("a,,a\n1,2,3\n", True, {"a": "3"}),
    ],
)
def test_the_last_whole_row(
    tmp_path: Path, content: str | bytes, ended: bool, wanted: dict[str, str]
) -> None:
    put(tmp_path / "progress.csv", content)
    assert last_row(str(tmp_path), ended=ended) == wanted


@given(st.binary(max_size=300))
def test_whatever_it_holds(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    record = tmp_path_factory.mktemp("record")
    put(record / "progress.csv", content)
    row = last_row(str(record), ended=True)
    assert all(text.isprintable() for text in (*row, *row.values()))


def test_of_a_large_file_only_the_ends_are_read(tmp_path: Path) -> None:
    """Two gigabytes, most of them a hole."""
    with (tmp_path / "progress.csv").open("wb") as file:
        file.write(b"step,loss\n1,0.5\n")
        file.seek(2 << 30)
        file.write(b"\n8,0.25\n9,0.125\n")
    tracemalloc.start()
    assert last_row(str(tmp_path), ended=True) == {"step": "9", "loss": "0.125"}
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_rows_too_long_to_be_read(tmp_path: Path) -> None:
    put(tmp_path / "progress.csv", "a,b\n1," + "x" * 200_000 + "\n")
    assert last_row(str(tmp_path), ended=True) == {}
    put(tmp_path / "progress.csv", ",".join(f"c{n}" for n in range(30_000)) + "\n1\n")
    assert last_row(str(tmp_path), ended=True) == {}


# ---------------------------------------------------------------- which file


def test_the_shallowest(tmp_path: Path) -> None:
    put(tmp_path / "outputs/logs/progress.csv", "x\n3\n")
    assert last_row(str(tmp_path), ended=True) == {"x": "3"}
    put(tmp_path / "train/progress.csv", "x\n2\n")
    assert last_row(str(tmp_path), ended=True) == {"x": "2"}
    put(tmp_path / "progress.csv", "x\n1\n")
    assert last_row(str(tmp_path), ended=True) == {"x": "1"}


def test_several_equally_deep(tmp_path: Path) -> None:
    put(tmp_path / "train_1/progress.csv", "x\n2\n")
    put(tmp_path / "train/progress.csv", "x\n1\n")
    assert last_row(str(tmp_path), ended=True) == {"train/x": "1", "train_1/x": "2"}


def test_no_link_is_followed(tmp_path: Path) -> None:
    secret = put(tmp_path / "elsewhere/progress.csv", "secret\n1\n")
    record = tmp_path / "record"
    (record / "sub").mkdir(parents=True)
    (record / "progress.csv").symlink_to(secret)
    (record / "outputs").symlink_to(secret.parent)
    (record / "sub" / "progress.csv").symlink_to("../../elsewhere/progress.csv")
    assert last_row(str(record), ended=True) == {}
    (tmp_path / "link").symlink_to(secret.parent)
    assert last_row(str(tmp_path / "link"), ended=True) == {}


def test_a_link_does_not_hide_a_file(tmp_path: Path) -> None:
    put(tmp_path / "train/progress.csv", "x\n2\n")
    (tmp_path / "progress.csv").symlink_to("train/progress.csv")
    assert last_row(str(tmp_path), ended=True) == {"x": "2"}


def test_a_link_that_has_taken_the_place_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "secret.csv", "secret\n1\n")
    (tmp_path / "progress.csv").symlink_to("secret.csv")
    monkeypatch.setattr("reprorun.sweeps.progress._shallowest", lambda root: ["progress.csv"])
    assert last_row(str(tmp_path), ended=True) == {}


@pytest.mark.timeout(10)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "progress.csv")
    (tmp_path / "sub" / "progress.csv").mkdir(parents=True)
    assert last_row(str(tmp_path), ended=True) == {}
    assert last_row(str(tmp_path / "nowhere"), ended=True) == {}


@pytest.mark.timeout(10)
def test_the_search_has_an_end(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number:04}").mkdir()
    put(tmp_path / "0999/deep/progress.csv")
    assert last_row(str(tmp_path), ended=True) == {}
    deep = tmp_path / "0000"
    for _ in range(200):
        deep = deep / "d"
    put(deep / "progress.csv")
    assert last_row(str(tmp_path), ended=True) == {}


# ---------------------------------------------------------------- text that nothing obeys


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-cmd", "'-cmd"),
        ("@sum", "'@sum"),
        (" =1+1", "' =1+1"),
        ("\t=1+1", "\\t=1+1"),
        ("-1.5e-3", "-1.5e-3"),
        ("+2", "+2"),
        ("-inf", "-inf"),
        ("a=1", "a=1"),
        ("x\x1b[2J\n", "x\\x1b[2J\\n"),
        ("", ""),
    ],
)
def test_text_made_harmless(text: str, wanted: str) -> None:
    assert plain(text) == wanted


def test_long_cells_are_cut() -> None:
    assert plain("x" * 1000) == "x" * 1000
    assert plain("x" * 1001) == "x" * 999 + "…"


# ---------------------------------------------------------------- the table


def test_a_line_for_each_run_in_order(tmp_path: Path) -> None:
    put(tmp_path / "a/progress.csv", "step,loss\n1,0.5\n")
    put(tmp_path / "b/progress.csv", "step,reward\n2,7\n")
    runs: list[tuple[Params, Entry]] = [
        ({"seed": 1, "net": [8, 8]}, entry("a", exit_code=0, seconds=2.0)),
        ({"seed": 2, "lr": None}, entry("b", "failed", exit_code=1, seconds=0.12345)),
        ({"seed": 3, "net": "wide, deep", "on": True}, Entry()),
    ]
    path = tmp_path / "sweep.csv"
    assert write_table(str(path), read_results(str(tmp_path), runs)) == ()
    assert path.read_text() == (
        "seed,net,lr,on,record,status,exit_code,seconds,step,loss,reward\n"
        '1,"[8, 8]",,,a,finished,0,2.000,1,0.5,\n'
        "2,,null,,b,failed,1,0.123,2,,7\n"
        '3,"wide, deep",,true,,planned,,,,,\n'
    )


def test_names_that_are_taken(tmp_path: Path) -> None:
    params: Params = {"lr": 1, "status": "x", "progress/seconds": 2}
    metrics = {"lr": "0.5", "record": "m", "seconds": "9", "loss": "3"}
    header, row = table(tmp_path / "t.csv", Result(params, entry("a", seconds=1.0), metrics))
    assert header == [
        *("lr", "status", "progress/seconds"),
        *("record", "run/status", "exit_code", "seconds"),
        *("progress/lr", "progress/record", "progress/progress/seconds", "loss"),
    ]
    assert row == ["1", "x", "2", "a", "finished", "", "1.000", "0.5", "m", "9", "3"]


def test_it_has_no_more_columns_than_a_person_wants(tmp_path: Path) -> None:
    def results() -> Iterator[Result]:
        for run in range(10):
            yield Result({}, entry(), {f"r{run}c{column}": "1" for column in range(150)})

    path = tmp_path / "t.csv"
    (note,) = write_table(str(path), results())
    assert note == "sweep.csv has 200 columns of progress.csv; there are more, such as 'r1c50'."
    assert len(path.read_text().partition("\n")[0].split(",")) == 4 + MOST_COLUMNS


def test_hostile_text_in_parameters_and_records(tmp_path: Path) -> None:
    put(tmp_path / "a/progress.csv", b'=cmd(),"\x1b[2J"\n=evil(),"a\nb"\n')
    runs: list[tuple[Params, Entry]] = [({"=p": "@x" + EVIL}, entry("a"))]
    path = tmp_path / "sweep.csv"
    write_table(str(path), read_results(str(tmp_path), runs))
    text = path.read_text()
    assert text.count("\n") == 2
    assert text.replace("\n", "").isprintable()
    header, row = (line.split(",") for line in text.splitlines())
    assert (header[0], header[-2], header[-1]) == ("'=p", "'=cmd()", "\\x1b[2J")
    assert (row[0][:3], row[-2], row[-1]) == ("'@x", "'=evil()", "a\\nb")


@pytest.mark.parametrize("name", ["../out", "/etc", "..", ".", "a/b", "a\0b", ""])
def test_a_record_lies_in_the_sweeps_directory(tmp_path: Path, name: str) -> None:
    put(tmp_path / "out/progress.csv", "secret\n1\n")
    put(tmp_path / "sweep/a/b/progress.csv", "secret\n1\n")
    put(tmp_path / "sweep/progress.csv", "secret\n1\n")
    (result,) = read_results(str(tmp_path / "sweep"), [({}, entry(name))])
    assert result.metrics == {}


def test_the_reasons_of_those_that_failed(tmp_path: Path) -> None:
    put(tmp_path / "a/run.json", json.dumps({"reason": "out of memory", "other": [1]}))
    put(tmp_path / "b/run.json", b"\xff{")
    put(tmp_path / "secret.json", json.dumps({"reason": "secret"}))
    (tmp_path / "c").mkdir()
    (tmp_path / "c/run.json").symlink_to(tmp_path / "secret.json")
    runs: list[tuple[Params, Entry]] = [
        ({}, entry(name, "failed")) for name in ("a", "b", "c", "d")
    ]
    found = [each.reason for each in read_results(str(tmp_path), runs, reasons=True)]
    assert found == ["out of memory", "", "", ""]
    assert {each.reason for each in read_results(str(tmp_path), runs)} == {""}


def test_it_is_whole_at_any_time(tmp_path: Path) -> None:
    path = put(tmp_path / "sweep.csv", "before")

    def broken() -> Iterator[Result]:
        yield Result({"a": 1}, entry(), {})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_table(str(path), broken())
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["sweep.csv"]
    with path.open() as reader:
        write_table(str(path), [])
        assert reader.read() == "before"  # it was replaced, not written over


def test_memory_does_not_grow_with_the_runs(tmp_path: Path) -> None:
    def most(runs: int) -> int:
        metrics = {f"metric {n}": str(n) for n in range(50)}
        tracemalloc.start()
        one = (Result({"seed": n}, entry(f"run {n}"), dict(metrics)) for n in range(runs))
        write_table(str(tmp_path / "t.csv"), one)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    most(10)
    assert most(3000) < most(100) + (64 << 10)
