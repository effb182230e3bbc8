"""Inputs of a record, wherever they are now: only what is unchanged is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reprorun.errors import RecordError
from reprorun.model import WORKSPACE, InputFile
from reprorun.probe.inputs import describe_input
from reprorun.probe.relocate import find_again


def described(path: Path, target: str | None = None) -> InputFile:
    return describe_input(str(path), target or str(path))


def refusal(*inputs: InputFile, roots: tuple[str, ...] = ()) -> str:
    with pytest.raises(RecordError) as caught:
        find_again(inputs, roots)
    return str(caught.value)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "given/data.csv"
    path.parent.mkdir()
    path.write_text("1,2\n")
    return path


def test_where_it_was(data: Path) -> None:
    entry = described(data)
    assert find_again([entry]) == (entry,)
    os.utime(data, (0, 0))  # what counts is the content
    assert find_again([entry]) == (entry,)


@pytest.mark.parametrize("place", ["sub/data.csv", "{recorded}", "data.csv"])
def test_below_a_root(data: Path, tmp_path: Path, place: str) -> None:
    entry = described(data, f"{WORKSPACE}/sub/data.csv")
    moved = tmp_path / "root" / place.format(recorded=str(data).lstrip("/"))
    moved.parent.mkdir(parents=True)
    data.rename(moved)
    (found,) = find_again([entry], [str(tmp_path / "nowhere"), str(tmp_path / "root")])
    assert found.path == str(moved)
    assert (found.target, found.sha256) == (entry.target, entry.sha256)


def test_the_changed_one_is_passed_over(data: Path, tmp_path: Path) -> None:
    entry = described(data)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "data.csv").write_bytes(data.read_bytes())
    data.write_text("3,4\n")
    assert find_again([entry], [str(kept)])[0].path == str(kept / "data.csv")
    message = refusal(entry)
    assert f"{data} has changed" in message
    assert entry.sha256[:12] in message


def test_a_directory_is_taken_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("1")
    entry = described(folder)
    assert find_again([entry]) == (entry,)
    (folder / "b").write_text("2")
    assert "has changed" in refusal(entry)
    (folder / "b").unlink()
    (folder / "a").rename(folder / "b")
    assert "has changed" in refusal(entry)


def test_all_that_are_wrong_are_named_at_once(data: Path, tmp_path: Path) -> None:
    entries = [described(data, f"/data/{number}") for number in range(3)]
    gone = [
        InputFile(path=f"/gone/{number}", target=f"/gone/{number}", size=1, sha256="0" * 64)
        for number in range(2)
    ]
    message = refusal(*entries, *gone)
    assert "2 inputs" in message
    assert "/gone/0: not found" in message
    assert "/gone/1: not found" in message
    assert str(data) not in message
    assert "Name the directory to look in with --input-root" in message
    assert "another directory" in refusal(*gone, roots=(str(tmp_path),))


def test_neither_file_nor_directory(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # would be waited for
    entry = InputFile(path=str(pipe), target="/pipe", size=1, sha256="0" * 64)
    assert "not found" in refusal(entry)


def test_a_copy_comes_first(data: Path, tmp_path: Path) -> None:
    entry = described(data)
    data.unlink()
    (found,) = find_again([entry], (), {entry.target: str(tmp_path / "copy")})
    assert found.path == str(tmp_path / "copy")


@pytest.mark.parametrize(
    "target",
    [
        *("relative", "", "/a/../etc", "/a//b", "/workspace/../etc", "/workspace"),
        *("/", "/log", "/log/run.json", "/opt/reprorun", "/opt/reprorun/bin", "/proc/1", "/dev"),
        *("/etc/passwd", "/usr/bin/python3", "/home/reprorun"),
    ],
)
def test_places_where_nothing_may_be_mounted(data: Path, target: str) -> None:
    entry = described(data, target or "x")
    entry = InputFile(path=entry.path, target=target, size=entry.size, sha256=entry.sha256)
    assert "the record has an input at" in refusal(entry)
