"""A worker's own directory on a node, its leash, its engine, and what it fetched once."""

from __future__ import annotations

import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any

from reprorun import files
from reprorun.cluster.leash import Leash
from reprorun.engine import Engine, connect
from reprorun.workflow.reach import reach


class Place:
    """What lasts as long as a worker does. It serves one task after the other.

    Args:
        session: of the submitting machine, that it works for.
        ray: the module.
        depot: tells when to stop.
    """

    def __init__(self, session: str, ray: Any, depot: Any) -> None:
        self.session = session
        self.node = platform.node()
        self._stack = ExitStack()
        self.leash = Leash(os.urandom(8).hex())
        self.path = self._stack.enter_context(files.scratch_directory())
        self.leash.begin(self.path)
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._at_work = self._told = False
        self._shared: Any = None
        threading.Thread(target=self._interrupt_when_told, args=(ray, depot), daemon=True).start()

    def close(self) -> None:
        """Let go of everything, as the worker's end would."""
        self.forget_engine()
        self.leash.close()
        self._stack.close()

    # ------------------------------------------------------------ the engine

    def connect(self) -> Engine:
        """Another connection to the node's engine, which labels containers."""
        return self.leash.engine(connect())

    def engine(self) -> Engine:
        """The node's engine; one that is being restarted is waited for.

        Raises:
            EngineUnavailable: it does not answer.
        """
        self._engine = self._engine or reach(self.connect)
        return self._engine

    def forget_engine(self) -> None:
        """Connect anew the next time: it may have been restarted."""
        if self._engine:
            self._engine.close()
        self._engine = None

    # ------------------------------------------------------------ what came once for all tasks

    def file(self, name: str, pieces: Iterator[bytes]) -> str:
        """A file of that name, made of pieces where it is not there yet."""
        path = os.path.join(self.path, name)
        if not os.path.exists(path):
            with files.replacing(path) as target:
                for piece in pieces:
                    target.write(piece)
        return path

    def once(self, make: Callable[[], Any]) -> Any:
        """What all tasks of the session share, made with the first of them."""
        if self._shared is None:
            self._shared = make()
        return self._shared

    # ------------------------------------------------------------ Ctrl-C

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """In the block Ctrl-C on the submitting machine arrives as it would on this one.

        Raises:
            KeyboardInterrupt: where nobody in the block heeds the signal itself.
        """
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # Ray's workers do
        try:
            with self._lock:
                self._at_work = True
            if self._told:
                raise KeyboardInterrupt
            yield
        finally:
            signal.signal(signal.SIGINT, _ignore)  # one that was sent in time may come just now
            with self._lock:
                self._at_work = False
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            signal.signal(signal.SIGINT, before)

    def _interrupt_when_told(self, ray: Any, depot: Any) -> None:
        with suppress(ray.exceptions.RayError):  # then the submitting machine is gone, and soon we
            ray.get(depot.stopping.remote())
        with self._lock:
            self._told = True
            if self._at_work:
                main = threading.main_thread().ident
                assert main is not None
                signal.pthread_kill(main, signal.SIGINT)  # ends its waits, too


def _ignore(number: int, frame: FrameType | None) -> None:
    """What it was meant for is over."""


_place: Place | None = None


def place_of(session: str, ray: Any, depot: Any) -> Place:
    """This worker's place, made with its first task of a session."""
    global _place
    if _place is None or _place.session != session:
        if _place:
            _place.close()
        _place = Place(session, ray, depot)
    return _place
