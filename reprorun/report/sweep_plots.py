"""Plots of a metric of finished runs against a parameter: what is drawn, and where. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence

from reprorun.model import Value
from reprorun.printable import printable
from reprorun.report.scales import Categories, Numbers, Tick
from reprorun.report.sweep_columns import Columns, Factor, value_text

WIDTH, HEIGHT = 380, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 26  # margins
_MOST_RUNS = 5000  # that are drawn in one plot
_MOST_LINES = 50  # values of a parameter through whose means a line goes
_MOST_CATEGORIES = 12
_MOST_GROUPS = 6  # which have a color each
_SIDE = 7  # between groups in a category
_BAR = 9  # half a mean's width in a category


class Group(Value, frozen=True, kw_only=True):
    """The runs of one color."""

    number: int
    label: str
    dots: str  # a path of SVG
    means: str  # a path of SVG; empty: there is no line


class Plot(Value, frozen=True, kw_only=True):
    """A plot in the coordinates of a picture of WIDTH x HEIGHT."""

    metric: str
    factor: str
    in_categories: bool  # its values are words, in which means are bars
    by: str  # the parameter that the colors stand for
    alt: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM
    width: float = WIDTH
    height: float = HEIGHT


def can_be_drawn(factor: Factor) -> bool:
    """Whether there is an axis for a parameter."""
    return factor.numbers is not None or len(factor.levels) <= _MOST_CATEGORIES


def make_plot(columns: Columns, metric: str, factor: Factor) -> Plot | None:
    """The plot of a metric against a parameter; None where no run has both."""
    ys = columns.metrics[metric]
    runs = [run for run, y in enumerate(ys) if math.isfinite(y) and factor.places[run] >= 0]
    if not runs:
        return None
    colors = _colors(columns, factor)
    drawing = _Drawing(factor, [ys[run] for run in runs])
    every = math.ceil(len(runs) / _MOST_RUNS)
    return Plot(
        metric=printable(metric),
        factor=printable(factor.name),
        in_categories=isinstance(drawing.x, Categories),
        by=printable(colors.name) if colors else "",
        alt=printable(f"{metric} by {factor.name}, {len(runs)} runs"),
        x_ticks=drawing.x.ticks(),
        y_ticks=drawing.y.ticks(),
        groups=tuple(_groups(runs, ys, factor, colors, every, drawing)),
        notes=tuple(_notes(len(runs), columns.runs, every, drawing)),
    )


def _colors(columns: Columns, factor: Factor) -> Factor | None:
    """The parameter that colors stand for: the first that takes few values, but no seed."""
    for other in columns.varying():
        if other is not factor and not other.is_seed and 1 < len(other.levels) <= _MOST_GROUPS:
            return other
    return None


def _groups(
    runs: Sequence[int],
    ys: array[float],
    factor: Factor,
    colors: Factor | None,
    every: int,
    drawing: _Drawing,
) -> Iterator[Group]:
    order = _by_size(colors) if colors else [0]
    for number, level in enumerate(order):
        own = [run for run in runs if colors is None or colors.places[run] == level]
        side = (number - (len(order) - 1) / 2) * _SIDE
        shown = [run for run in own if run % every == 0]
        if own:
            yield Group(
                number=number,
                label=printable(value_text(colors.levels[level])) if colors else "",
                dots=drawing.dots(((factor.places[run], ys[run]) for run in shown), side),
                means=drawing.means(((factor.places[run], ys[run]) for run in own), side),
            )


def _by_size(factor: Factor) -> Sequence[int]:
    """Its levels: numbers by their size, words as they came."""
    numbers = factor.numbers
    levels = range(len(factor.levels))
    return levels if numbers is None else sorted(levels, key=numbers.__getitem__)


def _notes(drawn: int, runs: int, every: int, drawing: _Drawing) -> Iterator[str]:
    if drawn < runs:
        yield f"{runs - drawn} of {runs} finished runs have no number here"
    if every > 1:
        lines = "; lines are the means of all" if drawing.has_means else ""
        yield f"one in {every} of {drawn} runs is drawn{lines}"


class _Drawing:
    """Both axes, and paths between them."""

    def __init__(self, factor: Factor, ys: Sequence[float]) -> None:
        self.y = Numbers(ys, HEIGHT - _BOTTOM, _TOP)
        self.x: Numbers | Categories
        numbers = factor.numbers
        if numbers is not None:
            self.x = Numbers(numbers, _LEFT, WIDTH - _RIGHT)
            self._values = numbers
        else:
            words = [printable(value_text(level)) for level in factor.levels]
            self.x = Categories(words, _LEFT, WIDTH - _RIGHT)
            self._values = [float(number) for number in range(len(words))]
        self.has_means = len(self._values) <= _MOST_LINES

    def dots(self, points: Iterator[tuple[int, float]], side: float) -> str:
        """Lines of no length with round ends; those that lie on each other once."""
        places = {(self._x(level, side), self.y.place(y)) for level, y in points}
        return "".join(f"M{x:g},{y:g}h0" for x, y in sorted(places))

    def means(self, points: Iterator[tuple[int, float]], side: float) -> str:
        """The means of y at each x: a line through them, or a bar in each category."""
        if not self.has_means:
            return ""
        found: dict[int, list[float]] = {}
        for level, y in points:
            found.setdefault(level, []).append(y)
        places = sorted(
            (self._x(level, side), self.y.place(_mean(ys))) for level, ys in found.items()
        )
        if isinstance(self.x, Categories):
            return "".join(f"M{x - _BAR:g},{y:g}h{2 * _BAR}" for x, y in places)
        return "M" + "L".join(f"{x:g},{y:g}" for x, y in places) if len(places) > 1 else ""

    def _x(self, level: int, side: float) -> float:
        place = self.x.place(self._values[level])
        return place + side if isinstance(self.x, Categories) else place


def _mean(ys: Sequence[float]) -> float:
    return math.fsum(y / len(ys) for y in ys)  # divided first: the sum may be beyond a float
