"""Driving a sweep: what is begun when, what again, and when it stops. The runner is scripted."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from reprorun.errors import BuildFailed, EngineError, EngineUnavailable, UsageError
from reprorun.model import Record, RunSpec, SchemaMark
from reprorun.sweeps.book import SWEEP_FILE, Book, read_book
from reprorun.sweeps.points import Points
from reprorun.sweeps.values import Entry, Head, PointsSpec
from reprorun.workflow.drive import Drive, Fate, Policy, RunEnd, decide
from reprorun.workflow.outcome import FROM_OUTSIDE
from reprorun.workflow.report import Silent
from reprorun.workflow.runner import Ended, Job

Script = Callable[[Job, int], dict[str, Any]]


class Scripted:
    """A runner whose runs end as a script says, the one begun first first."""

    def __init__(self, script: Script, room: int = 2) -> None:
        self.begun: list[str] = []
        self.most = 0
        self.interrupted = False
        self._script, self._room = script, room
        self._under_way: list[Job] = []

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        assert not self._under_way

    @property
    def room(self) -> int:
        return self._room - len(self._under_way)

    def begin(self, job: Job) -> None:
        assert job.spec.log_dir
        self.begun.append(Path(job.spec.log_dir).name)
        Path(job.spec.log_dir).mkdir()
        self._under_way.append(job)
        self.most = max(self.most, len(self._under_way))

    def wait(self) -> Ended:
        job = self._under_way.pop(0)
        fields = self._script(job, len(self.begun))
        status = fields.pop("status", "finished")
        record = None if status is None else record_of(status)
        log_dir = None if status is None else job.spec.log_dir
        return Ended(job=job, record=record, log_dir=log_dir, **fields)


class Told:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str, str | None, bool]] = []
        self.notes: list[str] = []

    def of(self, name: str) -> Silent:
        return Silent()

    def began(self, name: str) -> None:
        pass

    def ended(self, end: RunEnd) -> None:
        self.ends.append((end.name, end.status, end.reason, end.again))

    def note(self, text: str) -> None:
        self.notes.append(text)


def record_of(status: Any, reason: str | None = None) -> Record:
    return Record(
        reprorun=SchemaMark(),
        id="0123",
        status=status,
        created="2026-01-01T00:00:00+00:00",
        argv=("train.py",),
        seconds=0.5,
        reason=reason,
    )


def job() -> Job:
    return Job(number=0, spec=RunSpec(script="x", cwd="/"))


def book_of(place: Path, count: int, statuses: Iterable[Any] = ()) -> Book:
    points = PointsSpec(grid={"n": tuple(range(count))})
    entries = [Entry() for _ in range(count)]
    for entry, status in zip(entries, statuses, strict=False):
        entry.status = status
    head = Head(reprorun=SchemaMark(), sweep="s", created="now", script="train.py", points=points)
    return Book(str(place), head, Points(points), entries)


def drive(place: Path, count: int, script: Script, **fields: Any) -> tuple[Drive, Scripted, Told]:
    told = Told()
    runner = fields.pop("runner", None) or Scripted(script)
    book = book_of(place, count, fields.pop("statuses", ()))
    made = Drive(
        book,
        lambda params, log_dir: RunSpec(script="x", cwd="/", params=params, log_dir=log_dir),
        runner,
        Policy(**fields),
        told,
    )
    made.run()
    return made, runner, told


def statuses(place: Path) -> list[str]:
    """As `sweep.json` has them."""
    return [run.status for run in read_book(str(place)).runs]


def test_every_run_is_made_once(tmp_path: Path) -> None:
    made, runner, _ = drive(tmp_path, 5, lambda job, n: {})
    assert runner.begun == ["n=0", "n=1", "n=2", "n=3", "n=4"]
    assert runner.most == 2
    assert statuses(tmp_path) == ["finished"] * 5
    assert (made.failures, made.stopped, made.interrupted) == (0, None, False)
    first = json.loads((tmp_path / SWEEP_FILE).read_text())["runs"][0]
    assert first == {
        "params": {"n": 0},
        "status": "finished",
        "log_dir": "n=0",
        "id": "0123",
        "exit_code": 0,
        "seconds": 0.5,
        "attempts": 1,
    }


def test_what_is_finished_is_left_alone(tmp_path: Path) -> None:
    before = ["finished", "planned", "finished", "failed", "lost"]
    _, runner, _ = drive(tmp_path, 5, lambda job, n: {}, statuses=before)
    assert runner.begun == ["n=1", "n=3", "n=4"]
    assert statuses(tmp_path) == ["finished"] * 5


def test_a_failure_stops_nothing_and_is_not_tried_again(tmp_path: Path) -> None:
    fail = {"status": "failed", "exit_code": 3}
    made, runner, told = drive(tmp_path, 4, lambda job, n: dict(fail) if job.number == 1 else {})
    assert len(runner.begun) == 4
    assert statuses(tmp_path) == ["finished", "failed", "finished", "finished"]
    assert made.failures == 1
    assert [end[3] for end in told.ends] == [False] * 4


def test_failures_are_tried_again_where_that_is_asked_for(tmp_path: Path) -> None:
    def script(job: Job, n: int) -> dict[str, Any]:
        return {"status": "failed", "exit_code": 3} if job.number == 1 and n < 4 else {}

    _, runner, told = drive(tmp_path, 3, script, retry_failed=True, retries=2)
    assert runner.begun == ["n=0", "n=1", "n=2", "n=1_1"]  # the first attempt's record stays
    assert statuses(tmp_path) == ["finished"] * 3
    assert ("n=1", "failed", None, True) in told.ends


def test_the_engines_failures_are_tried_again_but_not_for_ever(tmp_path: Path) -> None:
    def script(job: Job, n: int) -> dict[str, Any]:
        error = EngineError("it can't") if job.number == 0 else None
        return {"status": "failed" if error else "finished", "error": error}

    made, runner, told = drive(tmp_path, 2, script, retries=2)
    assert sorted(runner.begun) == ["n=0", "n=0_1", "n=0_2", "n=1"]
    assert statuses(tmp_path) == ["failed", "finished"]
    assert made.failures == 1
    assert read_book(str(tmp_path)).runs[0].attempts == 3
    assert told.ends[-1] == ("n=0_2", "failed", "it can't", False)


def test_a_machine_that_goes_away_is_nobodys_failure(tmp_path: Path) -> None:
    def script(job: Job, n: int) -> dict[str, Any]:
        return {"status": None, "moved": True} if n < 4 else {}

    made, _, told = drive(tmp_path, 2, script, retries=0)
    assert made.failures == 0
    assert statuses(tmp_path) == ["finished", "finished"]
    assert told.ends[0] == ("n=0", "lost", "the machine that it was on is gone", True)


def test_enough_failures_end_it(tmp_path: Path) -> None:
    fail = {"status": "failed", "exit_code": 1}
    _, runner, told = drive(tmp_path, 10, lambda job, n: dict(fail), max_failures=3)
    assert len(runner.begun) == 4  # the fourth was under way
    assert statuses(tmp_path) == ["failed"] * 4 + ["planned"] * 6
    assert told.notes == ["3 runs have failed (--max-failures): no other is begun"]


def test_an_experiment_that_refuses_its_parameters_ends_it(tmp_path: Path) -> None:
    refusal = {"status": "failed", "exit_code": 2, "refusal": "train() takes no 'x'"}
    made, runner, _ = drive(tmp_path, 10, lambda job, n: dict(refusal))
    assert len(runner.begun) == 2
    assert isinstance(made.stopped, UsageError)
    assert str(made.stopped) == "train() takes no 'x'"


def test_after_an_interrupt_nothing_is_begun(tmp_path: Path) -> None:
    runner: Scripted

    def script(job: Job, n: int) -> dict[str, Any]:
        runner.interrupted = True
        return {"status": "interrupted", "exit_code": 130}

    runner = Scripted(script)
    made, _, _ = drive(tmp_path, 5, script, runner=runner)
    assert statuses(tmp_path) == ["interrupted"] * 2 + ["planned"] * 3
    assert made.interrupted
    assert made.failures == 0


def test_what_an_interrupt_keeps_from_beginning_is_no_failure(tmp_path: Path) -> None:
    runner: Scripted

    def script(job: Job, n: int) -> dict[str, Any]:
        runner.interrupted = True
        return {"status": None, "moved": True}

    runner = Scripted(script)
    made, _, _ = drive(tmp_path, 3, script, runner=runner)
    assert statuses(tmp_path) == ["planned"] * 3
    assert made.failures == 0


def test_the_book_is_true_when_something_breaks(tmp_path: Path) -> None:
    def script(job: Job, n: int) -> dict[str, Any]:
        if job.number == 2:
            raise ZeroDivisionError
        return {}

    with pytest.raises(ZeroDivisionError):
        drive(tmp_path, 5, script, runner=Loose(script))
    assert statuses(tmp_path) == ["finished"] * 2 + ["running"] * 2 + ["planned"]


class Loose(Scripted):
    def __exit__(self, *_: object) -> None:
        pass


def test_a_book_that_cannot_be_written_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write(self: Book) -> None:
        written.append(self)
        if len(written) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Book, "write", write)
    monkeypatch.setattr(Book, "write_now_and_then", write)
    made, runner, _ = drive(tmp_path, 9, lambda job, n: {})
    assert len(runner.begun) == 2
    assert isinstance(made.stopped, EngineError)
    assert "full" in str(made.stopped) or "space" in str(made.stopped)


# ---------------------------------------------------------------- decisions

FULL = EngineError("the disk is full")
FULL.__cause__ = OSError(errno.ENOSPC, "No space left on device")
GONE = EngineUnavailable("no engine answers")


@pytest.mark.parametrize(
    ("status", "fields", "attempts", "policy", "fate"),
    [
        ("finished", {}, 1, {}, Fate(status="finished")),
        ("interrupted", {"exit_code": 130}, 1, {}, Fate(status="interrupted")),
        ("stopped", {"exit_code": 130}, 1, {}, Fate(status="interrupted", again=True)),
        ("stopped", {"exit_code": 130}, 3, {}, Fate(status="interrupted")),
        ("failed", {"exit_code": 1}, 1, {}, Fate(status="failed")),
        ("failed", {"exit_code": 1}, 1, {"retry_failed": True}, Fate(status="failed", again=True)),
        ("failed", {"exit_code": 1}, 3, {"retry_failed": True}, Fate(status="failed")),
        ("lost", {"error": GONE}, 1, {}, Fate(status="lost", again=True)),
        ("lost", {"error": GONE}, 3, {}, Fate(status="lost")),
        ("lost", {"error": GONE}, 1, {"retries": 0}, Fate(status="lost")),
        (None, {"error": GONE}, 1, {}, Fate(status="failed", stop=GONE)),
        ("failed", {"error": FULL}, 1, {}, Fate(status="failed", stop=FULL)),
        ("failed", {"error": BuildFailed("x")}, 1, {}, Fate(status="failed", again=True)),
        (None, {"moved": True}, 20, {"retries": 0}, Fate(status="lost", again=True)),
    ],
)
def test_what_becomes_of_a_run(
    status: Any, fields: dict[str, Any], attempts: int, policy: dict[str, Any], fate: Fate
) -> None:
    record = record_of(status) if status else None
    if status == "stopped":
        record = record_of("interrupted", FROM_OUTSIDE)
    ended = Ended(job=job(), record=record, log_dir="/x" if record else None, **fields)
    moves = attempts if ended.moved else 0
    assert decide(ended, attempts, moves, Policy(**policy)) == fate


def test_an_engine_without_space_is_hopeless() -> None:
    error = EngineError("the engine: write /var/lib/x: no space left on device")
    ended = Ended(job=job(), record=record_of("failed"), log_dir="/x", error=error)
    assert decide(ended, 1, 0, Policy()).stop is error


def test_a_run_whose_machines_keep_going_away_is_given_up() -> None:
    ended = Ended(job=job(), moved=True)
    assert decide(ended, 21, 21, Policy()) == Fate(status="lost")
