"""The process that cleans up behind a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from reprorun import files
from reprorun.cluster.leash import LABEL, PATIENCE, Leash, watch
from reprorun.cluster.place import Place
from reprorun.engine import Engine
from reprorun.engine.fake import FakeEngine
from reprorun.errors import EngineUnavailable
from reprorun.model import ContainerSpec

from ...kit import FAKE_BASE

NOWHERE = "unix:///nowhere/docker.sock"


class Unsteady:
    """An engine that answers from the third time on."""

    def __init__(self, engine: FakeEngine, refusals: int) -> None:
        self._engine, self._refusals = engine, refusals

    def __call__(self) -> Engine:
        self._refusals -= 1
        if self._refusals >= 0:
            raise EngineUnavailable("away")
        return self._engine


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(images={"base:1": FAKE_BASE})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    (place / "run").mkdir(parents=True)
    return place


def create(engine: FakeEngine, name: str, owner: str, *, start: bool = True) -> str:
    spec = ContainerSpec(image="base:1", command=("sleep", "60"), name=name, labels={LABEL: owner})
    container = engine.create(spec)
    if start:
        engine.start(container)
    return container


def said(place: Path, *words: str) -> Iterator[str]:
    """What a worker tells."""
    yield from (f"{line}\n" for line in (json.dumps(str(place)), *words))


def names(engine: FakeEngine) -> set[str]:
    return {each.name for each in engine.labelled_containers(LABEL)}


def test_its_containers_go_and_others_stay(engine: FakeEngine, place: Path) -> None:
    create(engine, "running", "w1")
    create(engine, "created", "w1", start=False)
    create(engine, "other", "w2")
    watch(said(place, "busy"), "w1", lambda: engine, lambda seconds: None)
    assert names(engine) == {"other"}
    assert not place.exists()


def test_what_is_to_be_kept_stays(engine: FakeEngine, place: Path) -> None:
    kept = create(engine, "kept", "w1")
    create(engine, "gone", "w1")
    watch(said(place, "busy", f"keep {kept}"), "w1", lambda: engine, lambda seconds: None)
    assert names(engine) == {"kept"}


def test_an_engine_that_is_away_is_waited_for(engine: FakeEngine, place: Path) -> None:
    create(engine, "running", "w1")
    waits: list[float] = []
    watch(said(place, "busy"), "w1", Unsteady(engine, 3), waits.append)
    assert names(engine) == set()
    assert waits[:3] == [waits[0]] * 3


def test_an_engine_that_stays_away_is_given_up(engine: FakeEngine, place: Path) -> None:
    waits: list[float] = []
    watch(said(place, "busy"), "w1", Unsteady(engine, 10**6), waits.append)
    assert PATIENCE <= sum(waits) < 2 * PATIENCE
    assert not place.exists()


def test_what_is_created_late_goes_too(engine: FakeEngine, place: Path) -> None:
    """The engine was still at it when the worker was killed."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            create(engine, "late", "w1")

    watch(said(place, "busy"), "w1", lambda: engine, sleep)
    assert len(waits) > 2
    assert names(engine) == set()


@pytest.mark.parametrize("lines", [[], ["busy", "well"], ["busy", "keep 1", "well"]])
def test_where_all_is_well_no_engine_is_asked(place: Path, lines: list[str]) -> None:
    watch(said(place, *lines), "w1", lambda: pytest.fail("it was asked"), lambda seconds: None)
    assert not place.exists()


def test_a_worker_that_has_not_begun_leaves_nothing() -> None:
    watch(iter([]), "w1", lambda: pytest.fail("it was asked"), lambda seconds: None)


def test_that_all_was_well_once_says_nothing_of_what_was_before(
    engine: FakeEngine, place: Path
) -> None:
    create(engine, "left", "w1")
    watch(said(place, "busy", "busy", "well"), "w1", lambda: engine, lambda seconds: None)
    assert names(engine) == set()


def test_containers_get_the_label(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    leash = Leash("w9")
    try:
        held = leash.engine(engine)
        held.create(ContainerSpec(image="base:1", command=("sh",), name="x", labels={"a": "b"}))
        assert engine.specs[-1].labels == {"a": "b", LABEL: "w9"}
        assert held.image("base:1") == engine.image("base:1")
    finally:
        kill_leashes("w9")
        leash.close()


def test_there_is_no_directory_before_there_is_a_leash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed before leaves nothing."""
    scratch = Path(files.cache_directory("scratch"))
    told: list[list[str]] = []

    class Said:
        def __init__(self, name: str) -> None:
            told.append(os.listdir(scratch))

        def begin(self, place: str) -> None:
            told.append([os.path.relpath(place, scratch)])

        def close(self) -> None:
            """There is no process."""

    monkeypatch.setattr("reprorun.cluster.place.Leash", Said)
    made = Place("session", Mock(), Mock())
    assert told == [[], os.listdir(scratch)]
    made.close()
    assert os.listdir(scratch) == []


_WORKER = """
import sys, time
from reprorun.cluster.leash import Leash
leash = Leash(sys.argv[1])
leash.begin(sys.argv[2])
leash.busy()
print("held", flush=True)
time.sleep(60)
"""


def test_it_outlives_the_process_group(place: Path) -> None:
    """A worker and all its children are killed at once; what watches over it is not."""
    name = os.urandom(8).hex()
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER, name, str(place)],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "DOCKER_HOST": NOWHERE},
    )
    assert worker.stdout is not None
    with worker.stdout:
        assert worker.stdout.readline() == b"held\n"
        assert place.exists()
        (leash,) = leashes(name)
        try:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
            time.sleep(1)
            assert leashes(name) == [leash]  # no engine answers: it goes on trying
        finally:
            kill_leashes(name)


def leashes(name: str) -> list[int]:
    """The processes that watch over a worker."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"reprorun.cluster.leash" in words and name.encode() in words:
            found.append(int(entry.name))
    return found


def kill_leashes(name: str) -> None:
    for pid in leashes(name):
        os.kill(pid, signal.SIGKILL)
