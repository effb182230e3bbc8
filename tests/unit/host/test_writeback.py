"""Writing what an engine stores while it stores more."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from reprorun.engine import writeback
from reprorun.engine.writeback import written_early


class Written:
    """Counts the writings, of the file system of a directory."""

    def __init__(self, directory: Path) -> None:
        self.disk = directory.stat().st_dev
        self.times = 0
        self.twice = threading.Event()

    def __call__(self, file: int) -> None:
        assert os.fstat(file).st_dev == self.disk
        self.times += 1
        if self.times == 2:
            self.twice.set()


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    made = Written(tmp_path)
    monkeypatch.setattr(writeback, "PAUSE", 0.01)
    monkeypatch.setattr(writeback, "_syncfs", made)
    return made


def test_it_is_written_again_and_again_until_the_block_ends(
    tmp_path: Path, written: Written
) -> None:
    before = set(threading.enumerate())
    with written_early(str(tmp_path)):
        assert written.twice.wait(20)
        threads = set(threading.enumerate()) - before
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_a_directory_that_is_not_ours_to_open(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "engine"
    engine.mkdir()
    real = os.open

    def opened(path: str, *rest: int) -> int:
        if path == str(engine):
            raise PermissionError
        return real(path, *rest)

    monkeypatch.setattr(os, "open", opened)
    with written_early(str(engine)):
        assert written.twice.wait(20)


def test_a_directory_of_another_machine(written: Written) -> None:
    before = threading.active_count()
    for directory in ("/no/such/directory", ""):
        with written_early(directory):
            assert threading.active_count() == before
    assert written.times == 0


def test_the_disk_of_another_directory_is_left_alone(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory is a disk of its own and may not be opened; what is above is not meant."""

    def refused(path: str, *rest: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refused)
    before = threading.active_count()
    with written_early("/proc"):
        assert threading.active_count() == before
    assert written.times == 0


def test_the_call_itself(tmp_path: Path) -> None:
    file = os.open(tmp_path, os.O_RDONLY)
    try:
        assert writeback._syncfs(file) == 0
        assert writeback._syncfs(-1) != 0
    finally:
        os.close(file)
