"""The axes of a plot: values to places, and where its ticks are. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from reprorun.model import Value

_DECADES = 2  # numbers that span so many are drawn by their logarithms
_TICKS = 5
_FEW = 6  # values, which have a tick each
_APART = 38  # between ticks, at least
_EDGE = 10  # between the frame and the outermost values
_LETTER = 7.5  # width


class Tick(Value, frozen=True, kw_only=True):
    """A mark on an axis."""

    place: float
    text: str


class Numbers:
    """Numbers on an axis, by their logarithms where they span decades.

    Args:
        values: all of them; finite, at least one.
        start, end: where the axis begins and ends.
    """

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._values = values
        low, high = min(values), max(values)
        self.logs = low > 0 and math.log10(high) - math.log10(low) >= _DECADES - 1e-9
        self._low, self._high = self._scaled(low), self._scaled(high)
        edge = math.copysign(_EDGE, end - start)
        self._start, self._end = start + edge, end - edge

    def place(self, value: float) -> float:
        """Where a value is."""
        span = self._high / 2 - self._low / 2  # halves: the whole may be beyond a float
        share = (self._scaled(value) / 2 - self._low / 2) / span if span else 0.5
        return round(self._start + share * (self._end - self._start), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """A few round numbers, or the values themselves where they are few."""
        values = sorted(set(self._values))
        if len(values) > _FEW or not self._far_apart(values):
            values = list(self._decades() if self.logs else self._round())
        if not values:
            values = [min(self._values), max(self._values)]
        texts = _texts(values)
        return tuple(
            Tick(place=self.place(value), text=text)
            for value, text in zip(values, texts, strict=True)
        )

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logs else value

    def _far_apart(self, values: Sequence[float]) -> bool:
        places = sorted(map(self.place, values))
        return all(b - a >= _APART for a, b in pairwise(places))

    def _decades(self) -> Iterator[float]:
        first, last = math.ceil(self._low - 1e-9), math.floor(self._high + 1e-9)
        for power in range(first, last + 1, max(1, math.ceil((last - first) / _TICKS))):
            yield 10.0**power

    def _round(self) -> Iterator[float]:
        rough = (self._high - self._low) / _TICKS
        if not (rough > 0 and math.isfinite(rough)):
            return
        size = 10.0 ** math.floor(math.log10(rough))
        step = next((size * n for n in (1, 2, 2.5, 5) if size * n >= rough), size * 10)
        if not step:
            return  # a span of the smallest floats
        first = math.ceil(self._low / step)
        for number in range(first, first + 2 * _TICKS):
            if self._low <= number * step <= self._high:
                yield number * step


class Categories:
    """Words on an axis, in order.

    Args:
        words: one for each category.
        start, end: where the axis begins and ends.
    """

    def __init__(self, words: Sequence[str], start: float, end: float) -> None:
        self._words = words
        self._start = start
        self.room = (end - start) / len(words)  # of each

    def place(self, number: float) -> float:
        """Where the category of that number is."""
        return round(self._start + (number + 0.5) * self.room, 1)

    def ticks(self) -> tuple[Tick, ...]:
        """One for each, cut to its room."""
        letters = max(2, int(self.room / _LETTER))
        return tuple(
            Tick(place=self.place(number), text=_cut(word, letters))
            for number, word in enumerate(self._words)
        )


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _texts(values: Sequence[float]) -> list[str]:
    """Numbers as short as they can be told apart."""
    for digits in range(3, 18):
        texts = [f"{value + 0.0:.{digits}g}" for value in values]
        if len(set(texts)) == len(texts):
            return texts
    return texts
