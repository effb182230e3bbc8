"""`reprorun show` of a pack: what is in it is said as of a record, without unpacking all of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reprorun.cli import run
from reprorun.model import Output
from reprorun.pack.format import StoredFile
from reprorun.pack.reading import Pack

from ..conftest import MakeRepository
from . import packs, values
from .test_pack import Lab

Capture = pytest.CaptureFixture[str]
LARGE = Output(path="outputs/large.bin", size=100_000, sha256="e" * 64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A pack; the record is gone."""
    record = values.record(base_image=packs.base(), outputs=(LARGE,))
    log_dir = packs.make_log_dir(tmp_path / "train", record, **{"console.log": b"hello\n"})
    (log_dir / "outputs").mkdir()
    (log_dir / "outputs/large.bin").write_bytes(b"x" * LARGE.size)
    packs.write_pack(tmp_path / "run.rrpack", log_dir)
    shutil.rmtree(log_dir)
    return tmp_path / "run.rrpack"


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are unpacked."""
    names: list[str] = []
    unpack = Pack.unpack

    def noted(self: Pack, wanted: Sequence[StoredFile], directory: str) -> None:
        names.extend(file.path for file in wanted)
        unpack(self, wanted, directory)

    monkeypatch.setattr(Pack, "unpack", noted)
    return names


def test_it_is_shown_as_a_record(path: Path, unpacked: list[str], capsys: Capture) -> None:
    assert run(["show", str(path)]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[:3] == [
        f"record       {path}",
        "id           abc",
        "status       finished, exit code 0",
    ]
    assert "  console.log                     6 B  what it printed" in lines
    assert any("outputs/large.bin" in line and "97.7 KiB" in line for line in lines)
    assert captured.err == ""
    assert sorted(unpacked) == ["console.log", "run.json"]


def test_as_json(path: Path, capsys: Capture) -> None:
    assert run(["show", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "abc"


def test_its_code_is_compared_with_the_commit(
    repository: MakeRepository, tmp_path: Path, capsys: Capture
) -> None:
    root = repository({"train.py": "print('hello')\n"})
    (root / "train.py").write_text("print('otherwise')\n")
    lab = Lab(root, tmp_path)
    lab.pack()
    shutil.rmtree(lab.log_dir)
    assert run(["show", "--diff", str(lab.target), "--repo", str(root)]) == 0
    assert "+print('otherwise')" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("size", [10, 1000])
def test_one_that_is_cut_short(path: Path, size: int, capsys: Capture) -> None:
    os.truncate(path, size)
    assert run(["show", str(path)]) == 2
    assert "reprorun: error: " in capsys.readouterr().err


def test_one_that_was_tampered_with(path: Path, capsys: Capture) -> None:
    data: Any = json.loads(packs.entries(path)["record/run.json"])
    packs.swap(path, "record/run.json", json.dumps({**data, "exit_code": 1}).encode())
    assert run(["show", str(path)]) == 2
    captured = capsys.readouterr()
    assert "run.json" in captured.err
    assert captured.out == ""
