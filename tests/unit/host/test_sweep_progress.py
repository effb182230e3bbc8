"""How a sweep goes on the screen and in a log file; its time left; watchers that leave."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reprorun.cli.sweep_progress import (
    Failures,
    Lines,
    Screen,
    SweepProgress,
    make_sweep_progress,
)
from reprorun.cli.tally import Tally, about, time_left
from reprorun.workflow.drive import RunEnd

Capture = pytest.CaptureFixture[str]
EVIL = "a\x1b[2J[bold]"


class Clock:
    """Stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# ---------------------------------------------------------------- time left


def test_nothing_is_said_until_some_have_ended() -> None:
    assert time_left([], 0, 0, 10) is None
    assert time_left([0], 5, 1, 10) is None
    assert time_left([0, 10], 10, 1, 10) is None
    assert time_left([0, 10, 20], 20, 1, 10) == 100
    assert time_left([0, 10, 10, 10], 10, 4, 10) is None  # less than a round of four


def test_time_left_counts_down_while_nothing_ends() -> None:
    marks = [0.0, 10.0, 20.0]
    assert [time_left(marks, now, 2, 4) for now in (20, 25, 30)] == [40, 35, 30]


def test_a_stall_is_seen() -> None:
    """A run that takes ten times as long as those before it is not always a second from its end."""
    marks = [float(n) for n in range(11)]
    calm, stalled = time_left(marks, 10.5, 1, 100), time_left(marks, 20, 1, 100)
    assert calm == 99.5
    assert stalled == 100 * 10 - 10


def test_it_follows_the_pace_of_late() -> None:
    marks = [float(n) for n in range(1000)]  # a second each, then ten
    marks += [1000 + 10.0 * n for n in range(50)]
    assert time_left(marks, marks[-1], 1, 10) == pytest.approx(100)


def test_runs_that_end_in_rounds() -> None:
    """Eight at once of ten seconds each: 0.8 a second, whatever the moment."""
    marks = [0.0] + [10.0 * round_ for round_ in range(1, 6) for _ in range(8)]
    left = [time_left(marks, now, 8, 80) for now in (50, 55, 59)]
    assert left[0] is not None
    assert 80 <= left[0] <= 130
    assert left == [left[0], left[0] - 5, left[0] - 9]


def test_nothing_is_said_that_is_known_to_be_wrong() -> None:
    assert time_left([0, 1, 2], 50, 1, 1) is None  # it should have ended long ago


@given(
    st.lists(st.floats(0, 1e9), max_size=200).map(sorted),
    st.floats(0, 1e9),
    st.integers(0, 50),
    st.integers(0, 10**6),
)
def test_time_left_is_positive_or_unknown(
    marks: list[float], waited: float, running: int, remaining: int
) -> None:
    left = time_left(marks, (marks[-1] if marks else 0) + waited, running, remaining)
    assert left is None or left > 0


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        *((0.1, "about 1 s"), (7.4, "about 7 s"), (9.99, "about 10 s"), (42, "about 40 s")),
        *((57, "about 55 s"), (58, "about 1 min"), (89, "about 1 min"), (700, "about 12 min")),
        *((5300, "about 88 min"), (5400, "about 2 h"), (1e5, "about 28 h")),
        (1e6, "about 12 days"),
    ],
)
def test_times_not_known_well(seconds: float, wanted: str) -> None:
    assert about(seconds) == wanted


def test_the_tally() -> None:
    clock = Clock()
    tally = Tally(1000, 340, clock)
    assert tally.line() == "0 running, 340 finished, 660 to go"
    for _ in range(3):
        tally.began()
    assert tally.line() == "3 running, 340 finished, 657 to go"
    for status in ("finished", "failed", "failed"):
        clock.now += 2
        tally.ended(status, again=False)
    assert tally.line() == "0 running, 341 finished, 2 failed, 657 to go, about 22 min left"
    assert tally.bracket() == "343 of 1000, about 22 min left"
    tally.began()
    tally.ended("failed", again=True)
    assert tally.line() == "0 running, 341 finished, 2 failed, 657 to go, about 22 min left"


# ---------------------------------------------------------------- plain lines


def goes(progress: SweepProgress) -> None:
    """A small sweep: two finish, one fails twice."""
    try:
        for name in ("lr=1", "lr=2", EVIL):
            progress.began(name)
            progress.of(name).step("running", "train.py")
        progress.ended(RunEnd(name="lr=1", status="finished", seconds=2.1))
        progress.ended(RunEnd(name=EVIL, status="lost", reason=f"gone{EVIL}", again=True))
        progress.began(EVIL)
        progress.note(f"careful{EVIL}")
        progress.ended(RunEnd(name="lr=2", status="finished", seconds=61.0, reason=""))
        progress.ended(RunEnd(name=EVIL, status="failed", seconds=0.5, reason="exit code 1: boom"))
    finally:
        progress.close()


def test_a_line_for_each_run_that_has_ended(capsys: Capture) -> None:
    goes(Lines(Tally(20, 0, Clock())))
    assert capsys.readouterr().err.splitlines() == [
        "finished  lr=1  in 2.1 s  (1 of 20)",
        "lost      a\\x1b[2J[bold]  gonea\\x1b[2J[bold]  it will be run again",
        "note      carefula\\x1b[2J[bold]",
        "finished  lr=2  in 1 min 01 s  (2 of 20)",
        "failed    a\\x1b[2J[bold]  exit code 1: boom  (3 of 20)",
    ]


def test_time_left_stands_in_the_line(capsys: Capture) -> None:
    clock = Clock()
    lines = Lines(Tally(20, 0, clock))
    for number in range(3):
        lines.began(f"lr={number}")
        clock.now += 2.5
        lines.ended(RunEnd(name=f"lr={number}", status="finished", seconds=2.1))
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "finished  lr=2  in 2.1 s  (3 of 20, about 40 s left)"


def test_every_step_with_v(capsys: Capture) -> None:
    goes(Lines(Tally(3, 0), verbose=True))
    assert "a\\x1b[2J[bold]: running train.py" in capsys.readouterr().err.splitlines()


def test_nothing_but_errors_with_q(capsys: Capture) -> None:
    goes(Failures())
    Failures().ended(RunEnd(name="lr=9", status="interrupted", reason="interrupted by the user"))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "failed    a\\x1b[2J[bold]  exit code 1: boom\n"


# ---------------------------------------------------------------- a terminal


def console(width: int = 80, height: int = 24) -> Console:
    file = io.StringIO()
    return Console(file=file, force_terminal=True, width=width, height=height, legacy_windows=False)


def shown(screen: Screen, on: Console) -> list[str]:
    """What it would draw now; `on` itself draws it again and again."""
    aside = console(*on.size)
    aside.print(screen._lines())
    assert isinstance(aside.file, io.StringIO)
    return [line.rstrip() for line in click.unstyle(aside.file.getvalue()).splitlines()]


@pytest.fixture
def make_screen() -> Iterator[Callable[..., Screen]]:
    screens: list[Screen] = []

    def make(tally: Tally, on: Console) -> Screen:
        screens.append(Screen(tally, on))
        return screens[-1]

    yield make
    for screen in screens:
        screen.close()


MakeScreen = Callable[..., Screen]


def test_a_line_for_each_run_under_way(make_screen: MakeScreen) -> None:
    on = console()
    screen = make_screen(Tally(20, 4, Clock()), on)
    screen.began(EVIL)
    screen.began("lr=2")  # one on a cluster: no steps are heard of
    screen.of(EVIL).step("running", "train.py")
    lines = shown(screen, on)
    assert "a\\x1b[2J[bold]  running train.py" in lines[0]
    assert "lr=2" in lines[1]
    assert lines[1].endswith(" s")
    assert lines[2].strip() == "2 running, 4 finished, 14 to go"
    screen.ended(RunEnd(name=EVIL, status="failed", seconds=1.0, reason="exit code 1: boom"))
    screen.ended(RunEnd(name="lr=2", status="finished", seconds=1.0))
    assert shown(screen, on)[-1].strip() == "0 running, 5 finished, 1 failed, 14 to go"
    screen.note("careful[bold]")
    assert isinstance(on.file, io.StringIO)
    stays = click.unstyle(on.file.getvalue())
    assert "failed    a\\x1b[2J[bold]  exit code 1: boom" in stays
    assert "note      careful[bold]" in stays
    assert "\x1b[2J" not in on.file.getvalue()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (30, 6), (9, 3), (200, 100), (1, 1)])
def test_whatever_the_size(make_screen: MakeScreen, width: int, height: int) -> None:
    on = console(width, height)
    screen = make_screen(Tally(1000, 0), on)
    for number in range(50):
        screen.began(f"seed={number:02}_learning_rate=0.0001_optimizer=adam")
    lines = shown(screen, on)
    assert len(lines) <= max(height, 3)
    assert all(len(line) <= width for line in lines)
    if width >= 30:
        assert lines[-1].strip().startswith("50 running, 0 finished")
    if (width, height) == (30, 6):
        assert [line.strip() for line in lines[3:-1]] == ["and 47 more"]
        assert "…" in lines[0]
    if height == 100:
        assert len(lines) == 51


def test_it_follows_a_terminal_that_is_resized(make_screen: MakeScreen) -> None:
    on = console(80, 24)
    screen = make_screen(Tally(100, 0), on)
    for number in range(30):
        screen.began(f"seed={number:02}")
    assert len(shown(screen, on)) == 23
    on.size = (40, 10)
    assert len(shown(screen, on)) == 9


def test_runs_are_told_of_from_many_threads(make_screen: MakeScreen) -> None:
    screen = make_screen(Tally(400, 0), on := console())

    def work(worker: int) -> None:
        for number in range(50):
            name = f"{worker}/{number}"
            screen.began(name)
            screen.of(name).step("running", "x")
            screen.ended(RunEnd(name=name, status="failed", seconds=0.0, reason="boom"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shown(screen, on)[-1].strip() == "0 running, 0 finished, 400 failed, 0 to go"
    assert isinstance(on.file, io.StringIO)
    assert on.file.getvalue().count("boom") == 400


def test_what_suits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "TERM"):
        monkeypatch.delenv(name, raising=False)

    def made(*, quiet: bool = False, verbose: bool = False) -> type[SweepProgress]:
        progress = make_sweep_progress(quiet=quiet, verbose=verbose, total=3, done=0)
        progress.close()
        return type(progress)

    assert made() is Lines  # no terminal
    assert made(quiet=True) is Failures
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert made() is Screen
    assert made(verbose=True) is Lines
    monkeypatch.setenv("TERM", "dumb")
    assert made() is Lines
    monkeypatch.delenv("TERM")
    monkeypatch.setenv("CI", "true")
    assert made() is Lines


# ---------------------------------------------------------------- watchers that leave

SWEEP = """
import sys, time
from reprorun.cli.sweep_progress import make_sweep_progress
from reprorun.workflow.drive import RunEnd

progress = make_sweep_progress(quiet=False, verbose=False, total=6, done=0)
for number in range(6):
    progress.began(f"lr={number}")
    progress.of(f"lr={number}").step("running", "train.py")
    time.sleep(0.2)
    progress.ended(RunEnd(name=f"lr={number}", status="failed", seconds=0.2, reason="boom"))
    if number == 2:
        print("half", flush=True)
        sys.stdin.readline()
progress.close()
print("what others write there", file=sys.stderr, flush=True)
print(type(progress).__name__, "went on", flush=True)
"""


def sweep(stderr: int, **env: str) -> subprocess.Popen[str]:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("CI", "TERM", "NO_COLOR")
    }
    return subprocess.Popen(
        [sys.executable, "-c", SWEEP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**kept, **env},
    )


def ends_well(process: subprocess.Popen[str], leave: Callable[[], None], kind: str) -> None:
    with process:
        assert isinstance(process.stdout, IO) or process.stdout
        assert process.stdout.readline() == "half\n"
        leave()
        assert process.communicate("\n")[0] == f"{kind} went on\n"
    assert process.returncode == 0


def test_a_terminal_that_is_closed_in_the_middle() -> None:
    mine, its = pty.openpty()
    process = sweep(its, TERM="xterm")
    os.close(its)
    ends_well(process, lambda: os.close(mine), "Screen")


def test_a_pipe_that_nobody_reads_any_more() -> None:
    mine, its = os.pipe()
    process = sweep(its)
    os.close(its)
    ends_well(process, lambda: os.close(mine), "Lines")


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color(no_color: str) -> None:
    mine, its = pty.openpty()
    process = sweep(its, TERM="xterm", **({"NO_COLOR": no_color} if no_color else {}))
    os.close(its)
    said = bytearray()

    def read() -> None:
        try:
            while data := os.read(mine, 4096):
                said.extend(data)
        except OSError:
            pass  # the other end is closed

    reader = threading.Thread(target=read)
    reader.start()
    ends_well(process, lambda: time.sleep(0.3), "Screen")
    reader.join()
    os.close(mine)
    assert (b"\x1b[31m" in said) == (not no_color)
    assert b"running, " in said
