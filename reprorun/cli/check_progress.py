"""How a check goes while it runs: a line for each record under way on a terminal, plain elsewhere.

All of it goes to stderr. Several records share one screen, so what experiments print is left out:
it is in their records.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from reprorun.cli.live import (
    Stderr,
    StepLines,
    Turning,
    is_watched,
    make_console,
    make_live,
    make_spinner,
    table_of,
)
from reprorun.cli.text import printable
from reprorun.workflow.report import Reporter, Silent

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class Progress:
    """Says nothing; what the others are made of."""

    def of(self, record: str) -> Reporter:
        """A reporter for one record."""
        return Silent()

    def done(self, record: str) -> None:
        """Told that a record has been checked."""

    def note(self, text: str) -> None:
        """Something that the user should know, and that is no record's own."""

    def paused(self) -> AbstractContextManager[None]:
        """While it lasts the screen is the caller's."""
        return nullcontext()

    def close(self) -> None:
        """Told at the end, however it came."""


class Steps(Progress):
    """Every step, in lines that begin with the record."""

    def __init__(self) -> None:
        self._say = Stderr().say

    def of(self, record: str) -> Reporter:
        return StepLines(record, self._say)

    def note(self, text: str) -> None:
        self._say(_note(text))


class Beginnings(Progress):
    """A line when a record's turn comes: for a log file or a pipe."""

    def __init__(self) -> None:
        self._say = Stderr().say

    def of(self, record: str) -> Reporter:
        return _First(record, self._say)

    def note(self, text: str) -> None:
        self._say(_note(text))


class Screen(Progress):
    """A line for each record under way, which turns until it is done."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._total = total
        self._done = 0
        self._running: dict[str, Turning] = {}
        self._spinner = make_spinner()
        self._console = console or make_console()
        self._live = make_live(self._console, self._lines)
        self._live.start()

    def of(self, record: str) -> Reporter:
        return _Turning(record, self._running)

    def done(self, record: str) -> None:
        self._done += 1
        self._running.pop(record, None)

    def note(self, text: str) -> None:
        self._console.print(_note(text), style="yellow", markup=False, soft_wrap=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def close(self) -> None:
        self._live.stop()

    def _lines(self) -> RenderableType:
        last = [f"{self._done} of {self._total} records"] if self._total > 1 else []
        return table_of(list(self._running.values()), self._spinner, last)


class _First(Silent):
    def __init__(self, record: str, say: Callable[[str], None]) -> None:
        self._record = record
        self._say = say
        self._said = threading.Event()

    def step(self, name: str, text: str) -> None:
        if not self._said.is_set():
            self._said.set()
            self._say(f"checking  {printable(self._record)}")


class _Turning(Turning):
    """One record's line on the screen; it appears with the first step."""

    def __init__(self, record: str, running: dict[str, Turning]) -> None:
        super().__init__(record)
        self._running = running

    def step(self, name: str, text: str) -> None:
        if self.name not in self._running:
            self.began = time.monotonic()
            self._running[self.name] = self
        super().step(name, text)


def _note(text: str) -> str:
    return f"note      {printable(text)}"


def make_progress(given: dict[str, Any], total: int) -> Progress:
    """What suits the flags, and this terminal or the file in its place.

    Args:
        given: quiet, verbose.
        total: how many records there are.
    """
    if given["verbose"]:
        return Steps()
    if given["quiet"]:
        return Progress()
    return Screen(total) if is_watched() else Beginnings()
