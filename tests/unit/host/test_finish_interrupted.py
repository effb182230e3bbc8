"""Ctrl-C at each moment of a run: no container is nobody's, and nothing that was made is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from reprorun import held, store
from reprorun.engine.fake import FakeProcess
from reprorun.errors import EngineError
from reprorun.model import Limits, Record
from reprorun.workflow import finish, harvest, run
from reprorun.workflow.carrying import LABEL
from reprorun.workflow.recover import Recovered, Scope, recover
from reprorun.workflow.report import Silent

from .test_exec import Bench as Plain

Patch = pytest.MonkeyPatch


def works(process: FakeProcess) -> int:
    process.write("result.txt", b"42\n")
    return 0


class Bench(Plain):
    def run_interrupted(self, **fields: Any) -> Record:
        """The record of a run that Ctrl-C has ended."""
        with pytest.raises(KeyboardInterrupt):
            self.run(**fields)
        return self.record

    def recover(self) -> list[Recovered]:
        return list(recover(Scope(unmarked=False), lambda: self.engine, Silent()))

    @property
    def record(self) -> Record:
        return store.read_record(str(self.root / "data/local/experiment/train"))

    def nothing_is_left(self) -> bool:
        return not self.engine.containers and not held.is_any_left()


@pytest.fixture(params=["here", "carried"])
def anywhere(request: Any, bench: Bench) -> Bench:
    bench.engine.remote = request.param == "carried"
    return bench


@pytest.fixture
def bench(repository: Any, monkeypatch: Patch) -> Bench:
    monkeypatch.setattr("reprorun.workflow.recover.SETTLED", 0.0)
    return Bench(repository({"train.py": "print('hello')\n"}), works)


def stop(*_: object, **__: object) -> Any:
    raise KeyboardInterrupt


def stop_after(work: Callable[..., Any]) -> Callable[..., Any]:
    def both(*given: Any, **named: Any) -> Any:
        work(*given, **named)
        raise KeyboardInterrupt

    return both


# ---------------------------------------------------------------- before it has ended


def test_while_the_engine_creates_its_container(anywhere: Bench, monkeypatch: Patch) -> None:
    """It does so though nobody waits for it, and nobody knows its id."""
    bench = anywhere
    create = bench.engine.create

    def interrupted(spec: Any) -> str:
        made = create(spec)
        if spec.command[0] == "python":  # not what the base image is asked with
            raise KeyboardInterrupt
        return made

    with monkeypatch.context() as patch:
        patch.setattr(bench.engine, "create", interrupted)
        record = bench.run_interrupted()
    assert (record.status, record.reason) == ("interrupted", "interrupted by the user")
    assert len(bench.engine.containers) == 1
    assert [each.what for each in bench.recover()] == ["removed"]
    assert bench.nothing_is_left()
    assert bench.record == record


@pytest.mark.parametrize("made", [False, True])
def test_an_engine_that_creates_none_has_nothing_to_be_looked_for(
    made: bool, bench: Bench, monkeypatch: Patch
) -> None:
    create = bench.engine.create

    def refuses(spec: Any) -> str:
        if made:
            create(spec)
        raise EngineError("the engine refused: no such runtime")

    bench.run(name="first")  # the base image is known from here on
    monkeypatch.setattr(bench.engine, "create", refuses)
    with pytest.raises(EngineError, match="no such runtime"):
        bench.run()
    assert bench.record.status == "failed"
    assert held.is_any_left() == made
    bench.recover()
    assert bench.nothing_is_left()


def test_between_its_creation_and_its_start(anywhere: Bench, monkeypatch: Patch) -> None:
    monkeypatch.setattr(run, "attend", stop)
    assert anywhere.run_interrupted().status == "interrupted"
    assert anywhere.nothing_is_left()


def test_once_more_while_its_container_is_removed(anywhere: Bench, monkeypatch: Patch) -> None:
    bench = anywhere
    with monkeypatch.context() as patch:
        patch.setattr(run, "attend", stop)
        patch.setattr(bench.engine, "remove", _unless_it_only_asks(bench))
        assert bench.run_interrupted().status == "interrupted"
    assert [each.what for each in bench.recover()] == ["removed"]
    assert bench.nothing_is_left()


def _unless_it_only_asks(bench: Bench) -> Callable[[str], None]:
    remove = bench.engine.remove

    def interrupted(container: str) -> None:
        if bench.engine.containers[container].process.spec.command[0] == "python":
            raise KeyboardInterrupt
        remove(container)

    return interrupted


def test_once_more_while_that_is_written(bench: Bench, monkeypatch: Patch) -> None:
    """The container is gone already; the record says what was told."""
    write = store.write_record

    def interrupted(log_dir: str, record: Record) -> None:
        if record.status == "interrupted":
            raise KeyboardInterrupt
        write(log_dir, record)

    with monkeypatch.context() as patch:
        patch.setattr(run, "attend", stop)
        patch.setattr(store, "write_record", interrupted)
        assert bench.run_interrupted().status == "running"
    bench.recover()
    assert bench.record.status == "interrupted"
    assert bench.nothing_is_left()


# ---------------------------------------------------------------- when it has ended


MOMENTS = {
    "judged": (finish, "judge", stop),
    "written": (finish, "_write_outcome", stop),
    "brought out": (harvest, "extract", stop),
    "fetched": (finish, "bring_out", stop_after(harvest.bring_out)),
    "removed": (finish, "remove_container", stop),
    "removed already": (finish, "remove_container", stop_after(finish.remove_container)),
    "looked for calls": (finish, "find_sub_records", stop),
    "listed": (store, "list_outputs", stop),
}


@pytest.fixture(params=MOMENTS)
def moment(request: Any) -> Callable[[Patch], None]:
    """Ctrl-C comes at that moment."""
    return lambda patch: patch.setattr(*MOMENTS[request.param])


def test_what_it_made_is_brought_home_later(
    moment: Callable[[Patch], None], anywhere: Bench, monkeypatch: Patch
) -> None:
    bench = anywhere
    with monkeypatch.context() as patch:
        moment(patch)
        record = bench.run_interrupted()
    assert (record.status, record.outputs) == ("running", ())  # as `ls` says, with what to do
    assert held.is_any_left()
    assert [each.what for each in bench.recover()] == ["finished"]
    record = bench.record
    assert (record.status, record.exit_code, record.reason) == ("finished", 0, None)
    assert [output.path for output in record.outputs] == ["outputs/result.txt"]
    assert bench.nothing_is_left()


def test_and_so_it_is_where_it_is_carried_home(bench: Bench, monkeypatch: Patch) -> None:
    bench.engine.remote = True
    with monkeypatch.context() as patch:
        patch.setattr("reprorun.workflow.carrying.extract", stop)
        bench.run_interrupted()
    assert LABEL in bench.engine.specs[-1].labels
    bench.recover()
    assert bench.record.status == "finished"
    assert [output.path for output in bench.record.outputs] == ["outputs/result.txt"]
    assert bench.nothing_is_left()


def test_a_second_ctrl_c_does_not_make_it_finished(
    moment: Callable[[Patch], None], bench: Bench, monkeypatch: Patch
) -> None:
    """The first stopped the experiment, which saved what it had and ended by itself with 0."""

    def saves(process: FakeProcess) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        process.interrupted.wait(10)
        return works(process)

    bench.engine.programs["python"] = saves
    with monkeypatch.context() as patch:
        moment(patch)
        bench.run_interrupted()
    bench.recover()
    record = bench.record
    assert (record.status, record.reason) == ("interrupted", "interrupted by the user")
    assert [output.path for output in record.outputs] == ["outputs/result.txt"]
    assert bench.nothing_is_left()


def test_nor_one_that_was_out_of_time(
    moment: Callable[[Patch], None], bench: Bench, monkeypatch: Patch
) -> None:
    def saves(process: FakeProcess) -> int:
        process.interrupted.wait(10)
        return works(process)

    bench.engine.programs["python"] = saves
    with monkeypatch.context() as patch:
        moment(patch)
        bench.run_interrupted(limits=Limits(timeout=0.1))
    bench.recover()
    assert (bench.record.status, bench.record.exit_code) == ("failed", 124)


def test_it_is_said_what_becomes_of_it(bench: Bench, monkeypatch: Patch) -> None:
    monkeypatch.setattr(harvest, "extract", stop)
    bench.run_interrupted()
    assert run.FINISH in bench.told.notes
    assert "interrupted" not in bench.told.steps


def test_its_container_is_not_removed_for_an_error_that_follows(
    bench: Bench, monkeypatch: Patch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(finish, "archive_warning", full)
        with pytest.raises(EngineError, match="is full"):
            bench.run()
    assert len(bench.engine.containers) == 1
    bench.recover()
    assert bench.record.status == "finished"
    assert [output.path for output in bench.record.outputs] == ["outputs/result.txt"]
    assert bench.nothing_is_left()


# ---------------------------------------------------------------- what an error names


def test_a_full_disk_is_named_by_the_directory_not_by_the_container(
    bench: Bench, monkeypatch: Patch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")  # as a write says it, without a name

    monkeypatch.setattr(harvest, "extract", full)
    with pytest.raises(EngineError) as refused:
        bench.run()
    place = bench.root / "data/local/experiment/train"
    assert f"the disk of {place} is full" in str(refused.value)
