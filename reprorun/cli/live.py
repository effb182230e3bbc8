"""What `check` and `sweep` show while they work: lines on a terminal that are drawn again often.

All of it goes to stderr. Who watches may leave; the work goes on.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import IO, TYPE_CHECKING, cast

from reprorun.cli.text import duration, printable
from reprorun.workflow.report import Silent

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.table import Table

PER_SECOND = 8


class Stderr(io.TextIOBase):
    """stderr, for as long as somebody takes what is written there."""

    def __init__(self) -> None:
        self._file = sys.stderr
        self._gone = False

    def write(self, text: str) -> int:
        self._try(lambda: self._file.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._file.flush)

    def isatty(self) -> bool:
        return self._file.isatty()

    def fileno(self) -> int:
        return self._file.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a variable there
        return self._file.encoding

    def say(self, text: str) -> None:
        """Write a line at once."""
        self.write(f"{text}\n")
        self.flush()

    def _try(self, write: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            write()
        except OSError:  # a reader that has gone, a terminal that is closed, a full disk
            self._gone = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # what is still to be flushed goes there, too
            os.close(nowhere)


def is_watched() -> bool:
    """Whether stderr is a terminal with somebody before it, on which lines can be drawn again."""
    if os.environ.get("CI") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stderr.isatty()


def make_console() -> Console:
    """The terminal."""
    from rich.console import Console

    return Console(file=cast("IO[str]", Stderr()), highlight=False)


def make_live(console: Console, draw: Callable[[], RenderableType]) -> Live:
    """A part of the terminal that is drawn again several times a second, and gone in the end.

    Args:
        console: the terminal.
        draw: makes what is shown; called in a thread of its own.
    """
    from rich.live import Live

    return Live(
        console=console,
        get_renderable=draw,
        refresh_per_second=PER_SECOND,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def make_spinner() -> Spinner:
    """Turns before each line."""
    from rich.spinner import Spinner

    return Spinner("dots")


class Turning(Silent):
    """One line: what is under way, its last step, and for how long it has been."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.began = time.monotonic()
        self.text = printable(name)

    def step(self, name: str, text: str) -> None:
        self.text = printable(f"{self.name}  {name} {text}")


class StepLines(Silent):
    """Every step in a line of its own, which begins with what is under way."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say

    def step(self, name: str, text: str) -> None:
        self._say(printable(f"{self._name}: {name} {text}"))

    def note(self, text: str) -> None:
        self.step("note", text)


def table_of(lines: Iterable[Turning], spinner: Spinner, last: Iterable[str] = ()) -> Table:
    """Lines below each other; what doesn't fit into the width is cut.

    Args:
        lines: of what is under way.
        spinner: turns before each.
        last: lines of text below them.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True)
    now = time.monotonic()
    for line in lines:
        table.add_row(spinner, Text(line.text), Text(duration(now - line.began), "dim"))
    for text in last:
        table.add_row("", Text(text, "dim"))
    return table
