"""The points of a sweep, and what tells two runs apart."""

from __future__ import annotations

import json
import re
import sys
import time
import tracemalloc
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.errors import UsageError
from reprorun.json_text import canonical
from reprorun.sweeps.points import Points, fill, key, refuse_unfilled
from reprorun.sweeps.values import Axis, PointsSpec, Span

VALUES = st.lists(st.integers(-5, 5), min_size=1, max_size=4, unique=True).map(tuple)
SPANS = st.tuples(st.integers(-9, 9), st.integers(0, 9), st.integers(1, 4)).map(
    lambda given: Span(range=(given[0], given[0] + given[1], given[2]))
)
SEEDS = Span(range=(0, 9, 1))


def numbers(first: int, last: int, step: int = 1) -> Span:
    return Span(range=(first, last, step))


def test_the_order_of_the_whole() -> None:
    spec = PointsSpec(
        listed=({"f": "x"}, {"f": "y"}),
        zipped={"a": (1, 2), "b": (3, 4)},
        grid={"seed": numbers(0, 1), "lr": (0.1, 0.01)},
    )
    wanted = [
        {"f": f, "a": a, "b": b, "seed": seed, "lr": lr}
        for f, (a, b), seed, lr in product("xy", ((1, 3), (2, 4)), (0, 1), (0.1, 0.01))
    ]
    assert list(Points(spec)) == wanted
    assert [list(point) for point in Points(spec)] == [["f", "a", "b", "seed", "lr"]] * 16


@given(
    rows=st.lists(st.dictionaries(st.sampled_from("pq"), st.integers(0, 2)), unique_by=canonical),
    zipped=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), unique=True, max_size=4),
    grid=st.dictionaries(st.sampled_from("abc"), VALUES | SPANS, max_size=3),
    sample=st.none() | st.integers(1, 400),
)
def test_points_are_distinct_and_as_many_as_they_say(
    rows: list[dict[str, int]],
    zipped: list[tuple[int, int]],
    grid: dict[str, Any],
    sample: int | None,
) -> None:
    in_hand: dict[str, Axis] = {"y": tuple(a for a, _ in zipped), "z": tuple(b for _, b in zipped)}
    spec = PointsSpec(
        listed=tuple(rows), zipped=in_hand if zipped else {}, grid=grid, sample=sample
    )
    try:
        points = Points(spec)
    except UsageError:
        if rows or zipped or grid:
            assert (sample or 0) > len(Points(msgspec.structs.replace(spec, sample=None)))
        return
    texts = [canonical(points[number]) for number in range(len(points))]
    assert texts == [canonical(point) for point in points]
    assert len(set(texts)) == len(texts) == len(points)
    if sample is not None:
        assert len(points) == sample


@pytest.mark.parametrize("number", [0, 1, 19])
def test_points_from_the_end(number: int) -> None:
    points = Points(PointsSpec(grid={"seed": SEEDS, "a": (1, 2)}))
    assert points[number - 20] == points[number]


@pytest.mark.parametrize("number", [20, -21])
def test_points_that_are_not_there(number: int) -> None:
    with pytest.raises(IndexError):
        Points(PointsSpec(grid={"seed": SEEDS, "a": (1, 2)}))[number]


def test_a_range_ends_where_its_steps_end() -> None:
    def seeds(*given: int) -> list[int]:
        return [point["s"] for point in Points(PointsSpec(grid={"s": numbers(*given)}))]

    assert seeds(0, 10, 4) == [0, 4, 8]
    assert seeds(0, 8, 4) == [0, 4, 8]
    assert seeds(9, 0, -4) == [9, 5, 1]
    assert seeds(3, 3, -1) == [3]


def test_a_grid_of_billions_costs_nothing() -> None:
    tracemalloc.start()
    began = time.perf_counter()
    axes: dict[str, Axis] = {
        "a": numbers(0, 999_999_999),
        "b": numbers(1, 1_000_000),
        "c": (True, None),
    }
    points = Points(PointsSpec(grid=axes))
    assert len(points) == 2 * 10**15
    assert points[0] == {"a": 0, "b": 1, "c": True}
    assert points[-1] == {"a": 999_999_999, "b": 1_000_000, "c": None}
    assert points[2_000_001] == {"a": 1, "b": 1, "c": None}
    assert len(Points(PointsSpec(grid=axes, sample=3))[2]) == 3
    took, (_, most) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 1
    assert most < 1 << 20


def test_a_sample_is_in_order_and_the_same_again() -> None:
    def sample(seed: int) -> list[int]:
        spec = PointsSpec(grid={"s": numbers(0, 9999)}, sample=50, sample_seed=seed)
        return [point["s"] for point in Points(spec)]

    assert sample(1) == sample(1) == sorted(set(sample(1)))
    assert sample(1) != sample(2)
    assert len(sample(1)) == 50
    assert max(sample(1)) > 5000 > min(sample(1))  # of all, not of the first ones
    assert sample(1)[:3] == [34, 150, 352], "another choice than before: sweeps can't be resumed"


def test_a_sample_of_all() -> None:
    spec = PointsSpec(grid={"s": SEEDS}, sample=10)
    assert list(Points(spec)) == list(Points(PointsSpec(grid={"s": SEEDS})))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (PointsSpec(), "a grid of nothing.*--grid seed=0..9"),
        (PointsSpec(sample=3), "a grid of nothing"),
        (PointsSpec(grid={"a": ()}), "a has no values"),
        (PointsSpec(grid={"a": (1,), "b": numbers(3, 2)}), "b has no values"),
        (PointsSpec(grid={"a": numbers(0, 9, 0)}), "a step of 0"),
        (PointsSpec(grid={"a": SEEDS, "b": (1, 2)}, sample=21), "the sweep has 20 points"),
        (PointsSpec(grid={"a": SEEDS}, sample=0), "from 1"),
        (PointsSpec(grid={"a": SEEDS}, sample=-1), "from 1"),
        (PointsSpec(zipped={"a": (1, 2), "b": SEEDS}), "a has 2 values and b 10"),
        (PointsSpec(grid={"a": numbers(0, sys.maxsize)}), "more than .* points"),
        (PointsSpec(grid=dict.fromkeys("ab", numbers(0, 10**10))), "more than .* points"),
    ],
)
def test_points_that_there_are_not(spec: PointsSpec, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Points(spec)


def test_which_points_are_mixed() -> None:
    def mixed(*rows: dict[str, Any]) -> bool:
        return Points(PointsSpec(listed=rows, grid={"s": (1, 2)})).mixed

    assert not mixed()
    assert not mixed({"a": 1, "b": 2}, {"a": 3, "b": 4})
    assert mixed({"a": 1, "b": 2}, {"a": 3})
    assert mixed({"a": 1, "b": 2}, {"b": 3, "a": 4})  # names are made in the order of the point


def test_a_spec_in_a_file_is_compact_and_the_same_again() -> None:
    spec = PointsSpec(
        listed=({"f": {"range": [0, 1, 1]}},),
        zipped={"a": (1, 2.0)},
        grid={"seed": numbers(0, 999_999_999), "lr": ("1", 1, 1.0, True, {"range": [1, 2, 3]})},
        sample=5,
    )
    text = json.dumps(msgspec.to_builtins(spec))
    assert '"seed": {"range": [0, 999999999, 1]}' in text
    again = msgspec.convert(json.loads(text), PointsSpec)
    assert [canonical(p) for p in Points(again)] == [canonical(p) for p in Points(spec)]
    assert msgspec.json.decode(msgspec.json.encode(spec), type=PointsSpec) == spec


# ---------------------------------------------------------------- what a run is called with


@pytest.mark.parametrize(
    ("args", "filled", "rest"),
    [
        ((), (), {"lr": 0.1, "name": "x y", "sizes": [64, "é"], "on": True, "no": None}),
        (
            ("--lr={lr}",),
            ("--lr=0.1",),
            {"name": "x y", "sizes": [64, "é"], "on": True, "no": None},
        ),
        (("{name}", "{name}{lr}"), ("x y", "x y0.1"), {"sizes": [64, "é"], "on": True, "no": None}),
        (("{sizes}", "{on}{no}{lr}{name}"), ('[64,"é"]', "truenull0.1x y"), {}),
    ],
)
def test_arguments_are_filled(
    args: tuple[str, ...], filled: tuple[str, ...], rest: dict[str, Any]
) -> None:
    params = {"lr": 0.1, "name": "x y", "sizes": [64, "é"], "on": True, "no": None}
    assert fill(args, params) == (filled, rest)


@pytest.mark.parametrize(
    "text", ["{}", "{other}", "{lr", "lr}", "{ lr }", "{lr!r}", "{lr:3}", '{"lr": 1}', "{0}", "$lr"]
)
def test_other_braces_stay(text: str) -> None:
    assert fill((text,), {"lr": 1}) == ((text,), {"lr": 1})


def test_values_are_not_filled_in_turn() -> None:
    params = {"a": "{b}", "b": "{a}", "c": r"\1\g<0>"}
    assert fill(("{a}{c}",), params) == ((r"{b}\1\g<0>",), {"b": "{a}"})
    assert fill(("{a}",), {"a": "{c}", "c": 1}) == (("{c}",), {"c": 1})


def test_filling_leaves_the_point_as_it_is() -> None:
    params = {"a": 1, "b": 2}
    fill(("{a}",), params)
    assert params == {"a": 1, "b": 2}


def test_an_argument_that_some_rows_do_not_fill() -> None:
    spec = PointsSpec(listed=({"a": 1}, {"b": 2}, {"a": 3}), grid={"s": (1, 2)})
    with pytest.raises(UsageError, match=re.escape("holds {a}, but 1 of 3 rows")):
        refuse_unfilled(("--x={a}",), spec)
    refuse_unfilled(("{s}", "{none}", '{"b": 1}'), spec)
    refuse_unfilled(("{a}",), PointsSpec(listed=({"a": 1}, {"a": 3})))


def test_keys_tell_runs_apart() -> None:
    runs: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({}, ()),
        ({"a": 1}, ()),
        ({"a": 1.0}, ()),
        ({"a": True}, ()),
        ({"a": "1"}, ()),
        ({"a": None}, ()),
        ({"a": 1}, ("x",)),
        ({"a": 1}, ("x", "")),
        ({"a": 1}, ("x y",)),
        ({"a": 1}, ("x", "y")),
        ({"a": 1}, ("\udcff",)),
        ({"b": 1}, ()),
    ]
    keys = [key(params, args) for params, args in runs]
    assert len(set(keys)) == len(runs)
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in keys)


def test_keys_stay() -> None:
    assert key({"a": 1, "b": [2]}, ("x",)) == key({"b": [2], "a": 1}, ["x"])
    kept = json.loads(json.dumps({"a": 1e16, "b": -0.0, "c": 10**30, "d": "é", "e": 1e-7}))
    assert key(kept, ()) == key({"a": 1e16, "b": -0.0, "c": 10**30, "d": "é", "e": 1e-7}, ())
    stays = key({"a": 1}, ("x",))
    assert stays == "c072d25489075ad3c76dd0ad532a0e09", (
        "another key than before: no run would be found again"
    )
