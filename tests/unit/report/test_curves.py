"""Curves: where two series part, thinning, and what is drawn."""

from __future__ import annotations

import math
from array import array

from hypothesis import given
from hypothesis import strategies as st

from reprorun.report.curves import (
    HEIGHT,
    POINTS,
    WIDTH,
    Series,
    draw,
    first_difference,
    make_curve,
    thinned,
)
from reprorun.report.values import Curve

NAN, INF = math.nan, math.inf
NUMBERS = st.floats(width=64)


def series(*ys: float) -> Series:
    return Series(array("d", range(1, len(ys) + 1)), array("d", ys))


def test_the_first_difference() -> None:
    assert first_difference(series(1, 2, 3), series(1, 2, 3)) is None
    assert first_difference(series(1, NAN, 3), series(1, NAN, 4)) == 2
    assert first_difference(series(1, NAN), series(1, 2)) == 1
    assert first_difference(series(1, 2), series(1, 2, 3)) == 2
    assert first_difference(Series([1, 2], [0, 0]), Series([1, 3], [0, 0])) == 1


def test_a_curve_is_of_series_that_differ() -> None:
    assert make_curve("a.csv", "loss", "row", series(1, 2), series(1, 2)) is None
    assert make_curve("a.csv", "loss", "row", series(NAN), series(INF)) is None
    curve = make_curve("a.csv", "loss", "row", series(1, 2, 3), series(1, 5, 3))
    assert curve is not None
    assert (curve.divergence, curve.original, curve.now[1]) == (2, ((1, 1), (2, 2), (3, 3)), (2, 5))
    longer = make_curve("a.csv", "loss", "row", series(1), series(1, 2))
    assert longer is not None
    assert longer.divergence == 2


@given(st.lists(NUMBERS, min_size=1, max_size=5000), st.integers(0, 6000))
def test_thinning_keeps_what_is_seen(ys: list[float], keep: int) -> None:
    points = thinned(series(*ys), keep)
    assert len(points) <= POINTS + 5
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[0][0] == 1
    assert points[-1][0] == len(ys)
    if keep < len(ys):
        assert keep + 1 in [x for x, _ in points]
    known = [y for y in ys if math.isfinite(y)]
    if known:
        kept = [y for _, y in points if math.isfinite(y)]
        assert (min(kept), max(kept)) == (min(known), max(known))


@given(st.lists(NUMBERS, min_size=1, max_size=60), st.lists(NUMBERS, min_size=1, max_size=60))
def test_all_that_is_drawn_is_in_the_picture(one: list[float], other: list[float]) -> None:
    curve = make_curve("a", "b", "row", series(*one), series(*other))
    if curve is None:
        return
    drawing = draw(curve)
    assert 0 <= drawing.divergence <= WIDTH
    for points in (*drawing.original, *drawing.now):
        for point in points.split(" "):
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


def test_the_divergence_is_not_thinned_out() -> None:
    ys = [0.0] * 10_000
    assert 5433 in [x for x, _ in thinned(series(*ys), 5432)]
    assert 5433 not in [x for x, _ in thinned(series(*ys), 0)]


def test_a_gap_is_left_where_there_is_no_number() -> None:
    points = ((1.0, 1.0), (2.0, NAN), (3.0, 2.0), (4.0, 3.0))
    curve = Curve(path="a", name="b", x_name="row", original=points, now=points, divergence=3.0)
    drawing = draw(curve)
    assert [len(run.split(" ")) for run in drawing.original] == [1, 2]
    assert drawing.labels == ("1", "4", "1", "3")
    assert drawing.mark_at_end
