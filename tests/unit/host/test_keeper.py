"""Records stay true when something fails; the console survives a full disk."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from reprorun import store
from reprorun.engine.protocol import Stream
from reprorun.errors import BuildFailed, EngineError
from reprorun.held import hold, take_over
from reprorun.workflow.console import TAIL, Console
from reprorun.workflow.keeper import Keeper
from reprorun.workflow.report import Silent

from . import values


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(str(tmp_path), values.record(status="running", exit_code=None))


def kept(keeper: Keeper) -> Any:
    return store.read_record(keeper.log_dir)


def test_each_step_is_on_the_disk(keeper: Keeper) -> None:
    assert kept(keeper).status == "running"
    keeper.note("one")
    assert kept(keeper).notes == ()
    keeper.update(exit_code=3)
    assert (kept(keeper).notes, kept(keeper).exit_code) == (("one",), 3)


@pytest.mark.parametrize(
    ("error", "raised", "status", "reason"),
    [
        (BuildFailed("no space"), BuildFailed, "failed", "no space"),
        (KeyboardInterrupt(), KeyboardInterrupt, "interrupted", "interrupted by the user"),
        (ZeroDivisionError("x"), ZeroDivisionError, "failed", "reprorun itself failed: Zero"),
        (PermissionError(13, "Permission denied", "/x"), EngineError, "failed", "/x: Permission"),
        (OSError(errno.ENOSPC, "No space"), EngineError, "failed", "is full. Free some space"),
        (OSError(errno.EDQUOT, "Quota"), EngineError, "failed", "is full. Free some space"),
    ],
)
def test_a_failure_ends_the_record(
    error: BaseException, raised: type[BaseException], status: str, reason: str, keeper: Keeper
) -> None:
    with pytest.raises(raised), keeper.telling_failures():
        raise error
    record = kept(keeper)
    assert record.status == status
    assert reason in record.reason
    assert record.ended


def test_the_first_failure_is_the_one_to_hear_of(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "write_record", full)
    with pytest.raises(BuildFailed), keeper.telling_failures():
        raise BuildFailed("no space")


def test_no_room_for_what_a_run_needs_ends_the_record(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(EngineError, match="is full"):
        keeper.begin()
    assert kept(keeper).status == "failed"
    assert [path.name for path in Path(keeper.log_dir).iterdir()] == [store.RUN_FILE]


def test_what_could_not_be_written_is_not_told_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`reprorun recover` goes by what was told: it would take the record for closed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    record = values.record(status="running", exit_code=None)
    keeper = Keeper(str(tmp_path), record, hold(record.id, log_dir=str(tmp_path)))
    keeper.write_outcome(exit_code=0)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "write_record", full)
    with pytest.raises(EngineError), keeper.telling_failures():
        keeper.close(status="finished")
    (left,) = take_over()
    assert left.mark.record is not None
    assert (left.mark.record.status, left.mark.record.exit_code) == ("running", 0)


class Full:
    """A file on a disk that has room for three bytes."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, data: Any) -> int:
        if len(self.content) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.content += bytes(data[:2] if not self.content else data[:1])
        return 2 if len(self.content) == 2 else 1

    def close(self) -> None:
        pass


class Heard(Silent):
    def __init__(self) -> None:
        self.pieces: list[tuple[Stream, bytes]] = []

    def output(self, stream: Stream, data: bytes) -> None:
        self.pieces.append((stream, data))


def test_the_console(tmp_path: Path) -> None:
    heard = Heard()
    with Console(str(tmp_path), heard) as console:
        console.write("stdout", b"a\xff\n")
        console.write("stderr", b"b")
        assert (tmp_path / "console.log").read_bytes() == b"a\xff\nb"
        console.write("stdout", b"c" * 2 * TAIL)
    assert heard.pieces[:2] == [("stdout", b"a\xff\n"), ("stderr", b"b")]
    assert console.tail == "c" * TAIL
    assert console.failure is None


def test_a_full_disk_stops_the_file_not_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    with Console(str(tmp_path), heard) as console:
        console._file.close()
        full: Any = Full()
        monkeypatch.setattr(console, "_file", full)
        for _ in range(3):
            console.write("stdout", b"abcd")
    assert full.content == b"abc"
    assert len(heard.pieces) == 3
    assert console.failure == "console.log is incomplete: No space left on device"
