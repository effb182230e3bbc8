"""Several tasks at once: how many, in what order, and what becomes of them when one goes wrong."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from reprorun.workflow import attend
from reprorun.workflow.side_by_side import side_by_side


def test_every_result_comes_with_its_number() -> None:
    tasks: list[Callable[[], int]] = [lambda n=n: n * n for n in range(20)]  # type: ignore[misc]
    assert sorted(side_by_side(tasks, 3)) == [(n, n * n) for n in range(20)]
    assert list(side_by_side([], 2)) == []


def test_no_more_at_once_than_asked_for() -> None:
    lock, running, most = threading.Lock(), [0], [0]

    def task() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1

    list(side_by_side([task] * 12, 3))
    assert most == [3]


def test_results_come_as_they_are_known() -> None:
    release = threading.Event()
    tasks: list[Callable[[], str]] = [lambda: str(release.wait(10)), lambda: "quick"]
    results = side_by_side(tasks, 2)
    assert next(results) == (1, "quick")
    release.set()
    assert list(results) == [(0, "True")]


def test_after_a_failure_nothing_is_begun() -> None:
    done: list[int] = []

    def fail() -> None:
        raise ZeroDivisionError("x")

    tasks: list[Callable[[], None]] = [fail, *(lambda n=n: done.append(n) for n in range(5))]  # type: ignore[misc]
    with pytest.raises(ZeroDivisionError):
        list(side_by_side(tasks, 1))
    assert done == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reaches_what_is_under_way(number: signal.Signals) -> None:
    began: list[int] = []
    heard: list[int] = []
    both = threading.Barrier(3)

    def run() -> None:
        """As `attend` waits: for an event."""
        import queue

        events: queue.SimpleQueue[attend.Event] = queue.SimpleQueue()
        with attend._signals_into(events):
            began.append(1)
            both.wait(10)
            heard.append(events.get(timeout=10)[1])

    def interrupt() -> None:
        both.wait(10)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        list(side_by_side([run] * 6, 2))
    assert heard == [number, number]
    assert len(began) == 2  # the other four were not begun
    assert signal.getsignal(number) == before
    assert attend._attended == set()
