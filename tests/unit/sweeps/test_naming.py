"""A point of a sweep -> the name of its record."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.json_text import canonical
from reprorun.sweeps.naming import LONGEST, name_of

ODD_TEXT = st.text(st.sampled_from("ab_=1.-~/\\ \n\0\"'é[],{}"), max_size=5)
SIMPLE = st.none() | st.booleans() | st.integers(-2, 11) | st.sampled_from([1.0, 0.1, 1e-7, 1e16])
VALUES = SIMPLE | ODD_TEXT | SIMPLE.map(canonical) | st.lists(SIMPLE | ODD_TEXT, max_size=2)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({}, "run"),
        ({"seed": 1, "lr": 0.1}, "seed=1_lr=0.1"),
        ({"lr": 0.1, "seed": 1}, "lr=0.1_seed=1"),
        ({"on": True, "x": None, "n": -3, "f": 1e-7}, "on=true_x=null_n=-3_f=1e-07"),
        ({"opt": "adam", "model": "resnet_50-v1.2"}, "opt=adam_model=resnet_50-v1.2"),
        ({"sizes": [64, 64]}, "sizes=[64,64]"),
        ({"größe": "groß", "n": "日本"}, "größe=groß_n=日本"),
        ({"empty": ""}, "empty="),
    ],
)
def test_names(params: dict[str, Any], name: str) -> None:
    assert name_of(params) == name


@pytest.mark.parametrize(
    ("value", "begin"),
    [
        ("1", "1"),
        ("true", "true"),
        ("NaN", "NaN"),
        ("a/b", "ab"),
        ("../..", "...."),
        ("a b", "ab"),
        ("a=b", "ab"),
        ("~", ""),
        ("\x00\x1b[31m\n", "[31m"),
        ("[1]", "[1]"),
        ({"a": 1}, "a1"),
        (["x"], "[x]"),
        ("1" * 5000, None),
    ],
)
def test_odd_values_get_a_hash(value: Any, begin: str | None) -> None:
    name = name_of({"key": value})
    if begin is None:
        assert len(name) == LONGEST
    else:
        assert re.fullmatch(re.escape(f"key={begin}~") + "[0-9a-f]{12}", name)


@pytest.mark.parametrize(
    ("key", "begin"),
    [
        ("opt/lr", "optlr"),
        ("../x", "x"),
        ("", ""),
        ("-é\0\x1b", ""),
        ("~", ""),
        (".", ""),
        ("1", "1"),
    ],
)
def test_what_is_no_name_of_a_parameter_gets_a_hash(key: str, begin: str) -> None:
    name = name_of({key: 1})  # as a `sweep.json` that somebody has written may have it
    assert re.fullmatch(f"{begin}~[0-9a-f]{{12}}=1", name)
    assert name != name_of({key + "/": 1})


def test_values_of_different_types_have_different_names() -> None:
    values = [
        1,
        1.0,
        True,
        "1",
        "1.0",
        "true",
        "True",
        None,
        "null",
        "None",
        [],
        "[]",
        [1],
        "[1]",
        "",
    ]
    assert len({name_of({"a": value}) for value in values}) == len(values)


@given(VALUES, VALUES, VALUES, VALUES, st.booleans())
def test_two_points_have_two_names(a: Any, b: Any, c: Any, d: Any, mixed: bool) -> None:
    one, other = {"x": a, "b_x": b}, {"x": c, "b_x": d}
    same = [canonical(a), canonical(b)] == [canonical(c), canonical(d)]
    assert (name_of(one, mixed=mixed) == name_of(other, mixed=mixed)) == same


def test_underscores_in_mixed_points() -> None:
    one, other = {"a": "x_b", "c": 1}, {"a": "x", "b_c": 1}
    assert name_of(one) == name_of(other) == "a=x_b_c=1"  # which is why there is `mixed`
    assert name_of(one, mixed=True) != name_of(other, mixed=True)
    assert name_of(one, mixed=True).startswith("a=x_b_c=1~")
    assert name_of({}, mixed=True) == "run"


@given(
    st.dictionaries(
        st.text("ab_", min_size=1, max_size=9) | st.just("größe" * 60),
        st.text(max_size=300) | VALUES,
        max_size=40,
    ),
    st.booleans(),
)
def test_every_name_can_be_a_directory(params: dict[str, Any], mixed: bool) -> None:
    name = name_of(params, mixed=mixed)
    assert len(name.encode()) <= LONGEST
    assert name.isprintable()
    assert name[0] not in ".-~"
    assert not set(name) & set("/\0 \"'\\$`*?<>|&;()#!:{}\n")


def test_long_names_are_cut_and_differ(tmp_path: Path) -> None:
    long = {f"parameter_{number}": "é" * 9 for number in range(20)}
    names = {name_of({**long, "last": number}) for number in range(100)}
    assert len(names) == 100
    for name in names:
        assert LONGEST - 2 <= len(name.encode()) <= LONGEST
        assert name.startswith("parameter_0=ééééééééé_parameter_1=")
        os.mkdir(tmp_path / name)
    assert len(name_of({"a": "é" * 120}).encode()) <= LONGEST  # bytes, not characters


def test_a_name_stays() -> None:
    assert name_of({"a": "x y"}) == "a=xy~12effa9e3108"
