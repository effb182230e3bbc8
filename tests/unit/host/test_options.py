"""Values of `-P` and `-e`."""

from __future__ import annotations

from typing import Any

import pytest

from reprorun.cli.options import parse_env, parse_params
from reprorun.errors import UsageError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1", 1),
        ("-0.5", -0.5),
        ("1e-3", 0.001),
        ("true", True),
        ("false", False),
        ("null", None),
        ('"1"', "1"),
        ('"True"', "True"),
        ("[1, 2]", [1, 2]),
        ('{"a": {"b": []}}', {"a": {"b": []}}),
        ("adam", "adam"),
        ("a=b", "a=b"),
        ("", ""),
        (" x", " x"),
        ("1.2.3", "1.2.3"),
        ("$(reboot)", "$(reboot)"),
        ("9" * 30, int("9" * 30)),
    ],
)
def test_params(text: str, wanted: Any) -> None:
    found = parse_params((f"key={text}",))
    assert found == {"key": wanted}
    assert type(found["key"]) is type(wanted)


def test_several_params() -> None:
    assert parse_params(("b=1", "a=2", "b=3")) == {"b": 3, "a": 2}


@pytest.mark.parametrize(
    ("word", "json_word"), [("True", "true"), ("False", "false"), ("None", "null")]
)
def test_words_of_python_are_refused(word: str, json_word: str) -> None:
    with pytest.raises(UsageError, match=f"write {json_word}, or '\"{word}\"' for the text"):
        parse_params((f"key={word}",))


@pytest.mark.parametrize("pair", ["", "key", "=1", "1key=1", "a b=1", "a-b=1", "a\n=1"])
def test_params_without_a_key(pair: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_params((pair,))


@pytest.mark.parametrize("text", ["[1", '{"a"', '"open', "[1] 2", "{a: 1}"])
def test_what_looks_like_json_but_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="looks like JSON, but is none"):
        parse_params((f"key={text}",))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "[NaN]"])
def test_numbers_that_json_does_not_have(text: str) -> None:
    with pytest.raises(UsageError, match="no NaN and no infinity"):
        parse_params((f"key={text}",))


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 100_000])
def test_values_that_are_too_much(text: str) -> None:
    with pytest.raises(UsageError, match="too much") as caught:
        parse_params((f"key={text}",))
    assert len(str(caught.value)) < 200


def test_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HOST", "host's\n")
    entries = ("A=1", "B=", "C=x=y", "FROM_HOST", "_d1=$HOME")
    assert parse_env(entries) == {
        "A": "1",
        "B": "",
        "C": "x=y",
        "FROM_HOST": "host's\n",
        "_d1": "$HOME",
    }


def test_a_variable_that_the_host_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(UsageError, match="-e NOT_THERE: the host has no variable"):
        parse_env(("NOT_THERE",))


@pytest.mark.parametrize("entry", ["=hunter2", "1A=hunter2", "A-TOKEN=hunter2", "A\n=hunter2", ""])
def test_env_without_a_name_does_not_print_the_value(entry: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE") as caught:
        parse_env((entry,))
    assert "hunter2" not in str(caught.value)
