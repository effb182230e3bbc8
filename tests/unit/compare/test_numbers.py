"""Numbers are compared exactly, and what is said of the first that differs is right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.compare.numbers import Numbers
from reprorun.compare.values import Tolerance

FLOATS = st.floats(width=64, allow_subnormal=True)
INTEGERS = st.integers(-(2**63), 2**63 - 1)


def numbers(rtol: float = 0, atol: float = 0) -> Numbers:
    return Numbers(Tolerance(rtol=rtol, atol=atol))


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (1.0, 1.0, "equivalent"),
        (0.0, -0.0, "equivalent"),
        (math.nan, math.nan, "equivalent"),
        (math.inf, math.inf, "equivalent"),
        (math.inf, -math.inf, "different"),
        (math.nan, 1.0, "different"),
        (math.inf, 1.0, "different"),
        (1.0, math.nextafter(1.0, 2), "different"),
        (5e-324, 0.0, "different"),
        (2**60, 2**60 + 1, "different"),
        (10**400, 10**400 + 1, "different"),
        (1, 1.0, "different"),
        (True, 1, "different"),
        (True, False, "different"),
        (1j, 1j, "equivalent"),
        (complex(1, math.nan), complex(1, math.nan), "equivalent"),
        (complex(1, math.nan), complex(2, math.nan), "different"),
        (1j, 2j, "different"),
    ],
)
def test_two_numbers_are_equal_or_not(one: complex, other: complex, verdict: str) -> None:
    found = numbers()
    found.number(one, other, "here")
    assert found.verdict == verdict


@pytest.mark.parametrize("huge", [1e308, -1e308, 10**400])
def test_no_difference_is_too_large_to_be_said(huge: float) -> None:
    found = numbers(rtol=0.5)
    found.number(1 if isinstance(huge, int) else 1e-300, huge, "here")
    divergence = found.divergence()
    assert divergence is not None
    assert divergence.relative is not None
    assert math.isfinite(divergence.relative)
    assert len(divergence.now) < 100


def test_a_tolerance_holds_for_integers_of_any_size() -> None:
    assert numbers(rtol=0.5).number(10**400, 14 * 10**399, "") is True
    assert numbers(rtol=0.3).number(10**400, 14 * 10**399, "") is False


def test_an_infinity_is_within_no_tolerance() -> None:
    found = numbers(rtol=1, atol=1e300)
    found.number(math.inf, 1.0, "here")
    assert found.verdict == "different"


def test_tolerance_is_relative_to_the_original_and_absolute() -> None:
    assert numbers(rtol=0.1).number(100.0, 110.0, "") is True
    assert numbers(rtol=0.1).number(100.0, 110.1, "") is False
    assert numbers(atol=2).number(5, 7, "") is True
    assert numbers(atol=2).number(5, 8, "") is False


def test_integers_beyond_the_floats_are_compared_exactly_in_arrays() -> None:
    found = numbers()
    one = np.array([0, 2**63, 2**64 - 1], dtype=np.uint64)
    found.array(one, np.array([0, 2**63 + 1, 2**64 - 1], dtype=np.uint64), lambda i: f"at {i}")
    divergence = found.divergence()
    assert divergence is not None
    assert (divergence.where, found.reason()) == ("at 1", "1 of 3 values differs")


def test_integers_of_two_dtypes_that_one_float_would_be() -> None:
    one, other = np.array([2**60], dtype=np.int64), np.array([2**60 + 1], dtype=np.uint64)
    assert numbers_of(one, other).verdict == "different"


def test_the_distance_of_integers_does_not_overflow() -> None:
    low, high = np.array([-(2**63)]), np.array([2**63 - 1])
    assert numbers_of(low, high, atol=2.0**62).verdict == "different"
    assert numbers_of(low, high, atol=2.0**65).verdict == "within tolerance"


def numbers_of(one: object, other: object, **tolerance: float) -> Numbers:
    found = numbers(**tolerance)
    found.array(one, other, lambda index: f"at {index}")
    return found


def test_growth_is_over_what_differs_from_the_first_on() -> None:
    found = numbers_of(np.array([1.0, 1.0, 2.0, 4.0]), np.array([1.0, 1.1, 2.4, 4.0]))
    divergence = found.divergence()
    assert divergence is not None
    assert divergence.where == "at 1"
    growth = divergence.growth
    assert growth is not None
    assert (growth.count, growth.of, growth.last) == (2, 4, 0.0)
    assert growth.first == pytest.approx(0.1)
    assert growth.most == pytest.approx(0.2)
    assert growth.mean == pytest.approx(0.15)


def test_what_is_beyond_tolerance_comes_before_what_is_within() -> None:
    found = numbers_of(np.array([1.0, 1.0, 1.0]), np.array([1.01, 2.0, 1.0]), rtol=0.1)
    divergence = found.divergence()
    assert divergence is not None
    assert (divergence.where, found.reason()) == ("at 1", "1 of 3 values differs")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16", "i1", "u1", "i8", ">f4", "U3"])
def test_arrays_of_any_dtype(dtype: str) -> None:
    one = np.zeros(300_000, dtype=dtype)
    other = one.copy()
    assert numbers_of(one, other).verdict == "equivalent"
    other[270_000] = 1
    divergence = numbers_of(one, other).divergence()
    assert divergence is not None
    assert divergence.where == "at 270000"


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1), st.sampled_from([0.0, 1e-3]))
def test_arrays_and_single_floats_are_judged_alike(
    pairs: list[tuple[float, float]], rtol: float
) -> None:
    one, other = (list(side) for side in zip(*pairs, strict=True))
    assert_alike(one, other, np.float64, rtol)


@given(st.lists(st.tuples(INTEGERS, INTEGERS), min_size=1), st.sampled_from([0.0, 1e-3]))
def test_arrays_and_single_integers_are_judged_alike(
    pairs: list[tuple[int, int]], rtol: float
) -> None:
    one, other = (list(side) for side in zip(*pairs, strict=True))
    assert_alike(one, other, np.int64, rtol)


def assert_alike(one: list[float], other: list[float], dtype: type, rtol: float) -> None:
    fast = numbers_of(np.array(one, dtype=dtype), np.array(other, dtype=dtype), rtol=rtol)
    slow = numbers_of(one, other, rtol=rtol)
    assert (fast.verdict, fast.place, fast.reason()) == (slow.verdict, slow.place, slow.reason())
    ours, theirs = fast.divergence(), slow.divergence()
    if ours is not None and theirs is not None and theirs.relative is not None:
        assert ours.relative == pytest.approx(theirs.relative, rel=1e-6)


@given(st.lists(FLOATS, min_size=1), st.data())
def test_one_changed_value_is_found_and_located(values: list[float], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(values) - 1))
    changed = [*values]
    changed[at] = 1.0 if math.isnan(values[at]) or math.isinf(values[at]) else math.nextafter(
        values[at], math.inf
    )  # fmt: skip
    divergence = numbers_of(np.array(values), np.array(changed)).divergence()
    if changed[at] == values[at]:
        return
    assert divergence is not None
    assert divergence.where == f"at {at}"
