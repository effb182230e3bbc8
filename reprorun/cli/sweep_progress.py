"""How a sweep goes while it runs: a line for each run under way on a terminal, plain elsewhere.

All of it goes to stderr. What experiments print is left out: it is in their records. Runs may be
told of from several threads.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

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
from reprorun.cli.tally import Tally
from reprorun.cli.text import duration, printable
from reprorun.workflow.report import Reporter, Silent

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from reprorun.workflow.drive import RunEnd

_WIDTH = 8  # of the word that begins a line
_BELOW = 2  # lines on the screen beside those of runs


class SweepProgress:
    """Says nothing; what the others are made of."""

    def of(self, name: str) -> Reporter:
        """A reporter for one run."""
        return Silent()

    def began(self, name: str) -> None:
        """Told that a run has begun."""

    def ended(self, end: RunEnd) -> None:
        """Told that a run has ended."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def close(self) -> None:
        """Told at the end, however it came."""


class Failures(SweepProgress):
    """A line for each run that has failed for good."""

    def __init__(self) -> None:
        self._say = Stderr().say

    def ended(self, end: RunEnd) -> None:
        if end.status not in ("finished", "interrupted") and not end.again:
            self._say(_ending(end))


class Lines(SweepProgress):
    """A line for each run that has ended, for a log file or a pipe; with `verbose` all steps."""

    def __init__(self, tally: Tally, *, verbose: bool = False) -> None:
        self._say = Stderr().say
        self._tally = tally
        self._verbose = verbose

    def of(self, name: str) -> Reporter:
        return StepLines(name, self._say) if self._verbose else Silent()

    def began(self, name: str) -> None:
        self._tally.began()

    def ended(self, end: RunEnd) -> None:
        self._tally.ended(end.status, again=end.again)
        line = _ending(end)
        self._say(line if end.again else f"{line}  ({self._tally.bracket()})")

    def note(self, text: str) -> None:
        self._say(_line("note", text))


class Screen(SweepProgress):
    """A line for each run under way, as many as there is room for, and one for the whole sweep.

    What has failed, and notes, are lines that stay.
    """

    def __init__(self, tally: Tally, console: Console | None = None) -> None:
        self._tally = tally
        self._console = console or make_console()
        self._running: dict[str, Turning] = {}
        self._spinner = make_spinner()
        self._live = make_live(self._console, self._lines)
        self._live.start()

    def of(self, name: str) -> Reporter:
        return self._running.get(name) or self._begin(name)

    def began(self, name: str) -> None:
        self._tally.began()
        if name not in self._running:
            self._begin(name)

    def ended(self, end: RunEnd) -> None:
        self._tally.ended(end.status, again=end.again)
        self._running.pop(end.name, None)
        if end.status != "finished":
            self._print(_ending(end), "red")

    def note(self, text: str) -> None:
        self._print(_line("note", text), "yellow")

    def close(self) -> None:
        self._live.stop()

    def _begin(self, name: str) -> Turning:
        return self._running.setdefault(name, Turning(name))

    def _print(self, line: str, style: str) -> None:
        from rich.text import Text

        word, gap, rest = line.partition("  ")
        self._console.print(Text.assemble((word, style), gap, rest), soft_wrap=True)

    def _lines(self) -> RenderableType:
        running = list(self._running.values())
        room = max(1, self._console.size.height - _BELOW - 1)  # the cursor has a line, too
        more = len(running) - room
        last = [f"and {more} more"] if more > 0 else []
        shown = islice(running, room)
        return table_of(shown, self._spinner, [*last, self._tally.line()])


def _ending(end: RunEnd) -> str:
    took = ""
    if end.status == "finished" and end.seconds is not None:
        took = f"in {duration(end.seconds)}"
    later = "it will be run again" if end.again else ""
    return _line(end.status, "  ".join(filter(None, (end.name, took, end.reason, later))))


def _line(word: str, text: str) -> str:
    return f"{word:<{_WIDTH}}  {printable(text)}"


def make_sweep_progress(*, quiet: bool, verbose: bool, total: int, done: int) -> SweepProgress:
    """What suits the flags, and this terminal or the file in its place.

    Args:
        quiet: nothing but what has failed.
        verbose: each step of each run.
        total: how many runs the sweep has.
        done: how many of them had finished before.
    """
    if quiet:
        return Failures()
    tally = Tally(total, done)
    return Lines(tally, verbose=verbose) if verbose or not is_watched() else Screen(tally)
