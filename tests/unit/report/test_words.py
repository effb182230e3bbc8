"""What a check found in words."""

from __future__ import annotations

from msgspec.structs import replace

from reprorun.compare.values import Growth
from reprorun.printable import printable
from reprorun.report.words import (
    blamed,
    count_words,
    first_difference,
    growth_words,
    headline,
    is_same,
)

from . import results
from .results import named, repeat, result


def test_what_is_the_same() -> None:
    assert [is_same(each) for each in results.ALL] == [True, False, False, False, False]
    assert not is_same(result(repeat(named("a", "unknown"))))


def test_the_first_difference_is_one_that_decides() -> None:
    same = repeat(named("a", "identical"))
    differs = repeat(named("a", "within tolerance"), named("b", "extra"), named("c"))
    found = first_difference(result(same, differs))
    assert found is not None
    assert found.path == "c"
    assert first_difference(result(same)) is None


def test_headlines() -> None:
    assert headline(results.DIFFERS) == (
        "metrics.csv different: first at row 3, column loss: 0.5, now 0.25 (relative error 0.5)"
    )
    assert headline(results.FAILED) == "no image x"
    assert headline(results.HOSTILE).isprintable()


def test_growth_is_told_where_there_is_one() -> None:
    growth = Growth(first=0.1, mean=0.2, most=0.3, last=0.25, count=5, of=9)
    assert growth_words(growth) == (
        "relative error from there: mean 0.2, at most 0.3, at the end 0.25; 5 of 9 values differ"
    )
    assert growth_words(replace(growth, count=1)) == ""


def test_blame() -> None:
    answer = "differs: metrics.csv from row 3, column loss on, because of: thread count (1 -> 2)"
    assert blamed(results.BLAMED)[0] == headline(results.BLAMED) == answer
    assert "remedy: Use --numerics portable." in blamed(results.BLAMED)
    assert blamed(results.DIFFERS) == ()


def test_counts() -> None:
    assert count_words(results.ALL[:3]) == "3 records: 1 different, 1 equivalent, 1 error"
    assert count_words((results.SAME,)) == "1 record: 1 equivalent"


def test_visible_text_is_one_line_that_can_be_encoded() -> None:
    shown = printable(results.EVIL)
    assert shown.isprintable()
    assert shown.encode()
    assert "\\x1b[31m\\x00\\u202e\\udcff %0A\\n" in shown
