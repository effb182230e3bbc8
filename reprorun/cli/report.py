"""Showing a run while it works: live on a terminal, plain lines elsewhere, or nothing.

All of it goes to stderr; stdout belongs to the experiment (and to the record, with `--json`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO

from reprorun.cli.text import printable
from reprorun.engine.protocol import Stream
from reprorun.workflow.report import Reporter, Silent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.text import Text

NAME_WIDTH = 12


class Output:
    """Passes the experiment's output on, as long as somebody takes it; the experiment goes on."""

    def __init__(self, *, to_stderr: bool = False) -> None:
        out = sys.stderr if to_stderr else sys.stdout
        self._targets: dict[Stream, BinaryIO] = {"stdout": out.buffer, "stderr": sys.stderr.buffer}

    def write(self, stream: Stream, data: bytes) -> None:
        """Write a piece at once."""
        target = self._targets.get(stream)
        if target is None:
            return
        try:
            target.write(data)
            target.flush()
        except OSError:  # a reader that has gone, a terminal that is closed, a full disk
            del self._targets[stream]
            os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())


class Quiet(Silent):
    """Only the experiment's output."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def output(self, stream: Stream, data: bytes) -> None:
        self._output.write(stream, data)

    def close(self) -> None:
        pass


class Plain(Quiet):
    """A line for each step."""

    def __init__(self, output: Output, *, verbose: bool = False) -> None:
        super().__init__(output)
        self._verbose = verbose

    def step(self, name: str, text: str) -> None:
        self._say(name, text)

    def progress(self, text: str) -> None:
        if self._verbose:
            self._say("", text)

    def note(self, text: str) -> None:
        self._say("note", text)

    def _say(self, name: str, text: str) -> None:
        print(f"reprorun: {name:<{NAME_WIDTH}} {printable(text)}", file=sys.stderr, flush=True)


class Live(Quiet):
    """The step that is under way turns on the terminal until the next one begins."""

    def __init__(self, output: Output, console: Console) -> None:
        super().__init__(output)
        self._console = console
        self._status: AbstractContextManager[Status] | None = None
        self._now: Status | None = None
        self._step = ("", "")

    def step(self, name: str, text: str) -> None:
        self._settle()
        self._step = (name, text)
        if name != "running":  # from there on the screen is the experiment's
            self._status = self._console.status(self._line(name, text))
            self._now = self._status.__enter__()
        else:
            self._settle()

    def progress(self, text: str) -> None:
        if self._now:
            self._now.update(self._line(*self._step).append(f" {printable(text)}", "dim"))

    def note(self, text: str) -> None:
        self._settle()
        self._console.print(self._line("note", text, "yellow"))

    def close(self) -> None:
        self._settle()

    def _settle(self) -> None:
        if self._status:
            self._status.__exit__(None, None, None)
            self._status = self._now = None
        if self._step[0]:
            self._console.print(self._line(*self._step))
            self._step = ("", "")

    def _line(self, name: str, text: str, style: str = "bold cyan") -> Text:
        from rich.text import Text  # not markup, which would obey brackets in the text

        return Text.assemble((f"{name:<{NAME_WIDTH}}", style), " ", printable(text))


class Steady(Quiet):
    """Another reporter, but one that falls silent when nobody can hear it; the run goes on."""

    def __init__(self, output: Output, speaker: Quiet) -> None:
        super().__init__(output)
        self._speaker = speaker

    def step(self, name: str, text: str) -> None:
        self._try(lambda: self._speaker.step(name, text))

    def progress(self, text: str) -> None:
        self._try(lambda: self._speaker.progress(text))

    def note(self, text: str) -> None:
        self._try(lambda: self._speaker.note(text))

    def close(self) -> None:
        self._try(self._speaker.close)

    def _try(self, speak: Callable[[], None]) -> None:
        try:
            speak()
        except OSError:
            self._speaker = Quiet(self._output)


def make_reporter(*, quiet: bool, verbose: bool, json: bool) -> Quiet:
    """The reporter for this terminal, or for a file or pipe in its place."""
    output = Output(to_stderr=json)
    if quiet:
        return Quiet(output)
    if verbose or not sys.stderr.isatty() or os.environ.get("CI"):
        return Steady(output, Plain(output, verbose=verbose))
    from rich.console import Console

    return Steady(output, Live(output, Console(stderr=True, highlight=False, soft_wrap=True)))


_: type[Reporter] = Quiet  # checked by mypy: every reporter is a Reporter
