"""GPUs of re-runs side by side: who gets which, who waits, and for whom."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reprorun import store
from reprorun.compare.values import Settings
from reprorun.engine import Engine
from reprorun.engine.fake import FakeEngine
from reprorun.errors import EngineError, EngineUnavailable
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import Changes, EngineInfo, Gpu, Gpus, GpusSeen, Record
from reprorun.workflow.exec import Finished
from reprorun.workflow.opened import Opened
from reprorun.workflow.report import Silent
from reprorun.workflow.reruns import Reruns
from reprorun.workflow.shared_gpus import SharedGpus

from .values import record

PATIENCE = 10  # seconds
ONE, TWO, THREE = (Gpus(kind="count", count=number) for number in (1, 2, 3))
ALL, AUTO, NONE = Gpus(kind="all"), Gpus(), Gpus(kind="none")


def device(*names: str) -> Gpus:
    return Gpus(kind="device", devices=names)


def with_gpus(number: int) -> Callable[[], Engine]:
    """Connects with an engine that says which GPUs it has."""

    class Lab(FakeEngine):
        def info(self) -> EngineInfo:
            return replace(super().info(), cdi=tuple(f"nvidia.com/gpu={n}" for n in range(number)))

    return Lab


class Waiting(Silent):
    """Told that something has to be waited for."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def progress(self, text: str) -> None:
        assert text == "waiting for GPUs"
        self.told.set()


class Waiter:
    """Wants GPUs in a thread of its own, and gives them back at once."""

    def __init__(self, gpus: SharedGpus, asked: Gpus) -> None:
        self.got: tuple[str, ...] | None = None
        self.interrupted = False
        self.report = Waiting()
        self._thread = threading.Thread(target=self._want, args=(gpus, asked), daemon=True)
        self._thread.start()

    def _want(self, gpus: SharedGpus, asked: Gpus) -> None:
        try:
            with gpus.lent(asked, self.report) as self.got:
                pass
        except KeyboardInterrupt:
            self.interrupted = True

    def waits(self) -> bool:
        return self.report.told.wait(PATIENCE) and self.got is None

    def done(self) -> tuple[str, ...] | None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.got


@contextmanager
def lent(gpus: SharedGpus, asked: Gpus) -> Iterator[tuple[str, ...]]:
    """Without waiting."""
    report = Waiting()
    with gpus.lent(asked, report) as got:
        assert not report.told.is_set()
        yield got


def test_each_has_its_own_and_the_third_waits() -> None:
    gpus = SharedGpus(with_gpus(2))
    with lent(gpus, ONE) as first:
        with lent(gpus, ONE) as second:
            assert (first, second) == (("0",), ("1",))
            third = Waiter(gpus, ONE)
            assert third.waits()
        assert third.done() == ("1",)


@pytest.mark.parametrize("asked", [TWO, ALL, AUTO, THREE, device("0"), device("GPU-1234")])
def test_who_has_to_wait_for_the_first(asked: Gpus) -> None:
    gpus = SharedGpus(with_gpus(2))
    with lent(gpus, ONE):
        waiter = Waiter(gpus, asked)
        assert waiter.waits()
    # of what is not there, or has no number, the engine says what becomes
    assert waiter.done() == (("0", "1") if asked == TWO else ())


def test_those_that_are_named() -> None:
    gpus = SharedGpus(with_gpus(3))
    with lent(gpus, device("0", "1")) as got, lent(gpus, ONE) as other:
        assert (got, other) == ((), ("2",))
        assert Waiter(gpus, device("1")).waits()


def test_more_than_there_are_is_not_made_fewer() -> None:
    with lent(SharedGpus(with_gpus(2)), THREE) as got:
        assert got == ()


def test_one_after_the_other_where_nobody_says_which_there_are() -> None:
    gpus = SharedGpus(FakeEngine)
    with lent(gpus, ONE) as got:
        assert got == ()
        waiter = Waiter(gpus, ONE)
        assert waiter.waits()
    assert waiter.done() == ()


def test_without_gpus_nobody_waits_or_asks() -> None:
    def nobody() -> Engine:
        raise EngineUnavailable("nobody is there")

    with lent(SharedGpus(nobody), NONE) as got:
        assert got == ()


def test_what_the_engine_does_not_answer_is_not_lent() -> None:
    answers = [EngineUnavailable("away"), None]

    def sometimes() -> Engine:
        if error := answers.pop(0):
            raise error
        return with_gpus(1)()

    gpus = SharedGpus(sometimes)
    with pytest.raises(EngineUnavailable), lent(gpus, ONE):
        pass
    with lent(gpus, ONE) as got:
        assert got == ("0",)


def test_who_waits_for_one_that_is_interrupted_is_so_too() -> None:
    gpus = SharedGpus(with_gpus(1))
    with suppress(KeyboardInterrupt), lent(gpus, ONE):
        waiter = Waiter(gpus, ONE)
        assert waiter.waits()
        raise KeyboardInterrupt
    assert (waiter.done(), waiter.interrupted) == (None, True)


def test_nobody_has_what_another_one_has() -> None:
    gpus, chance = SharedGpus(with_gpus(4)), random.Random(1)
    lock, held, wrong = threading.Lock(), set[str](), list[str]()

    def want(asked: Gpus) -> None:
        with gpus.lent(asked, Silent()) as got:
            with lock:
                wrong.extend(held.intersection(got))
                held.update(got)
            time.sleep(0.001)
            with lock:
                held.difference_update(got)

    asked = [Gpus(kind="count", count=chance.randint(1, 4)) for _ in range(100)]
    threads = [threading.Thread(target=want, args=(each,)) for each in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (wrong, held) == ([], set())
    assert not any(thread.is_alive() for thread in threads)


# ---------------------------------------------------------------- what a re-run asks for


Again = Callable[..., tuple[str, ...]]
REFUSED = {"status": "failed", "exit_code": 125, "reason": "2 GPUs were asked for"}


@pytest.fixture
def again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Again:
    """Runs a record again; the GPUs that the re-run is given."""

    def run(
        original: Record, shared: SharedGpus | None, /, end: Record | None = None, **changes: Any
    ) -> tuple[str, ...]:
        told: list[Changes] = []

        def rerun_opened(place: Opened, path: str, changes: Changes, *more: Any) -> Finished:
            told.append(changes)
            return Finished(record=end or original, log_dir=str(tmp_path), exit_code=0)

        def nobody() -> Engine:
            raise EngineUnavailable("nobody is there")

        monkeypatch.setattr("reprorun.workflow.reruns.rerun_opened", rerun_opened)
        store.write_record(str(tmp_path), original)
        place, limits = Opened(str(tmp_path), None), ArchiveLimits()
        Reruns(
            place, "first", Changes(**changes), Settings(), limits, str(tmp_path), "again", nobody,
            Silent(), shared,
        ).run()  # fmt: skip
        return told[0].gpu_devices

    return run


def test_as_many_as_its_record_had(again: Again) -> None:
    gpus = SharedGpus(with_gpus(3))
    with lent(gpus, device("0")):
        assert again(record(runtime="gpu", asked_gpus=TWO), gpus) == ("1", "2")
        assert again(record(runtime="gpu", asked_gpus=TWO), gpus, gpus=ONE) == ("1",)
        assert again(record(), gpus, gpus=ONE) == ("1",)


def test_none_where_its_record_had_none(again: Again) -> None:
    gpus = SharedGpus(with_gpus(1))
    with lent(gpus, ALL):
        assert again(record(asked_gpus=AUTO), gpus) == ()
        assert again(record(runtime="gpu", asked_gpus=ONE), gpus, gpus=NONE) == ()


def test_those_that_somebody_else_has_given(again: Again) -> None:
    original = record(runtime="gpu", asked_gpus=ONE)
    assert again(original, None, gpu_devices=("7",)) == ("7",)


def test_one_that_saw_too_few_says_nothing_of_the_original(again: Again) -> None:
    seen = GpusSeen(by="nvidia-smi", gpus=(Gpu(name="Card", memory=1),))
    original = record(runtime="gpu", asked_gpus=TWO, gpus_seen=seen)
    with pytest.raises(EngineError, match=r"^2 GPUs were asked for\.\n--force-cpu"):
        again(original, None, end=replace(original, **REFUSED))
    again(replace(original, asked_gpus=ONE), None, end=replace(original, **REFUSED))
