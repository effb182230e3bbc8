"""Records that arrive: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reprorun import store
from reprorun.cluster.arriving import receive_directories, receive_record, unfinished
from reprorun.cluster.taking import LostOnTheWay
from reprorun.cluster.trees import pack_tree
from reprorun.errors import EngineError, RecordError
from reprorun.known import noted_place
from reprorun.model import Record, SchemaMark


def make(path: Path, run_id: str = "abc") -> Path:
    path.mkdir(parents=True)
    record = Record(
        reprorun=SchemaMark(version="1"), id=run_id, status="finished", created="", argv=("x",)
    )
    store.write_record(str(path), record)
    (path / "large.bin").write_bytes(os.urandom(9 << 20))
    return path


def test_a_record_gets_its_place(tmp_path: Path) -> None:
    there = make(tmp_path / "node" / "x")
    target = tmp_path / "runs" / "deep" / "run-1"
    record = receive_record(pack_tree(str(there)), str(target), "abc")
    assert record == store.read_record(str(target))
    assert (target / "large.bin").read_bytes() == (there / "large.bin").read_bytes()
    assert os.listdir(target.parent) == ["run-1"]
    assert noted_place("abc") == str(target)
    assert target.stat().st_mode & 0o777 == 0o755


def test_nothing_is_seen_of_it_before_it_is_whole(tmp_path: Path) -> None:
    pieces = pack_tree(str(make(tmp_path / "node" / "x")))
    runs = tmp_path / "runs"
    seen: list[list[str]] = []

    def watched() -> Iterator[bytes]:
        for piece in pieces:
            seen.append(list(store.find_records(str(runs))))
            yield piece
        seen.append(list(store.find_records(str(runs))))

    receive_record(watched(), str(runs / "run-1"), "abc")
    assert len(seen) > 2
    assert seen == [[]] * len(seen)
    assert list(store.find_records(str(runs))) == [str(runs / "run-1")]


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    pieces = pack_tree(str(make(tmp_path / "node" / "x")))
    runs = tmp_path / "runs"

    def broken() -> Iterator[bytes]:
        yield next(pieces)
        raise LostOnTheWay("the node is gone")

    with pytest.raises(LostOnTheWay):
        receive_record(broken(), str(runs / "run-1"), "abc")
    assert os.listdir(runs) == []
    assert noted_place("abc") is None


def test_another_record_than_was_said_is_refused(tmp_path: Path) -> None:
    there = make(tmp_path / "node" / "x", "other")
    with pytest.raises(RecordError, match="'other' came"):
        receive_record(pack_tree(str(there)), str(tmp_path / "runs" / "run-1"), "abc")
    assert os.listdir(tmp_path / "runs") == []


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    there = make(tmp_path / "node" / "x")
    (tmp_path / "runs" / "run-1").mkdir(parents=True)
    (tmp_path / "runs" / "run-1" / "mine").write_text("mine")
    with pytest.raises(EngineError):
        receive_record(pack_tree(str(there)), str(tmp_path / "runs" / "run-1"), "abc")
    assert os.listdir(tmp_path / "runs" / "run-1") == ["mine"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    stale = tmp_path / ".reprorun-0123456789abcdef.tmp"
    stale.mkdir()
    (stale / "half").write_text("half")
    with unfinished(str(tmp_path)) as first, unfinished(str(tmp_path)) as second:
        assert not stale.exists()
        assert Path(first).is_dir()  # of somebody who is at work
        assert Path(second).is_dir()
    assert os.listdir(tmp_path) == []


def test_records_that_come_together_get_places_of_their_own(tmp_path: Path) -> None:
    make(tmp_path / "node" / "x", "one")
    make(tmp_path / "node" / "y", "two")
    (tmp_path / "check" / "x").mkdir(parents=True)
    places = receive_directories(pack_tree(str(tmp_path / "node")), str(tmp_path / "check"))
    assert places == {
        "x": str(tmp_path / "check" / "x_1"),
        "y": str(tmp_path / "check" / "y"),
    }
    assert noted_place("one") == places["x"]
    assert sorted(os.listdir(tmp_path / "check")) == ["x", "x_1", "y"]
