"""Sweeps on the fake engine: what is made, what is made again, what is left alone."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reprorun import store
from reprorun.engine.fake import FakeEngine, FakeProcess
from reprorun.errors import EngineError, EngineUnavailable, RecordError, UsageError
from reprorun.experiment.guest import VARIABLE
from reprorun.model import Changes, EngineInfo, Gpus, Limits, RunSpec
from reprorun.sweeps.book import read_book
from reprorun.sweeps.values import Ask, PointsSpec
from reprorun.workflow import reach
from reprorun.workflow.drive import Policy
from reprorun.workflow.here import here
from reprorun.workflow.report import Silent
from reprorun.workflow.resources import ask_of, machine_of
from reprorun.workflow.sweep import (
    Resumption,
    SweepRequest,
    Swept,
    held,
    resume_sweep,
    run_sweep,
)

from ...kit import FAKE_BASE
from .test_drive import Told
from .values import ANSWER

Program = Callable[[FakeProcess], int]


def params_of(process: FakeProcess) -> dict[str, Any]:
    """What the guest is told to pass on."""
    told: dict[str, Any] = json.loads(process.spec.env[VARIABLE])["params"]
    return told


def takes(process: FakeProcess) -> int:
    """A program that calls a wrapped function, as far as the host sees."""
    params = params_of(process)
    process.write("/log/train/variant.json", json.dumps(params).encode())
    process.write("/log/train/metadata.json", b'{"launcher": "train.py"}')
    process.write("/log/train/progress.csv", b"step,loss\n1,%d\n" % params["n"])
    return 3 if params["n"] in params.get("fail", ()) else 0


class Lab:
    """A launcher, an engine, and sweeps."""

    def __init__(self, root: Path, program: Program = takes) -> None:
        self.root = root
        (root / "train.py").write_text("print('x')\n")
        programs = {"python": program, "/bin/sh": _answer}
        self.engine = FakeEngine(images={"base:1": FAKE_BASE}, programs=programs)
        self.connect: Callable[[], Any] = lambda: self.engine
        self.told = Told()
        self.directory = root / "data/local/sweep/train"

    def request(self, count: int, args: tuple[str, ...] = (), **params: Any) -> SweepRequest:
        spec = RunSpec(
            script="train.py", cwd=str(self.root), base_image="base:1", params=params, args=args
        )
        return SweepRequest(spec=spec, points=PointsSpec(grid={"n": tuple(range(count))}))

    def run(self, request: SweepRequest, at_once: int = 2) -> Swept:
        make = here(self.connect, self.told.of, at_once, Silent())
        return run_sweep(request, self.connect, make, lambda *_: self.told, Silent())

    def resume(self, request: SweepRequest | Resumption | None = None) -> Swept:
        make = here(self.connect, self.told.of, 2, Silent())
        return resume_sweep(
            str(self.directory),
            request or Resumption(),
            str(self.root),
            self.connect,
            make,
            lambda *_: self.told,
            Silent(),
        )

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir() if path.is_dir())


def _answer(process: FakeProcess) -> int:
    process.say(json.dumps(ANSWER))
    return 0


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_one_image_and_a_record_a_run(lab: Lab) -> None:
    swept = lab.run(lab.request(5))
    assert (swept.exit_code, swept.error, swept.interrupted) == (0, None, False)
    assert lab.names() == ["n=0", "n=1", "n=2", "n=3", "n=4"]
    found = [store.read_record(str(lab.directory / name)) for name in lab.names()]
    assert [record.params for record in found] == [{"n": n} for n in range(5)]
    assert len({record.image for record in found}) == 1
    assert len({record.id for record in found}) == 5
    runs = [spec for spec in lab.engine.specs if spec.command[0] == "python"]
    assert len(runs) == 5
    lines = (lab.directory / "sweep.csv").read_text().splitlines()
    assert lines[0] == "n,record,status,exit_code,seconds,step,loss"
    assert [line.split(",")[-1] for line in lines[1:]] == ["0", "1", "2", "3", "4"]


def test_the_archive_of_each_record_is_whole(lab: Lab) -> None:
    lab.run(lab.request(2))
    archives = {(lab.directory / n / store.ARCHIVE_FILE).read_bytes() for n in lab.names()}
    assert len(archives) == 1
    assert next(iter(archives))[:6] == b"\xfd7zXZ\x00"


def test_arguments_take_values(lab: Lab) -> None:
    commands = []

    def program(process: FakeProcess) -> int:
        commands.append((process.spec.command, params_of(process)))
        return 0

    lab = Lab(lab.root, program)
    swept = lab.run(lab.request(2, args=("--n={n}", "{m}")))
    assert swept.exit_code == 0
    assert sorted(commands) == [
        (("python", "train.py", "--n=0", "{m}"), {}),
        (("python", "train.py", "--n=1", "{m}"), {}),
    ]


def test_resuming_makes_what_is_not_finished(lab: Lab) -> None:
    swept = lab.run(lab.request(4, fail=[1, 2]))
    assert (swept.exit_code, dict(swept.counts)) == (1, {"finished": 2, "failed": 2})
    again = lab.resume()
    assert dict(again.counts) == {"finished": 2, "failed": 2}
    assert lab.names() == ["n=0", "n=1", "n=1_1", "n=2", "n=2_1", "n=3"]
    assert again.book.head.sweep == swept.book.head.sweep
    assert again.book.head.created == swept.book.head.created


def test_what_the_book_does_not_know_is_found_in_the_records(lab: Lab) -> None:
    """As after a kill: the book is older than the records."""
    lab.run(lab.request(4))
    path = lab.directory / "sweep.json"
    book = json.loads(path.read_text())
    for run in book["runs"][1:]:
        run.update(status="running", id=None, log_dir=None, exit_code=None)
    path.write_text(json.dumps(book))
    swept = lab.resume()
    assert swept.exit_code == 0
    assert lab.names() == ["n=0", "n=1", "n=2", "n=3"]
    assert [entry.log_dir for entry in swept.book.entries] == lab.names()


def test_a_record_that_is_gone_is_made_again(lab: Lab) -> None:
    lab.run(lab.request(3))
    shutil.rmtree(lab.directory / "n=1")
    assert lab.resume().exit_code == 0
    assert lab.names() == ["n=0", "n=1", "n=2"]


def test_names_do_not_matter(lab: Lab) -> None:
    lab.run(lab.request(3))
    (lab.directory / "n=1").rename(lab.directory / "renamed")
    assert lab.resume().exit_code == 0
    assert lab.names() == ["n=0", "n=2", "renamed"]


def test_another_environment_makes_all_anew(lab: Lab) -> None:
    lab.run(lab.request(2))
    path = lab.directory / "sweep.json"
    path.write_text(
        path.read_text().replace(
            '"environment_digest": "sha256:', '"environment_digest": "sha256:0'
        )
    )
    for name in ("n=0", "n=1"):
        record = store.read_raw_record(str(lab.directory / name))
        record["environment_digest"] = "sha256:00"
        (lab.directory / name / "run.json").write_text(json.dumps(record))
    assert lab.resume(lab.request(2)).exit_code == 0
    assert lab.names() == ["n=0", "n=0_1", "n=1", "n=1_1"]


def test_other_points_for_a_sweep(lab: Lab) -> None:
    lab.run(lab.request(2))
    more = Resumption(points=PointsSpec(grid={"n": (1, 7)}))
    swept = lab.resume(more)
    assert [entry.log_dir for entry in swept.book.entries] == ["n=1", "n=7"]
    assert lab.names() == ["n=0", "n=1", "n=7"]
    assert [run.params for run in read_book(str(lab.directory)).runs] == [{"n": 1}, {"n": 7}]


def test_nothing_to_go_on_with(lab: Lab, tmp_path: Path) -> None:
    lab.run(lab.request(1))
    shutil.rmtree(lab.directory / "n=0")
    with pytest.raises(RecordError, match="Give the whole command"):
        lab.resume()
    assert lab.resume(lab.request(1)).exit_code == 0


def test_a_directory_is_had_by_one(lab: Lab) -> None:
    lab.run(lab.request(1))
    with held(str(lab.directory)), pytest.raises(UsageError, match="another sweep is at work"):
        lab.resume()
    with pytest.raises(UsageError, match="can't be opened"), held(str(lab.root / "none")):
        pass


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "can't be read"),
        ("[]", "has schema None"),
        ('{"reprorun": {"schema": 99}}', "has schema 99"),
        ('{"reprorun": {"schema": 1}}', "is damaged"),
        ('{"reprorun": {"schema": 1}, "sweep": "x", "created": "x", "script": "x"}', "is damaged"),
    ],
)
def test_a_book_that_is_none(lab: Lab, content: str, said: str) -> None:
    lab.directory.mkdir(parents=True)
    (lab.directory / "sweep.json").write_text(content)
    with pytest.raises(RecordError, match=said):
        lab.resume()


def test_a_hostile_book_leads_nowhere_else(lab: Lab) -> None:
    lab.run(lab.request(1))
    outside = lab.root / "outside"
    shutil.copytree(lab.directory / "n=0", outside)
    path = lab.directory / "sweep.json"
    path.write_text(
        path.read_text().replace('"log_dir": "n=0"', '"log_dir": "../../../../outside"')
    )
    swept = lab.resume()
    assert [entry.log_dir for entry in swept.book.entries] == ["n=0"]


# ---------------------------------------------------------------- an engine that goes away


class Flaky(FakeEngine):
    """An engine that stops answering when a run is to be waited for, once."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.gone = 1
        self._lock = threading.Lock()

    def wait(self, container: str) -> Any:
        state = super().wait(container)
        with self._lock:
            if self.gone and self.containers[container].process.spec.command[0] == "python":
                self.gone -= 1
                raise EngineUnavailable("no engine answers")
        return state


def test_a_run_that_was_lost_sight_of_is_made_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.engine = Flaky(images={"base:1": FAKE_BASE}, programs={"python": takes, "/bin/sh": _answer})
    swept = lab.run(lab.request(3), at_once=1)
    assert swept.exit_code == 0
    assert lab.told.ends[0][1:] == ("lost", "no engine answers", True)
    found = [store.read_record(str(lab.directory / name)).status for name in lab.names()]
    assert sorted(found) == ["finished", "finished", "finished", "lost"]
    assert lab.engine.containers == {}


def test_an_engine_that_does_not_come_back_ends_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "PATIENCE", 0.05)
    monkeypatch.setattr(reach, "_PAUSE", 0.01)
    answers = [lab.engine]

    def connect() -> FakeEngine:
        if not answers:
            raise EngineUnavailable("no engine answers")
        return answers.pop()

    lab.connect = connect
    swept = lab.run(lab.request(20))
    assert isinstance(swept.error, EngineUnavailable)
    assert swept.exit_code == 125
    assert swept.counts["planned"] >= 17
    assert lab.names() == []


def test_an_experiment_that_refuses(lab: Lab) -> None:
    def refuses(process: FakeProcess) -> int:
        process.say("reprorun: error: -P n=...: train() takes no parameter 'n'\n", "stderr")
        return 2

    lab = Lab(lab.root, refuses)
    swept = lab.run(lab.request(9), at_once=1)
    assert str(swept.error) == "-P n=...: train() takes no parameter 'n'"
    assert (swept.exit_code, swept.counts["planned"]) == (2, 8)


def test_an_experiment_with_an_exit_code_of_two_of_its_own(lab: Lab) -> None:
    swept = Lab(lab.root, lambda process: 2).run(lab.request(3), at_once=1)
    assert (swept.error, swept.counts["failed"]) == (None, 3)


def test_retries_are_told_by_policy(lab: Lab) -> None:
    request = lab.request(1, fail=[0])
    policy = Policy(retry_failed=True, retries=1)
    swept = lab.run(SweepRequest(spec=request.spec, points=request.points, policy=policy))
    assert swept.exit_code == 1
    assert lab.names() == ["n=0", "n=0_1"]


# ---------------------------------------------------------------- resources

WITH_GPUS = EngineInfo(
    name="docker", version="1", api_version="1", runtimes=("nvidia",), cpus=8, memory=1 << 30
)


@pytest.mark.parametrize(
    ("fields", "ask"),
    [
        ({}, Ask()),
        ({"limits": Limits(cpus=2.5, memory=9)}, Ask(cpus=2.5, memory=9)),
        ({"gpus": Gpus(kind="all")}, Ask(gpus=-1)),
        ({"gpus": Gpus(kind="count", count=2)}, Ask(gpus=2)),
        ({"gpus": Gpus(kind="device", devices=("0", "3"))}, Ask(devices=("0", "3"))),
        ({"gpus": Gpus(kind="none")}, Ask()),
    ],
)
def test_what_a_run_asks_for(fields: dict[str, Any], ask: Ask) -> None:
    assert ask_of(RunSpec(script="x", cwd="/", **fields), WITH_GPUS) == ask


def test_no_gpus_unasked_where_the_runs_are_made_elsewhere() -> None:
    """Whatever this machine has: it says nothing of the others."""
    assert ask_of(RunSpec(script="x", cwd="/"), None) == Ask()
    assert ask_of(RunSpec(script="x", cwd="/", gpus=Gpus(kind="all")), None) == Ask(gpus=-1)


@pytest.mark.parametrize("here", [True, False])
def test_gpus_of_this_machine_are_for_its_own_runs(
    lab: Lab, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reprorun.model import Hardware
    from reprorun.workflow import resources

    monkeypatch.setattr(resources, "hardware_of", lambda engine: Hardware(gpus=("A", "B")))
    info = replace(lab.engine.info(), runtimes=("nvidia",))
    monkeypatch.setattr(lab.engine, "info", lambda: info)
    asked: list[Ask] = []

    def stop(launch: Any, engine: Any, ask: Ask) -> Any:
        asked.append(ask)
        raise UsageError("that will do")

    silent: Any = Silent()
    request = replace(lab.request(2), here=here)
    with pytest.raises(UsageError, match="that will do"):
        run_sweep(request, lambda: lab.engine, stop, silent, silent)
    assert asked == [Ask(gpus=-1 if here else 0)]


def test_all_gpus_where_the_engine_gives_them_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    from reprorun.model import Hardware
    from reprorun.workflow import resources

    monkeypatch.setattr(resources, "hardware_of", lambda engine: Hardware(gpus=("A", "B")))
    ask = ask_of(RunSpec(script="x", cwd="/"), WITH_GPUS)
    assert ask == Ask(gpus=-1)
    assert machine_of(WITH_GPUS, ask).gpus == ("0", "1")
    assert machine_of(WITH_GPUS, Ask(devices=("GPU-1234",))).gpus == ("GPU-1234",)
    assert machine_of(WITH_GPUS, ask).cpus == 8


@pytest.mark.parametrize("here", [True, False])
def test_gpus_that_are_not_there_are_refused_before_the_build(lab: Lab, here: bool) -> None:
    """Where the runs are made elsewhere, this engine need not have any."""
    request = lab.request(2)
    spec = replace(request.spec, gpus=Gpus(kind="device", devices=("GPU-1234",)))
    if here:
        with pytest.raises(EngineError, match="GPUs were asked for") as caught:
            lab.run(replace(request, spec=spec))
        assert "--force-cpu runs it without" in str(caught.value)
        assert lab.engine.builds == []
        assert not os.path.exists(lab.directory)
    else:
        lab.run(replace(request, spec=spec, here=False, policy=Policy(retries=0)))
        assert lab.engine.builds != []


def test_a_sweep_that_is_gone_on_with_tries_them_too(lab: Lab) -> None:
    lab.run(lab.request(2))
    lab.engine.builds.clear()
    changes = Changes(gpus=Gpus(kind="device", devices=("GPU-1234",)), rebuild=True)
    with pytest.raises(EngineError, match="GPUs were asked for"):
        lab.resume(Resumption(points=lab.request(3).points, changes=changes))
    assert lab.engine.builds == []


def test_each_run_gets_gpus_of_its_own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from reprorun.model import Hardware
    from reprorun.workflow import resources

    monkeypatch.setattr("reprorun.workflow.prepared.require_gpus", lambda *_: None)
    monkeypatch.setattr(resources, "hardware_of", lambda engine: Hardware(gpus=("A", "B")))
    request = lab.request(4)
    spec = RunSpec(
        script="train.py",
        cwd=str(lab.root),
        base_image="base:1",
        gpus=Gpus(kind="count", count=1),
    )
    policy = Policy(retries=0)  # the fake engine has none, and refuses
    lab.run(SweepRequest(spec=spec, points=request.points, policy=policy))
    found = [store.read_record(str(lab.directory / name)) for name in lab.names()]
    assert {record.gpus.devices for record in found if record.gpus} == {("0",), ("1",)}
    # what a re-run asks for, on any machine
    assert {record.asked_gpus for record in found} == {Gpus(kind="count", count=1)}
