"""Showing a run while it works: quiet, plain lines, live on a terminal."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import Any

import pytest
from rich.console import Console

from reprorun.cli.report import Live, Output, Plain, Quiet, Steady, make_reporter
from reprorun.cli.text import printable

Capture = pytest.CaptureFixture[bytes]
EVIL = "\x1b[2J [red]x[/red] [/] \\"


def tell(reporter: Quiet) -> None:
    """A run as a workflow tells it."""
    reporter.step("code", "project, 3 files")
    reporter.step("environment", "building")
    reporter.progress("Step 1/4")
    reporter.note("a note")
    reporter.step("running", "python train.py")
    reporter.output("stdout", b"out \xff\x1b[1m\n")
    reporter.output("stderr", b"err\n")
    reporter.step("finished", "in 3.2 s")
    reporter.close()


def test_quiet(capfdbinary: Capture) -> None:
    tell(Quiet(Output()))
    captured = capfdbinary.readouterr()
    assert captured.out == b"out \xff\x1b[1m\n"  # as it is: it belongs to the experiment
    assert captured.err == b"err\n"


PLAIN = b"""\
reprorun: code         project, 3 files
reprorun: environment  building
reprorun: note         a note
reprorun: running      python train.py
err
reprorun: finished     in 3.2 s
"""


def test_plain(capfdbinary: Capture) -> None:
    tell(Plain(Output()))
    captured = capfdbinary.readouterr()
    assert captured.out == b"out \xff\x1b[1m\n"
    assert captured.err == PLAIN


def test_plain_and_verbose(capfdbinary: Capture) -> None:
    tell(Plain(Output(), verbose=True))
    assert b"reprorun:              Step 1/4\n" in capfdbinary.readouterr().err


def test_plain_escapes(capfdbinary: Capture) -> None:
    Plain(Output()).step("code", EVIL + "\nreprorun: forged")
    assert capfdbinary.readouterr().err == (
        b"reprorun: code         \\x1b[2J [red]x[/red] [/] \\\\nreprorun: forged\n"
    )


def test_json_keeps_stdout_for_the_record(capfdbinary: Capture) -> None:
    tell(make_reporter(quiet=True, verbose=False, json=True))
    captured = capfdbinary.readouterr()
    assert captured.out == b""
    assert captured.err == b"out \xff\x1b[1m\nerr\n"


# ---------------------------------------------------------------- live


def live() -> tuple[Live, io.StringIO]:
    screen = io.StringIO()
    console = Console(
        force_terminal=True, file=screen, highlight=False, soft_wrap=True, width=80, _environ={}
    )
    return Live(Output(), console), screen


def lines(screen: io.StringIO) -> list[str]:
    """What stays on the screen, without colours and without the spinner's own lines."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    return [line.split("\r")[-1] for line in text.split("\n")]


def test_live(capfdbinary: Capture) -> None:
    reporter, screen = live()
    tell(reporter)
    shown = [line for line in lines(screen) if line and not line.startswith("⠋")]
    for line in (
        "code         project, 3 files",
        "environment  building",
        "note         a note",
        "running      python train.py",
        "finished     in 3.2 s",
    ):
        assert shown.count(line) == 1, (line, shown)
    captured = capfdbinary.readouterr()
    assert captured.out == b"out \xff\x1b[1m\n"


def test_the_screen_is_the_experiments_while_it_runs() -> None:
    reporter, screen = live()
    reporter.step("code", "x")
    reporter.step("running", "python train.py")
    length = len(screen.getvalue())
    reporter.progress("nothing")
    assert reporter._status is None
    assert len(screen.getvalue()) == length
    assert screen.getvalue().endswith("\n")
    reporter.close()
    assert len(screen.getvalue()) == length


def test_closing_twice_and_early() -> None:
    reporter, screen = live()
    reporter.close()
    reporter.step("code", "x")
    reporter.close()
    reporter.close()
    assert sum(line == "code         x" for line in lines(screen)) == 1


@pytest.mark.parametrize("text", [EVIL, "[/bold]", "[link=x]y", "\\", "a\nb", "[", "\udcff"])
def test_live_escapes(text: str) -> None:
    reporter, screen = live()
    reporter.step("environment", text)
    reporter.progress(text)
    reporter.note(text)
    reporter.close()
    assert f"note         {printable(text)}" in lines(screen)
    assert "\x1b[2J" not in screen.getvalue()


# ---------------------------------------------------------------- which of them


class Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO())

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("given", "terminal", "ci", "kind"),
    [
        ({"quiet": True}, True, "", Quiet),
        ({"quiet": True, "verbose": True}, True, "", Quiet),
        ({}, True, "", Live),
        ({}, False, "", Plain),
        ({}, True, "true", Plain),
        ({"verbose": True}, True, "", Plain),
        ({"json": True}, True, "", Live),
    ],
)
def test_which_reporter(
    given: dict[str, bool], terminal: bool, ci: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    if terminal:
        monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("CI", ci)
    defaults = {"quiet": False, "verbose": False, "json": False}
    made = make_reporter(**{**defaults, **given})
    assert type(made._speaker if isinstance(made, Steady) else made) is kind


# ---------------------------------------------------------------- a reader that has gone


def test_output_goes_on_when_a_reader_has_gone(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        output = Output()
        for _ in range(3):
            output.write("stdout", b"x\n")
        output.write("stderr", b"still here\n")
        os.write(writing, b"")  # it leads nowhere now, and nothing fails at the end
    assert capfdbinary.readouterr().err == b"still here\n"


def test_pieces_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        output: Any = Output()
        output.write("stdout", b"no newline")
        assert os.read(reading, 100) == b"no newline"
    os.close(reading)
