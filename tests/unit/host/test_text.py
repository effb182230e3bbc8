"""Text for people: nothing in it that a terminal would obey."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.cli.text import duration, printable, printable_lines, say_error, size
from reprorun.errors import UsageError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain text", "plain text"),
        ("schön 漢字 🙂", "schön 漢字 🙂"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\nb\r\tc\0", "a\\nb\\r\\tc\\x00"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028", "\\u2028"),
        ("\udcff", "\\udcff"),
    ],
)
def test_printable(text: str, wanted: str) -> None:
    assert printable(text) == wanted


@given(st.text())
def test_what_is_printable_can_be_printed(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode() or not text
    assert all(line.isprintable() for line in printable_lines(text).split("\n"))


def test_lines_stay_lines() -> None:
    assert printable_lines("a\nb\tc\n\x1b[1m") == "a\nb       c\n\\x1b[1m"


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (0, "0 B"),
        (-5, "-5 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 29, "1.5 GiB"),
        (1 << 40, "1.0 TiB"),
        (1 << 52, "4096.0 TiB"),
        (1 << 2000, f"{1 << 1960} TiB"),
    ],
)
def test_size(number: int, wanted: str) -> None:
    assert size(number) == wanted


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (0, "0.0 s"),
        (3.21, "3.2 s"),
        (60, "1 min 00 s"),
        (61.6, "1 min 02 s"),
        (3599.6, "1 h 00 min"),
        (3720, "1 h 02 min"),
        (360000, "100 h 00 min"),
        (float("inf"), "inf s"),
        (float("nan"), "nan s"),
    ],
)
def test_duration(seconds: float, wanted: str) -> None:
    assert duration(seconds) == wanted


def test_an_error_without_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    say_error(UsageError("no \x1b[31mfile\nTry another."), verbose=False)
    assert capsys.readouterr().err == "reprorun: error: no \\x1b[31mfile\nTry another.\n"


def test_an_error_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise UsageError("no file")
    except UsageError as error:
        say_error(error, verbose=True)
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith("reprorun: error: no file\n")
