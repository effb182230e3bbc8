"""How far a sweep has come, and how long it will still take. Pure but for the clock."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence

_ENDS = 32  # the pace is that of so many ends, or of more where many runs are under way at once
_ROUNDS = 4
_MOST_ENDS = 1000


def time_left(marks: Sequence[float], now: float, running: int, remaining: int) -> float | None:
    """In how many seconds a sweep will have ended, by the pace of its last ends.

    Args:
        marks: when it began, and when each run ended since.
        now: on the same clock.
        running: how many runs are under way.
        remaining: how many have not ended, those under way among them.

    Returns:
        None: too few have ended to tell, or it should have ended already.
    """
    if len(marks) - 1 < max(2, running):
        return None
    recent = marks[-1 - max(_ENDS, _ROUNDS * running) :]
    pace = (recent[-1] - recent[0]) / (len(recent) - 1)
    waited = now - recent[-1]
    if running:  # all of them may end at the same moment; after that they are slower than before
        pace = max(pace, waited / running)
    left = remaining * pace - waited
    return left if left > 0 else None


def about(seconds: float) -> str:
    """A time that is not known well, such as `about 40 s` or `about 3 h`."""
    minutes, hours = seconds / 60, seconds / 3600
    if seconds < 10:
        return f"about {max(1, round(seconds))} s"
    if seconds < 57.5:
        return f"about {5 * round(seconds / 5)} s"
    if minutes < 90:
        return f"about {max(1, round(minutes))} min"
    return f"about {round(hours)} h" if hours < 48 else f"about {round(hours / 24)} days"


class Tally:
    """How many runs have come how far.

    Args:
        total: how many runs the sweep has.
        done: how many of them had finished before.
        clock: tells the time.
    """

    def __init__(self, total: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self._clock = clock
        self._ended: Counter[str] = Counter(finished=done)
        self._running = 0
        self._marks: deque[float] = deque(maxlen=_MOST_ENDS)
        self._lock = threading.Lock()

    def began(self) -> None:
        """A run has begun."""
        with self._lock:
            self._running += 1
            if not self._marks:
                self._marks.append(self._clock())

    def ended(self, status: str, *, again: bool) -> None:
        """A run has ended, or it has to be made again."""
        with self._lock:
            self._running = max(0, self._running - 1)
            if not again:
                self._ended[status] += 1
                self._marks.append(self._clock())

    def bracket(self) -> str:
        """How far it is, in short: `3 of 20, about 40 s left`."""
        with self._lock:
            return ", ".join([f"{self._ended.total()} of {self.total}", *self._left()])

    def line(self) -> str:
        """How far it is: `12 running, 340 finished, 3 failed, 645 to go, about 12 min left`."""
        with self._lock:
            unlike = (status for status in self._ended if status != "finished")
            ended = (f"{self._ended[status]} {status}" for status in ("finished", *sorted(unlike)))
            to_go = max(0, self.total - self._ended.total() - self._running)
            parts = (f"{self._running} running", *ended, f"{to_go} to go", *self._left())
            return ", ".join(parts)

    def _left(self) -> Iterator[str]:
        remaining = self.total - self._ended.total()
        left = time_left(list(self._marks), self._clock(), self._running, remaining)
        if left is not None:
            yield f"{about(left)} left"
