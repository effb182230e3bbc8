"""npy files: by element, whatever their layout; damaged ones are decided by their bytes."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy_format

from reprorun.compare import npy as npy_module
from tests.compare_zoo import compare, first

DTYPES = ["f2", "f4", "f8", "c8", "c16", "i1", "i8", "u2", "u8", "?", "S4", "U4", "M8[s]", "V3"]


def saved(array: Any, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    npy_format.write_array(file, np.asanyarray(array), version=version)
    return file.getvalue()


def sample(dtype: str, shape: tuple[int, ...] = (4, 3)) -> Any:
    raw = np.arange(int(np.prod(shape))) % 100
    if dtype[0] in "SUV":
        return raw.astype(f"S{dtype[1:]}").astype(dtype).reshape(shape)
    return raw.astype(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layout_and_version_are_aside_and_a_changed_element_is_found(dtype: str) -> None:
    array = sample(dtype)
    other = array.copy()
    assert compare("x.npy", saved(array), saved(other, (2, 0))).verdict == "equivalent"
    assert compare("x.npy", saved(array), saved(np.asfortranarray(other))).verdict == "equivalent"
    other[2, 1] = sample(dtype)[0, 0] if dtype != "?" else not other[2, 1]
    for changed in (other, np.asfortranarray(other)):
        found = compare("x.npy", saved(array), saved(changed))
        assert (found.verdict, first(found)[0]) == ("different", "element [2, 1]")
        found = compare("x.npy", saved(np.asfortranarray(array)), saved(changed))
        assert first(found)[0] == "element [2, 1]"


def test_byte_order_is_aside() -> None:
    array = np.linspace(0, 1, 12)
    assert compare("x.npy", saved(array), saved(array.astype(">f8"))).verdict == "equivalent"


def test_dtype_and_shape_are_differences_of_their_own() -> None:
    array = np.ones((3, 4))
    assert first(compare("x.npy", saved(array), saved(array.astype("f4")))) == (
        "dtype", "float64", "float32",
    )  # fmt: skip
    assert first(compare("x.npy", saved(array), saved(array.astype("i8"))))[0] == "dtype"
    assert first(compare("x.npy", saved(array), saved(array.T))) == ("shape", "[3, 4]", "[4, 3]")


def test_within_tolerance_and_nan() -> None:
    array = np.array([1.0, np.nan, np.inf])
    near = saved(array + np.array([1e-9, 0, 0]))
    assert compare("x.npy", saved(array), near).verdict == "different"
    assert compare("x.npy", saved(array), near, rtol=1e-6).verdict == "within tolerance"


def test_fields_of_structured_arrays() -> None:
    dtype = [("i", "i4"), ("p", [("x", "f8"), ("v", "f4", (2,))]), ("s", "U3")]
    array = np.zeros(5, dtype=dtype)
    other = array.copy()
    assert compare("x.npy", saved(array), saved(other, (2, 0))).verdict == "equivalent"
    other["p"]["v"][3, 1] = 7
    assert first(compare("x.npy", saved(array), saved(other)))[0] == "element [3], field p.v [1]"


def test_objects_are_compared_as_the_pickle_that_they_are() -> None:
    one, other = (np.array([1, text, {"a": 2.0}], dtype=object) for text in ("x", "y"))
    assert first(compare("x.npy", saved(one), saved(other)))[1:] == ("x", "y")


def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy_module, "PIECE", 64)
    array = np.arange(1000.0).reshape(10, 100)
    other = array.copy()
    other[7, 31] = 0.5
    assert first(compare("x.npy", saved(array), saved(other)))[0] == "element [7, 31]"


def test_an_order_that_would_need_too_much_memory_is_no_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(npy_module, "GATHERED", 64)
    array = np.arange(100.0).reshape(10, 10)
    found = compare("x.npy", saved(array), saved(np.asfortranarray(array)))
    assert found.verdict == "unknown"


def test_without_numpy_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    one, other = (b"\x93NUMPY\x01\x00" + bytes(each) for each in (9, 10))
    found = compare("x.npy", one, other)
    assert found.verdict == "unknown"
    assert "reprorun[compare]" in found.reason


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,), }",
        "{'descr': '<f8', 'fortran_order': 1, 'shape': (1,), }",
        "{'descr': '<f99', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': 'O,O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '<f8'), ('a', '<f8')], 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', ('<f8', (99999999, 99999999)))], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': 'V999999999', 'fortran_order': False, 'shape': (9,), }",
        "{'descr': '<f8'}",
        "[1]",
        "(" * 9000,
        "{" + "'a':{" * 3000,
        "1" * 60000,
        "",
    ],
)
def test_a_hostile_header_is_decided_by_its_bytes(header: str) -> None:
    text = header.encode()
    bad = b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + bytes(8)
    for one, other in ((bad, saved(np.ones(1))), (saved(np.ones(1)), bad), (bad, bad + b"1")):
        found = compare("x.npy", one, other)
        assert (found.verdict, found.comparator) == ("different", "bytes")
        assert "npy" in found.reason


def test_a_version_that_there_is_not() -> None:
    good = saved(np.ones(3))
    found = compare("x.npy", good, good[:7] + b"\1" + good[8:])
    assert (found.verdict, found.comparator) == ("different", "bytes")


@given(st.data())
def test_damage_anywhere_is_no_crash_and_no_pass(data: st.DataObject) -> None:
    good = saved(np.arange(6.0).reshape(2, 3))
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]
    found = compare("x.npy", good, bad)
    if found.verdict not in ("identical", "different"):
        # in the header's padding, or in a letter that means the same
        assert found.verdict == "equivalent"
        assert np.array_equal(np.load(io.BytesIO(good)), np.load(io.BytesIO(bad)))
    assert compare("x.npy", good, good[:at]).verdict == "different"
