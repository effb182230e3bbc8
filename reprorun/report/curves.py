"""Two series of numbers as curves of some hundred points, and where these are in a drawing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reprorun.model import Value
from reprorun.report.values import Curve, Point

POINTS = 400  # of one curve
WIDTH, HEIGHT = 440, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 12, 26, 28  # margins


class Series(NamedTuple):
    """Numbers, and where each is."""

    xs: Sequence[float]
    ys: Sequence[float]


class Drawing(Value, frozen=True, kw_only=True):
    """A curve in the coordinates of a picture of WIDTH x HEIGHT."""

    original: tuple[str, ...]  # points of each unbroken stretch, as SVG has them
    now: tuple[str, ...]
    divergence: float  # x of the mark
    mark_at_end: bool  # its label has its room to the left
    top: float
    bottom: float
    left: float
    right: float
    labels: tuple[str, str, str, str]  # lowest x, highest x, lowest y, highest y


def first_difference(one: Series, other: Series) -> int | None:
    """The first place where two series differ; NaN equals NaN. None: they don't."""
    for index, (a, b) in enumerate(zip(one.ys, other.ys, strict=False)):
        if one.xs[index] != other.xs[index] or not (a == b or (a != a and b != b)):
            return index
    shorter, longer = sorted((len(one.ys), len(other.ys)))
    return None if shorter == longer else shorter


def make_curve(path: str, name: str, x_name: str, one: Series, other: Series) -> Curve | None:
    """A curve of two series; None where they are equal or have nothing that could be drawn."""
    index = first_difference(one, other)
    if index is None or not any(map(math.isfinite, (*one.ys, *other.ys))):
        return None
    longer = one if len(one.xs) > index else other
    return Curve(
        path=path,
        name=name,
        x_name=x_name,
        original=thinned(one, index),
        now=thinned(other, index),
        divergence=longer.xs[index],
    )


def thinned(series: Series, keep: int) -> tuple[Point, ...]:
    """At most `POINTS` points, or few more: of each stretch the lowest, the highest and the ends.

    Args:
        series: the whole.
        keep: the index of a point that stays.
    """
    count = len(series.ys)
    if count <= POINTS:
        return tuple(zip(series.xs, series.ys, strict=True))
    stretch = math.ceil(count / (POINTS // 4))
    chosen = {keep} if keep < count else set()
    for start in range(0, count, stretch):
        chosen.update(_extremes(series.ys, range(start, min(start + stretch, count))))
    return tuple((series.xs[index], series.ys[index]) for index in sorted(chosen))


def _extremes(ys: Sequence[float], places: range) -> set[int]:
    known = [index for index in places if math.isfinite(ys[index])] or [places[0]]
    return {
        *(places[0], places[-1]),
        *(min(known, key=ys.__getitem__), max(known, key=ys.__getitem__)),
    }


# ---------------------------------------------------------------- geometry


def draw(curve: Curve) -> Drawing:
    """Where everything of a curve is in its picture."""
    points = [*curve.original, *curve.now]
    x_axis = _Axis([x for x, _ in points], _LEFT, WIDTH - _RIGHT)
    y_axis = _Axis([y for _, y in points], HEIGHT - _BOTTOM, _TOP)
    mark = x_axis.place(curve.divergence)
    return Drawing(
        original=tuple(_stretches(curve.original, x_axis, y_axis)),
        now=tuple(_stretches(curve.now, x_axis, y_axis)),
        divergence=mark,
        mark_at_end=mark > WIDTH / 2,
        top=_TOP,
        bottom=HEIGHT - _BOTTOM,
        left=_LEFT,
        right=WIDTH - _RIGHT,
        labels=(*x_axis.labels, *y_axis.labels),
    )


class _Axis:
    """Maps values to places in the picture; numbers beyond a float's half range, too."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        known = [value for value in values if math.isfinite(value)] or [0.0]
        self._low, self._high = min(known), max(known)
        self._start, self._end = start, end

    @property
    def labels(self) -> tuple[str, str]:
        return f"{self._low:.4g}", f"{self._high:.4g}"

    def place(self, value: float) -> float:
        span = self._high / 2 - self._low / 2
        share = (value / 2 - self._low / 2) / span if span and math.isfinite(value) else 0.5
        return round(self._start + share * (self._end - self._start), 1)


def _stretches(points: Sequence[Point], x_axis: _Axis, y_axis: _Axis) -> Iterator[str]:
    """Unbroken runs of points that can be drawn."""
    run: list[str] = []
    for x, y in points:
        if math.isfinite(y) and math.isfinite(x):
            run.append(f"{x_axis.place(x)},{y_axis.place(y)}")
        elif run:
            yield " ".join(run)
            run = []
    if run:
        yield " ".join(run)
