"""Several runs at once, in threads; Ctrl-C reaches every one of them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Generic, TypeVar

from reprorun.workflow.attend import forget_interrupts, interrupt_all
from reprorun.workflow.interrupts import interrupts_to

T = TypeVar("T")
_GLANCE = 0.5  # seconds; a signal that another thread caught does not end the main thread's wait


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
        BaseException: what a task raised; no other is begun, and those under way have ended.
    """
    todo = iter(enumerate(tasks))
    failure: BaseException | None = None
    with Threads[T](at_once) as threads:
        while True:
            while threads.room and not (failure or threads.interrupted):
                number, task = next(todo, (0, None))
                if task is None:
                    break
                threads.begin(number, task)
            if not threads.running:
                break
            number, result = threads.wait()
            if isinstance(result, Failed):
                failure = failure or result.error
            else:
                yield number, result
        if threads.interrupted:
            raise KeyboardInterrupt
    if failure:
        raise failure


class Failed:
    """In the place of a result: the task raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Threads(Generic[T]):
    """Tasks in threads, each in one of its own. While the block lasts, interrupts go to them.

    Args:
        at_once: how many there may be.
    """

    def __init__(self, at_once: int) -> None:
        self.running = 0
        self._at_once = max(1, at_once)
        self._interrupted = threading.Event()
        self._done: queue.SimpleQueue[tuple[int, T | Failed]] = queue.SimpleQueue()
        self._stack = ExitStack()

    def __enter__(self) -> Threads[T]:
        self._stack.enter_context(interrupts_to(self._interrupt))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        forget_interrupts()

    @property
    def interrupted(self) -> bool:
        """An interrupt came, or a task says that it was interrupted; begin no other."""
        return self._interrupted.is_set()

    @property
    def room(self) -> int:
        """How many more may be begun."""
        return self._at_once - self.running

    def begin(self, number: int, task: Callable[[], T]) -> None:
        """Begin a task.

        Args:
            number: by which its result is known.
            task: what to do.
        """
        self.running += 1
        threading.Thread(target=self._do, args=(number, task), daemon=True).start()

    def wait(self) -> tuple[int, T | Failed]:
        """The number and result of the next task that ends; one has to be under way."""
        while True:
            try:
                ended = self._done.get(timeout=_GLANCE)
            except queue.Empty:
                continue
            self.running -= 1
            return ended

    def _do(self, number: int, task: Callable[[], T]) -> None:
        try:
            self._done.put((number, task()))
        except BaseException as error:  # noqa: BLE001  raised again by whoever waits
            if isinstance(error, KeyboardInterrupt):  # the task found that it was interrupted
                self._interrupted.set()
            self._done.put((number, Failed(error)))

    def _interrupt(self, number: int) -> None:
        self._interrupted.set()
        interrupt_all(number)
