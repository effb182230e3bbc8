"""Which of many changes make the difference: as few as possible, and not by chance. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


def minimal(items: Sequence[T], has: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """As few items as still have a property that all of them together have.

    Delta debugging (Zeller and Hildebrandt's ddmin): halves are tried, then quarters and what is
    left without each, until no single item can be left out.

    Args:
        items: that have the property.
        has: whether some of them have it. Asked once about each choice.
    """
    known: dict[tuple[T, ...], bool] = {tuple(items): True, (): False}

    def holds(chosen: tuple[T, ...]) -> bool:
        if chosen not in known:
            known[chosen] = has(chosen)
        return known[chosen]

    found, parts = tuple(items), 2
    while len(found) > 1:
        pieces = _split(found, min(parts, len(found)))
        rests = [_without(found, piece) for piece in pieces] if parts > 2 else []
        smaller = next((choice for choice in (*pieces, *rests) if holds(choice)), None)
        if smaller is not None:
            parts = 2 if smaller in pieces else max(parts - 1, 2)
            found = smaller
        elif parts >= len(found):
            break
        else:
            parts = min(2 * parts, len(found))
    return found


def _split(items: tuple[T, ...], parts: int) -> list[tuple[T, ...]]:
    bounds = [len(items) * n // parts for n in range(parts + 1)]
    return [items[start:end] for start, end in pairwise(bounds)]


def _without(items: tuple[T, ...], piece: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(item for item in items if item not in piece)


def mostly(ask: Callable[[], bool], times: int) -> bool:
    """What is answered more often, asked until that can't change any more.

    Args:
        ask: may answer otherwise each time.
        times: how often at most; odd.
    """
    enough = times // 2 + 1
    answers = {True: 0, False: 0}
    while max(answers.values()) < enough:
        answers[ask()] += 1
    return answers[True] >= enough


def always(ask: Callable[[], bool], times: int) -> bool:
    """Whether it is answered so every time; no more is asked when it is not."""
    return all(ask() for _ in range(times))
