"""What killed processes leave behind: whose it is, what becomes of it; that records are true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from reprorun import cli, files, held, known, store
from reprorun.engine.fake import FakeEngine, FakeProcess
from reprorun.errors import BuildFailed, EngineError, EngineUnavailable
from reprorun.files import SCRATCH_PREFIX
from reprorun.held import Hold, Mark
from reprorun.model import ContainerSpec, Hardware, Limits, Mount, Record
from reprorun.workflow import finish, harvest
from reprorun.workflow.abandoned import look, take_unmarked
from reprorun.workflow.attend import Cause, Ending
from reprorun.workflow.console_again import write_console
from reprorun.workflow.end_again import AWAY, NOT_HARVESTED, RECOVERED
from reprorun.workflow.finish import Exited
from reprorun.workflow.keeper import Keeper, utc_now
from reprorun.workflow.outcome import BY_USER, FROM_OUTSIDE
from reprorun.workflow.recover import Recovered, Scope, recover, recover_by_the_way
from reprorun.workflow.remains import clear_cache
from reprorun.workflow.removing import remove_record
from reprorun.workflow.report import Silent
from reprorun.workflow.wait_for import _time_left

from ...kit import FAKE_BASE
from . import values
from .values import BASE

ID = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("reprorun.workflow.recover.SETTLED", 0.0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


class Killed:
    """A run whose process is gone."""

    def __init__(self, root: Path) -> None:
        self.engine = FakeEngine(
            images={"base:1": FAKE_BASE}, programs={"python": lambda process: 0}
        )
        self.place = root / "data/train"
        self.place.parent.mkdir()
        self.held: Hold | None = None
        self.said: list[str] = []

    def begin(self, *, identity: str = ID, **fields: Any) -> Keeper:
        """As a run begins."""
        make = lambda: store.claim_log_dir(str(self.place))  # noqa: E731
        self.held = held.hold_log_dir(identity, str(self.place), make)
        record = values.record(
            id=identity, status="created", exit_code=None, base_image=BASE, **fields
        )
        keeper = Keeper(str(self.held.mark.log_dir), record, self.held)
        known.remember_record(identity, keeper.log_dir)
        keeper.begin()
        keeper.update(status="building", image="run:1")
        return keeper

    def run(
        self, program: Callable[[FakeProcess], int], *, start: bool = True, **fields: Any
    ) -> Keeper:
        """As a run goes on, up to where its container runs."""
        keeper = self.begin(**fields)
        self.engine.programs["python"] = program
        keeper.tell(engine="")
        created = self.engine.create(
            ContainerSpec(
                image="base:1",
                command=("python",),
                name=f"reprorun-{ID}",
                mounts=(Mount(source=keeper.log_dir, target="/log", read_only=False),),
                labels={"reprorun": "1", "reprorun.run": ID},
            )
        )
        keeper.update(status="running", started=utc_now())
        if start:
            self.engine.start(created)
        return keeper

    def ended(self, program: Callable[[FakeProcess], int], **fields: Any) -> Keeper:
        """As a run goes on until its container has exited."""
        keeper = self.run(program, **fields)
        for container in self.engine.containers:
            self.engine.wait(container)
        return keeper

    def die(self) -> None:
        """The process is killed."""
        assert self.held
        self.held.let_go()

    def recover(self, *directories: str, **scope: Any) -> list[Recovered]:
        return list(recover(Scope(directories, **scope), lambda: self.engine, Silent()))

    @property
    def record(self) -> Record:
        return store.read_record(str(self.place))


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Killed]:
    made = Killed(tmp_path)
    yield made
    for container in list(made.engine.containers):
        made.engine.remove(container)


def works(process: FakeProcess) -> int:
    process.say("hello\n")
    process.write("result.txt", b"42\n")
    return 0


def names(found: list[Recovered]) -> list[tuple[str, str]]:
    return [(each.what, each.text) for each in found]


# ---------------------------------------------------------------- whose it is


def test_what_somebody_works_on_is_left_alone(killed: Killed) -> None:
    killed.ended(works)
    assert not held.is_any_left()
    assert killed.recover() == []
    assert killed.record.status == "running"
    assert len(killed.engine.containers) == 1
    killed.die()
    assert held.is_any_left()


def test_the_lock_goes_with_the_process() -> None:
    code = (
        "from reprorun import held; import os, signal; held.hold('abc'); "
        "print(held.is_any_left()); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-9, b"False\n")
    assert held.is_any_left()
    [taken] = held.take_over()
    assert taken.identity == "abc"
    assert not held.is_any_left()
    assert held.take_over() == []  # not twice
    taken.end()
    assert not held.is_held("abc")


def test_a_line_that_was_not_written_to_its_end() -> None:
    hold = held.hold("abc", paths=("/a",))
    assert hold._descriptor
    os.write(hold._descriptor, b'{"paths": ["/b"')
    hold.let_go()
    assert held.take_over()[0].mark.paths == ("/a",)


def test_what_can_not_be_read_says_nothing() -> None:
    hold = held.hold("abc")
    assert hold._descriptor
    os.ftruncate(hold._descriptor, 0)  # as after a power failure
    hold.let_go()
    assert held.take_over()[0].mark == Mark()


def test_without_a_place_for_the_lock_runs_go_on(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    killed.begin().close(status="finished")
    assert not held.is_any_left()


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ({"node": "elsewhere"}, "run `reprorun recover` there"),
        ({"engine": "unix:///elsewhere.sock"}, "on the engine at unix:///elsewhere.sock"),
    ],
)
def test_what_is_elsewhere_is_left(mark: Any, text: str, killed: Killed) -> None:
    keeper = killed.begin()
    keeper.tell(**mark)
    killed.die()
    [found] = killed.recover()
    assert found.what == "left"
    assert text in found.text
    assert killed.record.status == "building"
    assert held.is_any_left()


def test_what_is_held_is_left_to_recover_after_an_error_alone() -> None:
    with held.holding("abc"):
        assert held.is_held("abc")
    assert not held.is_any_left()
    with pytest.raises(KeyboardInterrupt), held.holding("abc"):
        raise KeyboardInterrupt
    assert held.is_any_left()


def test_a_disk_that_is_not_there_is_not_a_record_that_is_gone(killed: Killed) -> None:
    keeper = killed.ended(works)
    keeper.tell(log_dir="/mnt/not-there/train")
    killed.die()
    [found] = killed.recover(unmarked=False)
    assert (found.what, found.text) == ("left", "the place of its record is not there")
    assert len(killed.engine.containers) == 1


def test_a_run_of_a_clusters_node_goes_with_its_scratch_directory(killed: Killed) -> None:
    keeper = killed.ended(works)
    keeper.tell(log_dir=f"{files.cache_directory('scratch')}/gone/0123/n=4")
    killed.die()
    [found] = killed.recover(unmarked=False)
    assert found.what == "removed"
    assert killed.engine.containers == {}
    assert not held.is_any_left()


# ---------------------------------------------------------------- how runs are ended


def test_before_there_was_a_container(killed: Killed) -> None:
    keeper = killed.begin()
    Path(keeper.log_dir, store.ARCHIVE_FILE).write_bytes(b"half of it")
    Path(keeper.log_dir, ".reprorun-0123.tmp").write_bytes(b"")
    killed.die()
    assert names(killed.recover()) == [
        ("lost", "reprorun was gone before the run began (it was building)")
    ]
    assert (killed.record.status, killed.record.exit_code) == ("lost", None)
    assert sorted(os.listdir(killed.place)) == ["run.json"]
    assert killed.recover() == []


def test_a_container_that_was_never_started_did_not_finish(killed: Killed) -> None:
    killed.run(works, start=False)  # an engine says of it that it exited with 0
    killed.die()
    [found] = killed.recover()
    assert found.what == "lost"
    assert "before the run began" in found.text
    assert killed.record.status == "lost"
    assert killed.engine.containers == {}


def test_a_container_that_has_ended_is_brought_home(killed: Killed) -> None:
    keeper = killed.ended(works)
    Path(keeper.log_dir, "console.log").write_bytes(b"hel")
    killed.die()
    assert names(killed.recover()) == [("finished", "exit code 0")]
    record = killed.record
    assert (record.status, record.exit_code, record.reason) == ("finished", 0, None)
    assert [output.path for output in record.outputs] == ["outputs/result.txt"]
    assert record.started
    assert record.ended
    assert record.started <= record.ended <= utc_now()
    assert record.notes == (RECOVERED,)
    assert record.host.node == os.uname().nodename
    assert (killed.place / "console.log").read_bytes() == b"hello\n"
    assert (killed.place / "outputs/result.txt").read_bytes() == b"42\n"
    assert (killed.place / "requirements.lock").exists()
    assert killed.engine.containers == {}
    assert killed.recover() == []


def test_it_ended_when_the_engine_says(killed: Killed) -> None:
    killed.ended(works)
    [container] = killed.engine.containers
    ended = killed.engine.state(container).ended
    killed.die()
    killed.recover()
    assert killed.record.ended == ended


def test_an_experiment_that_failed(killed: Killed) -> None:
    killed.ended(lambda process: 3)
    killed.die()
    assert names(killed.recover()) == [("failed", "ended with exit code 3")]
    assert (killed.record.status, killed.record.exit_code) == ("failed", 3)


def test_one_that_still_runs_is_waited_for(killed: Killed) -> None:
    go = threading.Event()

    def program(process: FakeProcess) -> int:
        process.say("first\n")
        go.wait(30)
        process.say("last\n")
        return 0

    killed.run(program)
    killed.die()
    [waiting] = killed.recover(wait=False)
    assert waiting.what == "running"
    assert killed.record.status == "running"
    threading.Timer(0.3, go.set).start()
    assert names(killed.recover()) == [("finished", "exit code 0")]
    assert (killed.place / "console.log").read_bytes() == b"first\nlast\n"


def test_its_time_limit_holds(killed: Killed) -> None:
    def program(process: FakeProcess) -> int:
        process.sleep(30)
        return 0

    killed.run(program, limits=Limits(timeout=0.3))
    killed.die()
    assert names(killed.recover()) == [("failed", "exceeded its time limit of 0.3 s (--timeout)")]
    assert killed.record.exit_code == 124


@pytest.mark.parametrize("hours", [-1, 1])
def test_its_time_limit_is_no_matter_of_the_engines_clock(
    hours: int, killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed.run(lambda process: process.sleep(1) or 0, limits=Limits(timeout=5))  # type: ignore[func-returns-value]
    [container] = killed.engine.containers
    state = killed.engine.state
    started = datetime.now(timezone.utc) + timedelta(hours=hours)
    told = msgspec.structs.replace(state(container), started=started.isoformat())
    monkeypatch.setattr(killed.engine, "state", lambda _: told)
    [found] = look(held_again(killed), killed.engine)
    assert found.left.fate == "wait"
    assert 0 < _time_left(found) <= 5
    found.held.let_go()


def held_again(killed: Killed) -> list[Hold]:
    killed.die()
    return held.take_over()


def test_who_interrupts_the_waiting_changes_nothing(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed.run(lambda process: process.sleep(30) or 0)  # type: ignore[func-returns-value]
    killed.die()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reprorun.workflow.wait_for._next", interrupted)
    with pytest.raises(KeyboardInterrupt):
        killed.recover()
    assert killed.record.status == "running"
    [container] = killed.engine.containers
    assert killed.engine.state(container).running
    assert held.is_any_left()


def test_a_container_that_is_gone(killed: Killed) -> None:
    keeper = killed.ended(works)
    Path(keeper.log_dir, "kept.txt").write_text("kept")
    Path(keeper.log_dir, ".reprorun-guest.json").write_text('{"exit_code": 5}')
    killed.engine.containers.clear()
    killed.die()
    [found] = killed.recover()
    assert found.what == "lost"
    record = killed.record
    assert (record.status, record.exit_code) == ("lost", None)
    assert record.reason
    assert "its container is gone; its own report says that it ended with exit code 5" in (
        record.reason
    )
    assert [output.path for output in record.outputs] == ["kept.txt"]


def test_what_was_lost_is_found_again(killed: Killed) -> None:
    keeper = killed.ended(works)
    with pytest.raises(EngineUnavailable), keeper.telling_failures():
        raise EngineUnavailable("it does not answer")
    assert (killed.record.status, killed.record.reason) == ("lost", "it does not answer")
    assert held.is_any_left()
    assert names(killed.recover()) == [("finished", "exit code 0")]
    assert (killed.record.status, killed.record.reason) == ("finished", None)
    assert AWAY in killed.record.notes


def test_what_was_lost_stays_so_when_its_container_is_gone(killed: Killed) -> None:
    keeper = killed.ended(works)
    Path(keeper.log_dir, "kept.txt").write_text("kept")
    Path(keeper.log_dir, ".reprorun-guest.json").write_text('{"exit_code": 5}')
    with pytest.raises(EngineUnavailable), keeper.telling_failures():
        raise EngineUnavailable("it does not answer")
    killed.engine.containers.clear()
    [found] = killed.recover()
    assert found.what == "lost"
    record = killed.record
    assert (record.status, record.exit_code) == ("lost", None)
    assert record.reason == (
        "it does not answer; its container is gone; its own report says that it ended with exit "
        "code 5"
    )
    assert "kept.txt" in [output.path for output in record.outputs]
    assert ".reprorun-guest.json" not in os.listdir(keeper.log_dir)
    assert killed.recover() == []
    assert killed.recover(str(killed.place.parent)) == []


def test_what_was_lost_before_its_container_was_started(killed: Killed) -> None:
    keeper = killed.run(works, start=False)
    with pytest.raises(EngineUnavailable), keeper.telling_failures():
        raise EngineUnavailable("it does not answer")
    [found] = killed.recover()
    assert found.text == "it does not answer; its container was not started"
    assert killed.record.status == "lost"
    assert killed.engine.containers == {}


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        (0, None, "finished"),
        (3, "ended with exit code 3", "failed"),
        (130, "interrupted by the user", "interrupted"),
        (130, FROM_OUTSIDE, "interrupted"),
        (130, "ended with exit code 130", "failed"),
    ],
)
@pytest.mark.parametrize("harvested", [True, False])
def test_an_outcome_that_is_on_the_disk_stands(
    code: int, reason: str | None, status: str, harvested: bool, killed: Killed
) -> None:
    keeper = killed.ended(works)
    keeper.update(exit_code=code, reason=reason, ended=utc_now())
    keeper.tell(harvested=harvested)
    killed.die()
    killed.recover()
    record = killed.record
    assert (record.status, record.exit_code, record.reason) == (status, code, reason)
    assert NOT_HARVESTED not in record.notes
    there = ["outputs/result.txt"] if not harvested else []  # it is not fetched twice
    assert [output.path for output in record.outputs] == there
    assert killed.engine.containers == {}


def test_an_outcome_without_what_the_run_made(killed: Killed) -> None:
    killed.ended(works).update(exit_code=0, ended=utc_now())
    killed.engine.containers.clear()
    killed.die()
    killed.recover()
    assert killed.record.status == "finished"
    assert NOT_HARVESTED in killed.record.notes


def test_outputs_that_could_not_be_had_are_tried_again(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed.ended(works)
    killed.die()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(harvest, "extract", full)
        [found] = killed.recover()
    assert found.what == "left"
    assert "The container is kept" in found.text
    assert len(killed.engine.containers) == 1
    assert names(killed.recover()) == [("finished", "exit code 0")]


def test_a_last_word_that_could_not_be_written(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = killed.begin()

    def read_only(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_record", read_only)
        with pytest.raises(BuildFailed), keeper.telling_failures():
            raise BuildFailed("no space")
    assert killed.record.status == "building"
    killed.recover()
    assert (killed.record.status, killed.record.reason) == ("failed", "no space")


@pytest.mark.parametrize(
    ("cause", "status", "code", "reason"),
    [
        ("timeout", "failed", 124, "exceeded its time limit of 9 s (--timeout)"),
        ("interrupted", "interrupted", 130, BY_USER),
        ("exited", "finished", 0, None),
    ],
)
@pytest.mark.parametrize("carried", [False, True])
def test_why_it_ended_is_not_forgotten(
    cause: Cause,
    status: str,
    code: int,
    reason: str | None,
    carried: bool,
    killed: Killed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An experiment that saves what it has when it is stopped, and ends with 0."""
    keeper = killed.ended(works, limits=Limits(timeout=9))
    [container] = killed.engine.containers
    ending = Ending(state=killed.engine.state(container), cause=cause)
    exited = Exited(container=container, name="it", ending=ending, carried=carried)
    keeper.leaves_container = True

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(finish, "carry_home", full)
        patch.setattr(harvest, "extract", full)
        with pytest.raises(EngineError), keeper.telling_failures():
            finish.finish(exited, killed.engine, keeper, Silent())
        assert killed.record.status == "failed"
        assert killed.record.reason
        assert "could not be brought out" in killed.record.reason
        killed.recover()  # and once more
    killed.recover()
    record = killed.record
    assert (record.status, record.exit_code, record.reason) == (status, code, reason)
    assert [output.path for output in record.outputs] == ["outputs/result.txt"]
    assert killed.engine.containers == {}


def test_what_fails_once_more_still_has_its_reason(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a disk was full: the run said that it failed, and kept its container."""
    keeper = killed.ended(works)
    reason = "the outputs could not be brought out"
    keeper.update(status="failed", exit_code=0, reason=reason)
    killed.die()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(harvest, "extract", full)
        [found] = killed.recover()
    assert found.what == "left"
    assert killed.record.reason == reason
    assert names(killed.recover()) == [("finished", "exit code 0")]


def test_an_experiment_can_not_say_what_recover_believes(killed: Killed, tmp_path: Path) -> None:
    def program(process: FakeProcess) -> int:
        forged = values.record(id="forged", status="finished", argv=("other.py",))
        process.write("/log/run.json", store.record_text(forged).encode())
        return 4

    keeper = killed.ended(program)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    Path(keeper.log_dir, "console.log").symlink_to(victim)
    killed.die()
    killed.recover()
    assert (killed.record.id, killed.record.exit_code) == (ID, 4)
    assert victim.read_text() == "mine"
    assert not (killed.place / "console.log").is_symlink()
    assert (killed.place / "console.log").read_bytes() == b""


def test_a_closed_record_is_not_touched(killed: Killed) -> None:
    keeper = killed.ended(works)
    hold = killed.held
    assert hold
    keeper._held = None
    keeper.close(status="finished", exit_code=0)
    hold.tell(record=keeper.record)
    hold.let_go()  # killed after the last word, before the lock was given back
    before = killed.record
    assert len(killed.engine.containers) == 1
    hold_again = held.take_over()[0]
    hold_again.tell(harvested=True)
    hold_again.let_go()
    assert [each.what for each in killed.recover()] == ["removed"]
    assert killed.record == before
    assert killed.engine.containers == {}


def test_dry_run_does_nothing(killed: Killed) -> None:
    killed.ended(works)
    killed.die()
    [found] = killed.recover(dry_run=True)
    assert (found.what, found.text) == ("finish", "its container has ended with exit code 0")
    assert killed.record.status == "running"
    assert len(killed.engine.containers) == 1
    assert held.is_any_left()


def test_dry_run_names_nothing_that_stays(killed: Killed, tmp_path: Path) -> None:
    killed.ended(works)
    killed.engine.containers.clear()
    killed.die()
    assert [each.what for each in killed.recover()] == ["lost"]
    place = str(killed.place.parent)
    held.hold("no-record", paths=(place, str(tmp_path / "gone")), wanted=place).let_go()
    assert killed.recover(place, dry_run=True) == []
    assert killed.recover(place) == []


def test_dry_run_names_the_container_of_a_closed_record(killed: Killed) -> None:
    keeper = killed.ended(works)
    keeper.tell(harvested=True)
    keeper.update(status="finished", exit_code=0)
    killed.die()
    [foreseen] = killed.recover(dry_run=True)
    assert (foreseen.what, foreseen.name) == ("remove", f"reprorun-{ID}")
    assert (foreseen.text, foreseen.id) == ("its record is finished", ID)
    [done] = killed.recover()
    assert (done.what, done.name) == ("removed", foreseen.name)


def test_dry_run_names_what_goes(killed: Killed, tmp_path: Path) -> None:
    killed.place.mkdir()
    unfinished = tmp_path / ".reprorun-0123.tmp"
    unfinished.write_text("")
    killed.engine.images["reprorun/build:abc"] = FAKE_BASE
    held.hold("abc", engine="", paths=(str(unfinished),), wanted=str(killed.place)).let_go()
    [foreseen] = killed.recover(dry_run=True)
    assert foreseen.name == f"reprorun/build:abc, {unfinished}, {killed.place}"
    assert unfinished.exists()
    [done] = killed.recover()
    assert (done.name, done.what, foreseen.what) == (foreseen.name, "removed", "remove")


# ---------------------------------------------------------------- what is no run


def test_a_container_whose_record_is_gone(killed: Killed) -> None:
    keeper = killed.run(lambda process: process.sleep(30) or 0)  # type: ignore[func-returns-value]
    os.rename(keeper.log_dir, f"{keeper.log_dir}-moved")
    killed.die()
    assert names(killed.recover()) == [("removed", "its record is gone")]
    assert killed.engine.containers == {}
    assert known.noted_place(ID) is None


def test_a_container_that_was_made_while_the_engine_went_away(killed: Killed) -> None:
    keeper = killed.run(works, start=False)
    keeper.remember(status="building")
    with pytest.raises(EngineUnavailable), keeper.telling_failures():
        raise EngineUnavailable("it does not answer")
    assert killed.record.status == "failed"
    assert [each.what for each in killed.recover()] == ["removed"]
    assert killed.engine.containers == {}
    assert (killed.record.status, killed.record.reason) == ("failed", "it does not answer")


def test_a_record_that_was_moved(killed: Killed, tmp_path: Path) -> None:
    killed.ended(works)
    killed.die()
    os.rename(killed.place, tmp_path / "moved")
    assert names(killed.recover(str(tmp_path))) == [("finished", "exit code 0")]
    assert store.read_record(str(tmp_path / "moved")).status == "finished"
    assert killed.engine.containers == {}


def test_the_only_copy_of_something_is_not_removed(killed: Killed) -> None:
    keeper = killed.ended(works)
    keeper.update(exit_code=0, ended=utc_now())
    os.rename(keeper.log_dir, f"{keeper.log_dir}-moved")
    killed.die()
    [found] = killed.recover()
    assert found.what == "left"
    assert f"reprorun-{ID} has the only copy of what it made" in found.text
    assert len(killed.engine.containers) == 1


def test_a_container_of_another_user_is_not_ours(killed: Killed) -> None:
    labels = {"reprorun": "1", "reprorun.run": "fedcba9876543210"}
    spec = ContainerSpec(image="base:1", command=("python",), name="theirs", labels=labels)
    killed.engine.create(spec)
    assert killed.recover() == []
    assert len(killed.engine.containers) == 1


def test_containers_that_are_asked_something(killed: Killed) -> None:
    labels = {"reprorun": "probe", "reprorun.run": "abc"}
    spec = ContainerSpec(image="base:1", command=("python",), name="probe", labels=labels)
    killed.engine.create(spec)
    held.hold("abc", engine="").let_go()
    killed.engine.images["reprorun/build:abc"] = FAKE_BASE
    [found] = killed.recover()
    assert (found.what, found.name) == ("removed", "probe, reprorun/build:abc")
    assert killed.engine.containers == {}
    assert killed.engine.image("reprorun/build:abc") is None
    assert killed.engine.image("base:1")


def test_a_step_of_a_build_whose_engine_died(killed: Killed) -> None:
    before = killed.engine.create(ContainerSpec(image="base:1", command=("python",), name="other"))
    began = utc_now()
    step = killed.engine.create(ContainerSpec(image="base:1", command=("python",), name="odd"))
    for container in (step, before, "never-there"):  # what a build prints may name any
        held.hold(os.urandom(4).hex(), engine="", step=container, since=began).let_go()
    [found] = killed.recover()
    assert (found.what, found.name) == ("removed", step)
    assert list(killed.engine.containers) == [before]


def test_a_step_of_a_build_stays_known_until_the_engine_says_what_it_is(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = utc_now()
    step = killed.engine.create(ContainerSpec(image="base:1", command=("python",), name="odd"))
    held.hold(ID, engine="", step=step, since=began).let_go()
    with monkeypatch.context() as patched:
        patched.setattr(killed.engine, "state", refusing("the disk is full"))
        [left] = killed.recover()
    assert (left.what, "the disk is full" in left.text) == ("left", True)
    [found] = killed.recover()
    assert (found.what, found.name) == ("removed", step)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_of_a_build_whose_engine_has_another_clock(
    hours: int, killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = utc_now()
    step = killed.engine.create(ContainerSpec(image="base:1", command=("python",), name="odd"))
    held.hold(ID, engine="", step=step, since=began).let_go()
    created = (datetime.now(timezone.utc) + timedelta(hours=hours)).isoformat()
    told = msgspec.structs.replace(killed.engine.state(step), created=created)
    monkeypatch.setattr(killed.engine, "state", lambda _: told)
    said = Told()
    assert list(recover(Scope(), lambda: killed.engine, said)) == []
    [note] = said.notes
    assert f"container {step} is left" in note
    assert list(killed.engine.containers) == [step]
    assert list(recover(Scope(), lambda: killed.engine, said)) == []
    assert said.notes == [note]  # not once more


def refusing(why: str) -> Callable[[str], NoReturn]:
    def refuse(container: str) -> NoReturn:
        raise EngineError(f"the engine refused: {why}")

    return refuse


def test_a_record_that_was_not_begun(killed: Killed) -> None:
    make = lambda: store.claim_log_dir(str(killed.place))  # noqa: E731
    hold = held.hold_log_dir(ID, str(killed.place), make)
    (killed.place / "metadata.json").write_text("{}")
    hold.let_go()
    assert [each.what for each in killed.recover()] == ["removed"]
    assert not killed.place.exists()


def test_a_directory_of_the_users_stays(killed: Killed) -> None:
    killed.place.mkdir()
    make = lambda: store.use_log_dir(str(killed.place))  # noqa: E731
    hold = held.hold_log_dir(ID, str(killed.place), make)
    (killed.place / "metadata.json").write_text("{}")
    hold.let_go()
    killed.recover()
    assert list(killed.place.iterdir()) == []


def test_a_directory_for_a_re_run_that_was_about_to_have_it(killed: Killed) -> None:
    """A check makes it; the run that has it from there on had claimed it, and told nothing."""
    store.use_log_dir(str(killed.place))
    held.hold(os.urandom(8).hex(), paths=[str(killed.place)]).let_go()
    held.hold(ID, wanted=str(killed.place)).let_go()
    assert {found.what for found in killed.recover()} == {"removed"}
    assert not killed.place.exists()
    assert held.log_dirs() == set()


@pytest.mark.parametrize("others", [0, 2])
def test_a_directory_that_was_just_made(others: int, killed: Killed) -> None:
    for number in range(others):
        taken = Path(f"{killed.place}_{number}" if number else killed.place)
        taken.mkdir()
        (taken / "run.json").write_text("{}")
    Path(f"{killed.place}_{others}" if others else killed.place).mkdir()
    held.hold(ID, wanted=str(killed.place)).let_go()
    [found] = killed.recover()
    assert found.what == "removed"
    assert len(list(killed.place.parent.iterdir())) == others


def test_a_directory_that_another_has_just_made_stays(killed: Killed) -> None:
    held.hold(ID, wanted=str(killed.place)).let_go()
    held.hold_log_dir("other", str(killed.place), lambda: store.claim_log_dir(str(killed.place)))
    assert killed.recover() == []
    assert killed.place.is_dir()


def test_a_claim_that_fails_leaves_nothing(killed: Killed) -> None:
    def fail() -> str:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        held.hold_log_dir(ID, str(killed.place), fail)
    assert not held.is_held(ID)
    assert not held.is_any_left()


def test_a_record_is_not_removed_by_halves(killed: Killed, monkeypatch: pytest.MonkeyPatch) -> None:
    killed.begin().close(status="finished", exit_code=0)

    def break_off(path: str) -> None:
        os.unlink(os.path.join(path, "run.json"))
        (Path(path) / "rest").write_text("")
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", break_off)
        with pytest.raises(OSError, match="killed"):
            remove_record(str(killed.place), ID)
    assert not killed.place.exists()
    assert [each.what for each in killed.recover()] == ["removed"]
    assert list(killed.place.parent.iterdir()) == []


def test_only_what_is_ours_is_removed(killed: Killed, tmp_path: Path) -> None:
    mine, full, ours = tmp_path / "mine", tmp_path / "full", tmp_path / ".reprorun-01.tmp"
    mine.write_text("mine")
    full.mkdir()
    (full / "kept").write_text("")
    ours.write_text("")
    held.hold("abc", paths=(str(mine), str(full), str(ours))).let_go()
    [found] = killed.recover()
    assert found.name == str(ours)
    assert (mine.exists(), full.exists(), ours.exists()) == (True, True, False)


def test_scratch_and_cache(killed: Killed, tmp_path: Path) -> None:
    left = [Path(files.cache_directory("scratch"), "reprorun-scratch-old")]
    left.append(tmp_path / "reprorun-scratch-old")
    for path in left:
        path.mkdir()
    unfinished = Path(files.cache_directory("wheels"), ".reprorun-01.tmp")
    unfinished.write_text("")
    with (
        files.cache_lock(),
        files.scratch_directory() as a,
        files.scratch_directory(passing=True) as b,
    ):
        killed.recover()
        assert os.path.isdir(a)
        assert os.path.isdir(b)
        assert unfinished.exists()  # somebody is at work in the cache
    assert not any(path.exists() for path in left)
    clear_cache()
    assert not unfinished.exists()


def test_what_one_is_just_making_may_be_taken_by_another_and_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who make them among the system's temporary files need not share a cache."""
    taken: list[str] = []
    opening = os.open

    def open_late(path: str, *flags: int, **more: int) -> int:
        if SCRATCH_PREFIX not in str(path) or len(taken) == 2:
            return opening(path, *flags, **more)
        taken.append(path)
        if len(taken) == 1:  # before it is opened, and then before it is held
            os.rmdir(path)
        descriptor = opening(path, *flags, **more)
        os.rmdir(path)
        return descriptor

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "open", open_late)
    with files.scratch_directory(passing=True) as made:
        assert os.listdir(tmp_path) == [os.path.basename(made)]
        assert files.is_held(made)
    assert len(taken) == 2
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- records without a lock


def test_a_record_that_nobody_has_noted(killed: Killed, tmp_path: Path) -> None:
    keeper = killed.ended(works)
    killed.die()
    held.take_over()[0].end()  # as if it had not come to the disk
    assert killed.recover(unmarked=False) == []
    assert names(killed.recover()) == [("finished", "exit code 0")]
    assert keeper.log_dir == str(killed.place)
    assert not held.is_any_left()


@pytest.mark.parametrize("host", ["", "elsewhere"])
def test_a_record_that_came_from_elsewhere_is_left(
    host: str, killed: Killed, tmp_path: Path
) -> None:
    made = values.record(id="copied", status="running", exit_code=None, host=Hardware(node=host))
    values.keep(tmp_path / "copies/run", store.record_text(made))
    [found] = killed.recover(str(tmp_path / "copies"))
    assert found.what == "left"
    assert store.read_record(str(tmp_path / "copies/run")).status == "running"
    assert not held.is_any_left()


def foreign(place: Path) -> None:
    """A record of another machine, on a disk that both have."""
    host = Hardware(node="elsewhere")
    made = values.record(id="theirs", status="running", exit_code=None, host=host)
    values.keep(place, store.record_text(made))


def dry(killed: Killed, place: Path) -> None:
    killed.recover(str(place), dry_run=True)


def without_engine(killed: Killed, place: Path) -> None:
    with pytest.raises(EngineUnavailable):
        list(recover(Scope((str(place),)), unreachable, Silent()))


def broken_off(killed: Killed, place: Path) -> None:
    found = recover(Scope((str(place),)), lambda: killed.engine, Silent())
    assert next(found).what == "left"
    found.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", [dry, without_engine, broken_off])
def test_what_recover_only_looked_at_is_not_noted(
    end: Callable[[Killed, Path], None], killed: Killed, tmp_path: Path
) -> None:
    foreign(tmp_path / "shared/run")
    end(killed, tmp_path / "shared")
    assert not held.is_any_left()
    assert killed.recover() == []
    assert store.read_record(str(tmp_path / "shared/run")).status == "running"


def test_what_a_killed_recover_only_looked_at(killed: Killed, tmp_path: Path) -> None:
    foreign(tmp_path / "shared/run")
    for each in take_unmarked([str(tmp_path / "shared")], []):
        each.let_go()
    told = Told()
    recover_by_the_way(lambda: killed.engine, told)
    assert told.notes == []
    [left] = killed.recover(str(tmp_path))
    assert "it was begun on elsewhere" in left.text
    assert killed.recover() == []
    assert store.read_record(str(tmp_path / "shared/run")).status == "running"
    assert not held.is_any_left()


def test_a_run_that_nobody_has_noted_is_noted_when_it_is_found(killed: Killed) -> None:
    go = threading.Event()
    killed.run(lambda process: go.wait(30) * 0)
    killed.die()
    held.take_over()[0].end()
    assert killed.recover(unmarked=False, wait=False) == []
    for unmarked in (True, False):
        found = killed.recover(unmarked=unmarked, wait=False)
        assert [each.what for each in found] == ["running"]
    go.set()
    assert [each.what for each in killed.recover()] == ["finished"]


# ---------------------------------------------------------------- after a power failure


def power_failure(killed: Killed) -> Path:
    """What was noted of a run has not come to the disk, but that there is something."""
    killed.die()
    mark = Path(held._directory(), ID)
    mark.write_bytes(b"")
    return mark


def test_of_a_run_nothing_can_be_read(killed: Killed) -> None:
    killed.ended(works)
    power_failure(killed)
    [left] = killed.recover(unmarked=False, wait=False)
    assert left.what == "left"
    assert "`reprorun recover` looks for its record" in left.text
    assert len(killed.engine.containers) == 1
    assert names(killed.recover()) == [("finished", "exit code 0")]
    assert [output.path for output in killed.record.outputs] == ["outputs/result.txt"]
    assert killed.engine.containers == {}
    assert not held.is_any_left()


def test_of_a_run_nothing_can_be_read_and_where_its_record_lies_neither(killed: Killed) -> None:
    killed.ended(works)
    power_failure(killed)
    known.forget_record(ID)
    held.hold("other", engine="").let_go()  # so that the engine is asked
    for scope in ({"unmarked": False}, {}):
        [left] = killed.recover(**scope)
        assert (left.what, left.name) == ("left", f"reprorun-{ID}")
        assert len(killed.engine.containers) == 1
        assert killed.record.status == "running"
    assert names(killed.recover(str(killed.place))) == [("finished", "exit code 0")]
    assert killed.engine.containers == {}


def test_of_something_without_a_container_nothing_can_be_read(killed: Killed) -> None:
    held.hold(ID).let_go()
    Path(held._directory(), ID).write_bytes(b"")
    assert [each.what for each in killed.recover(unmarked=False)] == ["left"]
    assert killed.recover() == []
    assert not held.is_any_left()


def test_an_id_that_is_a_path(killed: Killed, tmp_path: Path) -> None:
    values.keep(tmp_path / "run", values.raw(id="../../x", status="running"))
    assert killed.recover(str(tmp_path)) == []


# ---------------------------------------------------------------- console.log


@pytest.mark.parametrize(
    ("before", "kept", "wanted", "noted"),
    [
        (None, b"a\nb\n", b"a\nb\n", ""),
        (b"", b"a\nb\n", b"a\nb\n", ""),
        (b"a\n", b"a\nb\n", b"a\nb\n", ""),
        (b"a", b"a\nb\n", b"a\nb\n", ""),
        (b"a\nb\n", b"a\nb\n", b"a\nb\n", ""),
        (b"a\nb\nc", b"a\nb\n", b"a\nb\nc", ""),
        (b"err\na\n", b"a\nerr\nb\n", b"a\nerr\nb\n", "another order"),
        (b"a\nb\n", b"c\nd\ne\n", b"c\nd\ne\na\nb\n", "twice: behind the first 6 bytes"),
        (b"a\nb\nc\n", b"c\n", b"c\na\nb\nc\n", "twice: behind the first 2 bytes"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_console_is_made_whole(
    before: bytes | None, kept: bytes, wanted: bytes, noted: str, size: int, tmp_path: Path
) -> None:
    if before is not None:
        (tmp_path / "console.log").write_bytes(before)
    pieces = [kept[n : n + size] for n in range(0, len(kept), size)]
    note = write_console(str(tmp_path), pieces)
    assert (tmp_path / "console.log").read_bytes() == wanted
    assert (noted in note) if note else not noted


def test_an_engine_that_keeps_no_output(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_bytes(b"a\n")

    def refused() -> Iterator[bytes]:
        raise EngineError("the logging driver does not support reading")
        yield b""

    note = write_console(str(tmp_path), refused())
    assert note
    assert "ends where reprorun was killed" in note
    assert (tmp_path / "console.log").read_bytes() == b"a\n"
    assert os.listdir(tmp_path) == ["console.log"]


# ---------------------------------------------------------------- the command, and by the way


class Told(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def unreachable() -> Any:
    raise EngineUnavailable("no engine answers")


def test_by_the_way_nothing_is_said_or_asked_where_nothing_is_left(killed: Killed) -> None:
    killed.begin()
    told = Told()
    recover_by_the_way(unreachable, told)
    assert told.notes == []


def test_by_the_way_an_engine_that_does_not_answer_is_a_note(killed: Killed) -> None:
    killed.ended(works)
    killed.die()
    told = Told()
    recover_by_the_way(unreachable, told)
    assert told.notes == ["what was left from before stays so: no engine answers"]
    assert held.is_any_left()
    recover_by_the_way(lambda: killed.engine, told)
    assert told.notes[1].endswith("train: finished (exit code 0)")
    assert killed.record.status == "finished"


def test_no_engine_is_asked_for_what_can_be_on_none(killed: Killed) -> None:
    killed.begin()
    killed.die()
    told = Told()
    recover_by_the_way(unreachable, told)
    assert killed.record.status == "lost"


@pytest.mark.parametrize(("lost", "code"), [(True, 1), (False, 0)])
def test_the_command(
    lost: bool,
    code: int,
    killed: Killed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("reprorun.cli.engines.chosen_engine", lambda _: lambda: killed.engine)
    monkeypatch.chdir(killed.place.parent)
    killed.ended(works)
    if lost:
        killed.engine.containers.clear()
    killed.die()
    assert cli.run(["recover"]) == code
    word = "lost" if lost else "finished"
    assert capsys.readouterr().out.startswith(f"{word:<12} train  ")
    assert cli.run(["recover", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert cli.run(["recover"]) == 0
    assert capsys.readouterr().out == "nothing to recover\n"
    assert cli.run(["recover", "nowhere"]) == 2


def test_without_an_engine_the_command_fails(
    killed: Killed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("reprorun.cli.engines.chosen_engine", lambda _: unreachable)
    killed.ended(works)
    killed.die()
    assert cli.run(["recover", "-q"]) == 125
    assert "no engine answers" in capsys.readouterr().err
    assert killed.record.status == "running"
    assert held.is_any_left()
