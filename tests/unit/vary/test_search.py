"""Finding the fewest changes that make a difference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.vary.search import always, minimal, mostly

ITEMS = tuple(range(14))


@given(st.sets(st.sampled_from(ITEMS), min_size=1))
def test_exactly_what_is_needed_is_found(needed: set[int]) -> None:
    assert set(minimal(ITEMS, lambda chosen: needed <= set(chosen))) == needed


@given(st.sets(st.sampled_from(ITEMS), min_size=1), st.integers(1, 14))
def test_each_of_several_would_do(enough: set[int], size: int) -> None:
    found = minimal(ITEMS[:size], lambda chosen: bool(enough & set(chosen)) or len(chosen) == size)
    assert len(found) == 1 or not enough & set(ITEMS[:size])


@given(st.sets(st.frozensets(st.sampled_from(ITEMS), min_size=1, max_size=4), max_size=4))
def test_nothing_can_be_left_out_of_what_is_found(choices: set[frozenset[int]]) -> None:
    def has(chosen: tuple[int, ...]) -> bool:  # also where more is not always enough
        return set(chosen) == set(ITEMS) or frozenset(chosen) in choices

    found = minimal(ITEMS, has)
    assert has(found)
    for item in found if len(found) > 1 else ():
        assert not has(tuple(other for other in found if other != item))


@pytest.mark.parametrize("needed", ITEMS)
def test_one_cause_takes_few_questions(needed: int) -> None:
    asked: list[tuple[int, ...]] = []

    def has(chosen: tuple[int, ...]) -> bool:
        asked.append(chosen)
        return needed in chosen

    assert minimal(ITEMS, has) == (needed,)
    assert len(asked) <= 8
    assert len(set(asked)) == len(asked)


def test_one_item_is_not_asked_about() -> None:
    assert minimal((1,), lambda _: pytest.fail("asked")) == (1,)


@pytest.mark.parametrize(
    ("answers", "result", "asked"),
    [("yy", True, 2), ("nn", False, 2), ("yny", True, 3), ("nyn", False, 3)],
)
def test_the_majority_decides(answers: str, result: bool, asked: int) -> None:
    given, seen = _answers(answers), []
    assert mostly(lambda: seen.append(0) or next(given), 3) is result
    assert len(seen) == asked


def test_always_stops_at_the_first_no() -> None:
    given = _answers("yn")
    assert always(lambda: next(given), 5) is False
    assert always(lambda: True, 5) is True


def _answers(text: str) -> Iterator[bool]:
    return (letter == "y" for letter in text)
