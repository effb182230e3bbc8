"""JSON and JSON lines: by value and place; what can't be read is not passed."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compare_zoo import compare, first

DOCUMENT = {"a": [1, 2, {"loss": 0.5}], "b": {"c": None, "d": "x"}, "e e": True}


def changed(**changes: Any) -> dict[str, Any]:
    return {**DOCUMENT, **changes}


def test_order_of_keys_and_white_space_are_aside() -> None:
    other = dict(reversed(DOCUMENT.items()))
    found = compare("m.json", json.dumps(DOCUMENT), json.dumps(other, indent=3))
    assert found.verdict == "equivalent"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (changed(a=[1, 2, {"loss": 0.25}]), ("$.a[2].loss", "0.5", "0.25")),
        (changed(a=[1, 2]), ("length of $.a", "3", "2")),
        (changed(a=[1, 2.0, {"loss": 0.5}]), ("$.a[1]", "2 (integer)", "2.0 (float)")),
        (changed(b={"c": None}), ("$.b.d", "x (str)", "missing")),
        (changed(b={"c": None, "d": "x", "z": 1}), ("$.b.z", "missing", "1 (integer)")),
        (changed(b={"c": None, "d": "y"}), ("$.b.d", "x", "y")),
        (changed(b=[]), ("$.b", "an object of 2", "a list of 0")),
        (changed(**{"e e": 1}), ("$['e e']", "True (bool)", "1 (integer)")),
        (changed(**{"e e": None}), ("$['e e']", "True (bool)", "null")),
    ],
)
def test_the_first_value_that_differs_is_named(other: Any, expected: tuple[str, ...]) -> None:
    found = compare("m.json", json.dumps(DOCUMENT), json.dumps(other))
    assert found.verdict == "different"
    assert first(found) == expected


def test_numbers_have_the_tolerance_of_the_file_or_the_key() -> None:
    one, other = '{"loss": 0.5, "n": [1.0]}', '{"loss": 0.5001, "n": [1.0001]}'
    assert compare("m.json", one, other).verdict == "different"
    assert compare("m.json", one, other, rtol=1e-3).verdict == "within tolerance"


def test_nan_and_infinity_are_compared_as_python_writes_them() -> None:
    one = json.dumps([math.nan, math.inf, 1])
    assert compare("m.json", one, one.replace(" ", "")).verdict == "equivalent"
    assert first(compare("m.json", one, json.dumps([math.nan, -math.inf, 1])))[0] == "$[1]"


def test_times_are_volatile_by_their_names_and_forms() -> None:
    one = {"time": 1.5, "elapsed": 3, "at": "2024-01-02T03:04:05", "x": {"timestamp": 1700000000}}
    other = {"time": 1.6, "elapsed": 4, "at": "2024-01-02T03:04:06", "x": {"timestamp": 1700000001}}
    found = compare("m.json", json.dumps(one), json.dumps(other))
    assert found.verdict == "equivalent"
    assert sum(entry.count for entry in found.volatile) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"time": 3}, {"time": 4}),
        ({"loss": 1.5}, {"loss": 1.6}),
        ({"version": "1.10"}, {"version": "1.1"}),
        ({"time": "1"}, {"time": "2"}),
        ({"elapsed": 3}, {"elapsed": None}),
    ],
)
def test_results_are_not(one: Any, other: Any) -> None:
    assert compare("m.json", json.dumps(one), json.dumps(other)).verdict == "different"


def test_keys_that_come_twice_are_all_compared() -> None:
    found = compare("m.json", '{"a": 1, "a": 2}', '{"a": 3, "a": 2}')
    assert first(found) == ("$.a", "1", "3")
    assert compare("m.json", '{"a": 1, "a": 2}', '{"a": 1}').verdict == "different"


@pytest.mark.parametrize("depth", [2000, 200_000])
def test_deep_nesting_is_no_crash_and_no_pass(depth: int) -> None:
    found = compare("m.json", "[" * depth + "]" * depth, "[" * depth + "1" + "]" * depth)
    assert found.verdict == "different"


@pytest.mark.parametrize("text", ['{"a": 1', "", "nope", '{"a": 1} x', "\ufeff"])
def test_what_is_no_json_is_compared_as_text_and_said(text: str) -> None:
    found = compare("m.json", text, '{"a": 2}')
    assert (found.verdict, found.comparator) == ("different", "text")
    assert any("not JSON" in note for note in found.notes)


def test_numbers_beyond_the_floats_are_not_equal() -> None:
    assert compare("m.json", "[1e999]", "[2e999]").verdict == "different"
    assert compare("m.json", "[1e-999]", "[0.0]").verdict == "different"


def test_a_number_of_too_many_digits_is_no_crash() -> None:
    assert compare("m.json", "1" * 9999, "1" * 9998 + "2").verdict == "different"


def test_a_document_that_is_too_large_is_not_held_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reprorun.compare.json_values.LARGEST", 10)
    found = compare("m.json", json.dumps(DOCUMENT), json.dumps(changed(b=1)))
    assert (found.verdict, found.comparator) == ("different", "text")


def test_json_lines() -> None:
    lines = [json.dumps({"step": step, "loss": 1 / (step + 1)}) for step in range(5)]
    one = "\n".join(lines) + "\n"
    reordered = "\n".join(json.dumps(dict(reversed(json.loads(each).items()))) for each in lines)
    assert compare("m.jsonl", one, reordered).verdict == "equivalent"
    worse = one.replace("0.25", "0.26")
    assert first(compare("m.jsonl", one, worse)) == ("line 4, $.loss", "0.25", "0.26")
    shorter = "\n".join(lines[:3]) + "\n"
    assert first(compare("m.jsonl", one, shorter))[0] == "line 4"
    assert first(compare("m.jsonl", shorter, one))[0] == "line 4"


def test_a_line_that_was_cut_is_a_difference_at_that_line() -> None:
    assert first(compare("m.jsonl", '{"a": 1}\n{"a": 2}\n', '{"a": 1}\n{"a"'))[0] == "line 2"


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), VALUE, min_size=1, max_size=5), st.data())
def test_written_otherwise_it_is_equal_and_any_changed_value_is_found(
    document: dict[str, Any], data: st.DataObject
) -> None:
    one = json.dumps(document)
    shuffled = {key: document[key] for key in data.draw(st.permutations(sorted(document)))}
    other = json.dumps(shuffled, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert compare("m.json", one, json.dumps(shuffled, indent=1)).verdict in (
        "equivalent",
        "identical",
    )
    assert other
    key = data.draw(st.sampled_from(sorted(document)))
    worse = {**document, key: {"something": "else"}}
    if worse[key] != document[key]:
        assert compare("m.json", one, json.dumps(worse)).verdict == "different"
