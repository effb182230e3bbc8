"""Pickles: by value in any protocol, and never loaded."""

from __future__ import annotations

import collections
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compare_zoo import compare, first

PROTOCOLS = range(6)


class Point:
    """Something of a user's."""

    def __init__(self, x: float) -> None:
        self.x = x


def value() -> dict[Any, Any]:
    return {
        "list": [1, 2.5, None, True, 10**30],
        "tuple": ("a", b"b", bytearray(b"\xff")),
        "sets": [{1, 2, 3}, frozenset("ab")],
        3: {"array": np.arange(6.0).reshape(2, 3), "scalar": np.float32(0.5)},
        "point": Point(1.5),
        "ordered": collections.OrderedDict(a=1),
        "complex": 1 + 2j,
        "empty": [(), [], {}, set(), b"", ""],
    }


class Trap:
    """Says when it is loaded."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("it was loaded",)


@pytest.mark.parametrize("one", PROTOCOLS)
@pytest.mark.parametrize("other", PROTOCOLS)
def test_protocols_and_order_of_keys_are_aside(one: int, other: int) -> None:
    reordered = dict(reversed(value().items()))
    reordered[3]["array"] = np.asfortranarray(reordered[3]["array"])
    found = compare("x.pkl", pickle.dumps(value(), one), pickle.dumps(reordered, other))
    assert found.verdict == "equivalent", found


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda v: v["list"].__setitem__(1, 2.75), "list[1]"),
        (lambda v: v["list"].__setitem__(0, 1.0), "list[0]"),
        (lambda v: v["sets"][0].add(9), "sets[0]"),
        (lambda v: v[3]["array"].__setitem__((1, 2), 9), "element [1, 2]"),
        (lambda v: v[3].__setitem__("scalar", np.float32(0.25)), "scalar"),
        (lambda v: setattr(v["point"], "x", 7.5), "point"),
        (lambda v: v["ordered"].__setitem__("a", 2), "ordered"),
        (lambda v: v.__setitem__("complex", 1 + 3j), "complex"),
        (lambda v: v.__setitem__("tuple", ("a", b"c", bytearray(b"\xff"))), "tuple[1]"),
        (lambda v: v.pop("empty"), "empty"),
        (lambda v: v.__setitem__("more", 1), "more"),
    ],
)
def test_a_changed_value_is_found(change: Any, where: str, protocol: int) -> None:
    other = value()
    change(other)
    found = compare("x.pkl", pickle.dumps(value(), protocol), pickle.dumps(other, 4))
    assert found.verdict == "different"
    assert where in first(found)[0]


def test_floats_and_arrays_have_the_tolerance() -> None:
    other = value()
    other["list"][1] += 1e-9
    other[3]["array"] += 1e-9
    one = pickle.dumps(value())
    assert compare("x.pkl", one, pickle.dumps(other)).verdict == "different"
    assert compare("x.pkl", one, pickle.dumps(other), rtol=1e-6, atol=1e-6).verdict == (
        "within tolerance"
    )


def test_numpy_1_and_2_are_alike() -> None:
    array = pickle.dumps(np.arange(3.0), 2)
    old = array.replace(b"numpy._core.", b"numpy.core.")
    assert old != array
    assert compare("x.pkl", array, old).verdict == "equivalent"


@pytest.mark.parametrize("keyed", [False, True])
def test_what_no_set_and_no_dict_can_hold(keyed: bool) -> None:
    """A pickle can say that a bytearray is in one, or is a key."""

    def odd(content: bytes) -> bytes:
        item = b"\x96" + len(content).to_bytes(8, "little") + content
        return (
            b"\x80\x05" + (b"}(" + item + b"K\x01u" if keyed else b"\x8f(" + item + b"\x90") + b"."
        )

    assert compare("x.pkl", odd(b"one"), odd(b"one")).verdict in ("identical", "equal")
    assert compare("x.pkl", odd(b"one"), odd(b"two")).verdict == "different"
    assert compare("x.pkl", odd(b"one") + b"1", odd(b"one") + b"2").verdict == "different"


def test_nothing_is_loaded() -> None:
    one, other = pickle.dumps([Trap(), 1]), pickle.dumps([Trap(), 2])
    assert first(compare("x.pkl", one, other)) == ("[1]", "1", "2")


def test_several_pickles_in_a_file() -> None:
    one = pickle.dumps(1) + pickle.dumps([2])
    assert compare("x.pkl", one, pickle.dumps(1, 2) + pickle.dumps([2], 0)).verdict == "equivalent"
    assert compare("x.pkl", one, pickle.dumps(1) + pickle.dumps([3])).verdict == "different"
    assert first(compare("x.pkl", one, pickle.dumps(1)))[0] == "number of pickles"


def test_a_value_that_holds_itself() -> None:
    loop: list[Any] = [1.0]
    loop.append(loop)
    assert compare("x.pkl", pickle.dumps(loop, 2), pickle.dumps(loop, 4)).verdict == "equivalent"


@pytest.mark.parametrize(
    "bad",
    [
        b"\x80\x04",
        b"\x80\x04.",
        b"(" * 100_000 + b".",
        b"]" + b"\x94" * 10 + b"h\xff.",
        b"\x80\x04" + b"\x8d" + b"\xff" * 8,
        b"I" + b"9" * 10_000 + b"\n.",
        b"cos\nsystem\n(S'true'\n",
        b"nonsense",
    ],
)
def test_a_damaged_pickle_is_decided_by_its_bytes(bad: bytes) -> None:
    found = compare("x.pkl", pickle.dumps([1]), bad)
    assert (found.verdict, found.comparator) == ("different", "bytes")
    assert "so its bytes decide" in found.reason


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    | st.frozensets(st.integers(), max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(VALUE, st.sampled_from(PROTOCOLS), st.sampled_from(PROTOCOLS))
def test_any_value_is_equal_to_itself_in_any_protocol(value: Any, one: int, other: int) -> None:
    found = compare("x.pkl", pickle.dumps(value, one), pickle.dumps(value, other))
    assert found.verdict in ("identical", "equivalent"), found


@settings(max_examples=200)
@given(VALUE, st.data())
def test_damage_anywhere_is_no_crash(value: Any, data: st.DataObject) -> None:
    good = pickle.dumps(value)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]
    assert compare("x.pkl", good, bad).verdict in ("identical", "equivalent", "different")
    assert compare("x.pkl", good, good[:at]).verdict == "different"
