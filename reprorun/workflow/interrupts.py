"""Ctrl-C and its kin, handed to whoever waits, while a block lasts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupts_to(take: Callable[[int], None]) -> Iterator[None]:
    """While the block lasts, interrupts go to a function, and raise nothing.

    Only the main thread gets any; in another nothing changes. What whoever started us has set to
    be ignored, such as a hang-up under nohup, stays ignored.

    Args:
        take: given the number of the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        take(number)

    heeded = [number for number in INTERRUPTS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
