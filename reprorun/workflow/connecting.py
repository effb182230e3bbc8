"""Reaching the engine beside something else: what it says of itself takes it a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from reprorun.engine import Engine


@contextmanager
def connecting(connect: Callable[[], Engine]) -> Generator[Callable[[], Engine], None, None]:
    """Reach an engine beside what is done in the block, and close it with the block.

    Args:
        connect: reaches it.

    Yields:
        Waits until it is reached, and returns it. It raises what `connect` raises.
    """
    attempt = _Attempt(connect)
    attempt.start()
    try:
        yield attempt.reached
    finally:
        attempt.leave()


class _Attempt(threading.Thread):
    """Nobody waits for one that is left: it closes what it may still reach."""

    def __init__(self, connect: Callable[[], Engine]) -> None:
        super().__init__(daemon=True)
        self._connect = connect
        self._engine: Engine | None = None
        self._error: BaseException | None = None
        self._left = False
        self._lock = threading.Lock()

    def run(self) -> None:
        try:
            engine = self._connect()
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            self._error = error
            return
        try:
            engine.info()
        except BaseException as error:  # noqa: BLE001  likewise
            self._error = error
        with self._lock:
            self._engine = engine
            if self._left or self._error:
                engine.close()

    def reached(self) -> Engine:
        self.join()
        if self._error:
            raise self._error
        assert self._engine is not None  # else there is an error
        return self._engine

    def leave(self) -> None:
        with self._lock:
            self._left = True
            if self._engine and not self._error:
                self._engine.close()
