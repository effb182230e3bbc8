"""Attending a container while it runs: its output, the clock, and Ctrl-C.

Everything that can happen arrives as an event in one queue: the container was started, it exited, a
signal came, an engine call failed. The queue is waited for until the time is up.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Literal

from reprorun.engine import Engine
from reprorun.engine.protocol import Stream
from reprorun.errors import EngineError
from reprorun.model import ContainerState, Value
from reprorun.workflow.interrupts import interrupts_to
from reprorun.workflow.report import Reporter

GRACE = 10.0  # seconds between the interrupt and the kill
GLANCE = 0.5  # seconds; a signal that another thread caught does not end the main thread's wait
DRAIN = 30.0  # seconds that the rest of the output may take after the exit

Cause = Literal["exited", "interrupted", "timeout"]
Event = tuple[Literal["started", "exited", "signal", "failed"], Any]


class Ending(Value, frozen=True, kw_only=True):
    """How a container ended, and whether it did so by itself."""

    state: ContainerState
    cause: Cause
    heard_all: bool = True  # its whole output has come
    seconds: float | None = None  # that it took, by a clock that nobody sets


def attend(
    engine: Engine,
    container: str,
    output: Callable[[Stream, bytes], None],
    report: Reporter,
    *,
    timeout: float | None,
    meanwhile: Callable[[], None],
    exited: Callable[[Ending], None] = lambda ending: None,
) -> Ending:
    """Start a created container and stay with it until it has exited.

    Args:
        output: takes what it prints, as it comes, from another thread.
        timeout: seconds after which it is stopped.
        meanwhile: done while the engine starts it, which takes its time.
        exited: told how it ended, before Ctrl-C raises anything again.

    Raises:
        EngineError: it refused, or stopped answering. The container may then be running, as after
            any other error; whoever created it removes it.
    """
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with _signals_into(events), closing(engine.attach(container)) as pieces:
        heard_all = threading.Event()
        reader = _thread(events, lambda: _pump(pieces, output, heard_all))
        _thread(events, lambda: _start_and_wait(engine, container, events))
        began = time.monotonic()
        meanwhile()
        state, cause = _until_exited(engine, container, events, report, timeout)
        seconds = time.monotonic() - began
        reader.join(DRAIN)
        ending = Ending(state=state, cause=cause, heard_all=heard_all.is_set(), seconds=seconds)
        exited(ending)
        return ending


def _start_and_wait(engine: Engine, container: str, events: queue.SimpleQueue[Event]) -> None:
    engine.start(container)
    events.put(("started", None))
    events.put(("exited", engine.wait(container)))


def _until_exited(
    engine: Engine,
    container: str,
    events: queue.SimpleQueue[Event],
    report: Reporter,
    timeout: float | None,
) -> tuple[ContainerState, Cause]:
    deadline = None if timeout is None else time.monotonic() + timeout
    cause: Cause = "exited"
    stops = _Stops(events)
    while True:
        try:
            kind, value = events.get(timeout=min(GLANCE, _left(deadline)))
        except queue.Empty:
            if _left(deadline) > 0:
                continue
            deadline, cause = None, "timeout"
            report.note(f"the time limit of {timeout:g} s is over: stopping it")
            stops.ask(lambda: engine.stop(container, GRACE))
            continue
        if kind == "exited":
            return value, cause
        if kind == "failed":
            raise value
        if kind == "started":
            stops.started()
        elif cause == "interrupted":
            report.note("killing it")
            stops.ask(lambda: engine.kill(container))
        else:
            cause = "interrupted"
            report.note(f"stopping it ({GRACE:g} s; Ctrl-C again kills it)")
            stops.ask(lambda: engine.stop(container, GRACE))


class _Stops:
    """Asks the engine to end a container: what it has not started yet, it would not stop."""

    def __init__(self, events: queue.SimpleQueue[Event]) -> None:
        self._events = events
        self._started = False
        self._wanted: Callable[[], None] | None = None  # once it is started

    def ask(self, how: Callable[[], None]) -> None:
        self._wanted = how
        if self._started:
            _thread(self._events, how)

    def started(self) -> None:
        self._started = True
        if self._wanted:
            _thread(self._events, self._wanted)


def _left(deadline: float | None) -> float:
    return math.inf if deadline is None else max(0.0, deadline - time.monotonic())


def _pump(
    pieces: Iterable[tuple[Stream, bytes]],
    output: Callable[[Stream, bytes], None],
    heard_all: threading.Event,
) -> None:
    """Hand on what is printed. Where that breaks off, the experiment goes on all the same."""
    with suppress(EngineError):
        for stream, data in pieces:
            output(stream, data)
        heard_all.set()


def _thread(events: queue.SimpleQueue[Event], work: Callable[[], object]) -> threading.Thread:
    """Do something beside; what it raises becomes an event."""

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  handed to the waiting thread, which raises it
            events.put(("failed", error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


_attended: set[queue.SimpleQueue[Event]] = set()  # of the runs that other threads attend
_interrupts: list[int] = []  # signals that runs which are attended only now have to hear of


def interrupt_all(number: int) -> None:
    """Hand a signal on to the runs that threads other than the main one attend, or are about to."""
    _interrupts.append(number)
    for events in tuple(_attended):
        events.put(("signal", number))


def forget_interrupts() -> None:
    """Told when all that an interrupt was meant for has ended."""
    _interrupts.clear()


@contextmanager
def _signals_into(events: queue.SimpleQueue[Event]) -> Iterator[None]:
    """Signals become events. Only the main thread gets them; it passes them on to the others."""
    if threading.current_thread() is threading.main_thread():
        with interrupts_to(lambda number: events.put(("signal", number))):
            yield
        return
    _attended.add(events)
    if _interrupts:
        events.put(("signal", _interrupts[0]))
    try:
        yield
    finally:
        _attended.discard(events)
