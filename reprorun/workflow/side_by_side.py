"""Several runs at once, in threads; Ctrl-C reaches every one of them."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Generic, TypeVar

from reprorun.workflow.attend import interrupt_all

T = TypeVar("T")
_GLANCE = 0.5  # seconds; a signal that another thread caught does not end the main thread's wait
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def side_by_side(tasks: Sequence[Callable[[], T]], at_once: int) -> Iterator[tuple[int, T]]:
    """Do tasks, some at once, and give each result as it comes.

    An interrupt is passed on to the runs that are under way; no other task is begun.

    Args:
        tasks: done in their order.
        at_once: how many.

    Yields:
        The number of a task, and its result.

    Raises:
        KeyboardInterrupt: after an interrupt, when all that was under way has ended.
        Exception: what a task raised; no other is begun, and those under way have ended.
    """
    work = _Work(tasks)
    with _interrupting(work):
        work.start(at_once)
        yield from work.results()
    if work.interrupted.is_set():
        raise KeyboardInterrupt
    if work.failure:
        raise work.failure


class _Work(Generic[T]):
    """Threads that take tasks from a list."""

    def __init__(self, tasks: Sequence[Callable[[], T]]) -> None:
        self.interrupted = threading.Event()
        self.failure: BaseException | None = None
        self._todo: queue.SimpleQueue[tuple[int, Callable[[], T]]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[int, T] | None] = queue.SimpleQueue()
        self._workers = 0
        for entry in enumerate(tasks):
            self._todo.put(entry)

    def start(self, at_once: int) -> None:
        """Begin."""
        self._workers = max(1, at_once)
        for _ in range(self._workers):
            threading.Thread(target=self._work, daemon=True).start()

    def results(self) -> Iterator[tuple[int, T]]:
        """What comes of them, until every thread has ended."""
        while self._workers:
            try:
                result = self._done.get(timeout=_GLANCE)
            except queue.Empty:
                continue
            if result is None:
                self._workers -= 1
            else:
                yield result

    def _work(self) -> None:
        try:
            while not (self.interrupted.is_set() or self.failure):
                number, task = self._todo.get_nowait()
                self._done.put((number, task()))
        except queue.Empty:
            pass  # all are done, or under way
        except KeyboardInterrupt:
            self.interrupted.set()
        except BaseException as error:  # noqa: BLE001  raised again by whoever waits
            self.failure = error
        finally:
            self._done.put(None)


@contextmanager
def _interrupting(work: _Work[T]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        work.interrupted.set()
        interrupt_all(number)

    heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
