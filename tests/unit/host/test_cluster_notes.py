"""What is said of a cluster while many runs are under way, wherever that is shown."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from reprorun.cli.check_progress import Screen, make_progress
from reprorun.cli.shown import Shown

NOTE = "no node of the cluster is left"


@pytest.mark.parametrize("verbose", [False, True])
def test_a_check_says_it_in_a_line(capsys: pytest.CaptureFixture[str], verbose: bool) -> None:
    make_progress({"quiet": False, "verbose": verbose}, 2).note(f"{NOTE}\x1b[2J")
    assert capsys.readouterr().err == f"note      {NOTE}\\x1b[2J\n"


def test_a_quiet_check_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    make_progress({"quiet": True, "verbose": False}, 2).note(NOTE)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_it_stays_above_the_lines_that_turn() -> None:
    written = io.StringIO()
    screen = Screen(2, Console(file=written, force_terminal=True, width=30, highlight=False))
    screen.of("r1").step("running", "on n1")
    screen.note(f"{NOTE} [b]")
    screen.close()
    assert f"note      {NOTE} [b]" in written.getvalue()


def test_a_sweep_says_it_before_and_after_it_has_begun(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown: Any = Shown(quiet=False, verbose=False)
    shown.note("first")
    shown.begin(2, 0)
    shown.note("then")
    shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in lines] == ["first", "then"]
