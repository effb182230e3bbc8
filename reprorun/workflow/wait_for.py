"""Waiting for containers that run on without the process that began them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

from reprorun.engine import Engine
from reprorun.errors import EngineError, EngineUnavailable
from reprorun.workflow.abandoned import Found
from reprorun.workflow.attend import GRACE, Ending
from reprorun.workflow.end_again import seconds_between

GLANCE = 0.5  # seconds; a signal that another thread caught does not end the main thread's wait
_Ended = tuple[Found, "Ending | EngineError"]


def wait_for(running: Sequence[Found], engine: Engine) -> Iterator[_Ended]:
    """Wait for containers. Each is stopped when its time is over, counted from its start.

    That is taken from the record: the engine's clock may be another.

    Ctrl-C ends the waiting and nothing else.

    Yields:
        How each ended, as they end; or why that can't be known.

    Raises:
        EngineUnavailable: the engine stopped answering.
    """
    ended: queue.SimpleQueue[_Ended] = queue.SimpleQueue()
    for each in running:
        threading.Thread(target=_attend, args=(each, engine, ended), daemon=True).start()
    for _ in running:
        found, ending = _next(ended)
        if isinstance(ending, EngineUnavailable):
            raise ending
        yield found, ending


def _next(ended: queue.SimpleQueue[_Ended]) -> _Ended:
    while True:
        with suppress(queue.Empty):
            return ended.get(timeout=GLANCE)


def _attend(found: Found, engine: Engine, ended: queue.SimpleQueue[_Ended]) -> None:
    try:
        ended.put((found, _ending(found, engine)))
    except EngineError as error:
        ended.put((found, error))


def _ending(found: Found, engine: Engine) -> Ending:
    container = found.left.containers[0].id
    over = threading.Event()

    def stop() -> None:
        over.set()
        with suppress(EngineError):  # whoever waits for it hears of that, too
            engine.stop(container, GRACE)

    timer = threading.Timer(_time_left(found), stop)
    timer.daemon = True
    timer.start()
    try:
        state = engine.wait(container)
    finally:
        timer.cancel()
    return Ending(state=state, cause="timeout" if over.is_set() else "exited")


def _time_left(found: Found) -> float:
    record = found.left.record
    limit = record.limits.timeout if record else None
    if record is None or limit is None or record.started is None:
        return threading.TIMEOUT_MAX
    return max(0.0, limit - max(0.0, seconds_between(record.started)))
