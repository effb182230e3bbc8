"""Attending a container: what comes before the engine has started it, and when it has exited."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from reprorun.engine.fake import FakeEngine, FakeProcess
from reprorun.model import ContainerSpec
from reprorun.workflow import attend as module
from reprorun.workflow.attend import Ending, attend
from reprorun.workflow.report import Silent

from ...kit import FAKE_BASE


class SlowToStart(FakeEngine):
    """Starts a container when it may; until then, as Docker does, it has nothing to stop."""

    def __init__(self, program: Callable[[FakeProcess], int]) -> None:
        super().__init__(images={"base:1": FAKE_BASE}, programs={"python": program})
        self.may_start = threading.Event()
        self.asked: list[str] = []

    def start(self, container: str) -> None:
        assert self.may_start.wait(10)
        super().start(container)

    def stop(self, container: str, grace: float) -> None:
        self.asked.append("stop")  # which kills what does not heed it
        if self.containers[container].started:
            super().stop(container, grace)

    def kill(self, container: str) -> None:
        self.asked.append("kill")
        if self.containers[container].started:
            super().kill(container)


class LetsItStart(Silent):
    """Lets the engine go on a while after it was said so many times that it is stopped."""

    def __init__(self, engine: SlowToStart, times: int = 1) -> None:
        self.engine, self.left = engine, times

    def note(self, text: str) -> None:
        self.left -= 1
        if not self.left:
            threading.Timer(0.2, self.engine.may_start.set).start()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def attended(
    engine: SlowToStart, report: Silent, meanwhile: Callable[[], None], timeout: float | None = None
) -> Ending:
    container = engine.create(ContainerSpec(image="base:1", command=("python",), name="one"))
    began = time.monotonic()
    ending = attend(
        engine, container, lambda *_: None, report, timeout=timeout, meanwhile=meanwhile
    )
    assert time.monotonic() - began < 10, "it was left to end by itself"
    return ending


def long(process: FakeProcess) -> int:
    process.sleep(30)
    return 0


def test_a_stop_that_comes_before_the_start_is_not_lost() -> None:
    engine = SlowToStart(long)
    ending = attended(engine, LetsItStart(engine), interrupt)
    assert ending.cause == "interrupted"
    assert engine.asked.count("stop") == 1  # a second one would break off its cleaning up


def test_nor_is_a_kill() -> None:
    def heedless(process: FakeProcess) -> int:
        process.ignores_interrupts = True
        return long(process)

    def twice() -> None:
        interrupt()
        interrupt()

    engine = SlowToStart(heedless)
    assert attended(engine, LetsItStart(engine, 2), twice).cause == "interrupted"
    assert engine.asked == ["kill"]


def test_nor_is_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.2)
    engine = SlowToStart(long)
    ending = attended(engine, LetsItStart(engine), lambda: None, timeout=0.1)
    assert ending.cause == "timeout"
    assert engine.asked.count("stop") == 1


def test_how_it_ended_is_told_before_an_interrupt_raises_anything() -> None:
    engine = SlowToStart(lambda process: 3)
    engine.may_start.set()
    container = engine.create(ContainerSpec(image="base:1", command=("python",), name="one"))
    told: list[int | None] = []

    def exited(ending: Ending) -> None:
        interrupt()
        told.append(ending.state.exit_code)

    attend(
        engine,
        container,
        lambda *_: None,
        Silent(),
        timeout=None,
        meanwhile=lambda: None,
        exited=exited,
    )
    assert told == [3]
