"""How a check goes while it runs: a line for each record under way on a terminal, plain elsewhere.

All of it goes to stderr. Several records share one screen, so what experiments print is left out:
it is in their records.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from reprorun.cli.text import duration, printable
from reprorun.workflow.report import Reporter, Silent

if TYPE_CHECKING:
    from rich.console import RenderableType

_PER_SECOND = 8


class Progress:
    """Says nothing; what the others are made of."""

    def of(self, record: str) -> Reporter:
        """A reporter for one record."""
        return Silent()

    def done(self, record: str) -> None:
        """Told that a record has been checked."""

    def paused(self) -> AbstractContextManager[None]:
        """While it lasts the screen is the caller's."""
        return nullcontext()

    def close(self) -> None:
        """Told at the end, however it came."""


class Steps(Progress):
    """Every step, in lines that begin with the record."""

    def of(self, record: str) -> Reporter:
        return _Lines(record)


class Beginnings(Progress):
    """A line when a record's turn comes: for a log file or a pipe."""

    def of(self, record: str) -> Reporter:
        return _First(record)


class Screen(Progress):
    """A line for each record under way, which turns until it is done."""

    def __init__(self, total: int, console: Any = None) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self._total = total
        self._done = 0
        self._running: dict[str, _Turning] = {}
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console or Console(stderr=True, highlight=False),
            get_renderable=self._lines,
            refresh_per_second=_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def of(self, record: str) -> Reporter:
        return _Turning(record, self._running)

    def done(self, record: str) -> None:
        self._done += 1
        self._running.pop(record, None)

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
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(no_wrap=True)
        now = time.monotonic()
        for turning in list(self._running.values()):
            took = duration(now - turning.began)
            table.add_row(self._spinner, Text(turning.text), Text(took, "dim"))
        if self._total > 1:
            table.add_row("", Text(f"{self._done} of {self._total} records", "dim"))
        return table


class _Lines(Silent):
    def __init__(self, record: str) -> None:
        self._record = record

    def step(self, name: str, text: str) -> None:
        click.echo(printable(f"{self._record}: {name} {text}"), err=True)

    def note(self, text: str) -> None:
        self.step("note", text)


class _First(Silent):
    def __init__(self, record: str) -> None:
        self._record = record
        self._said = threading.Event()

    def step(self, name: str, text: str) -> None:
        if not self._said.is_set():
            self._said.set()
            click.echo(f"checking  {printable(self._record)}", err=True)


class _Turning(Silent):
    """One record's line on the screen; it appears with the first step."""

    def __init__(self, record: str, running: dict[str, _Turning]) -> None:
        self._record = record
        self._running = running
        self.began = time.monotonic()
        self.text = ""

    def step(self, name: str, text: str) -> None:
        if self._record not in self._running:
            self.began = time.monotonic()
            self._running[self._record] = self
        self.text = printable(f"{self._record}  {name} {text}")


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
    if not sys.stderr.isatty() or os.environ.get("CI"):
        return Beginnings()
    return Screen(total)
