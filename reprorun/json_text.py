"""JSON as people type it: values out of text, and the one text that stands for a value.

And JSON that anybody may have written: no more of it is decoded than memory has room for.
"""

from __future__ import annotations

import json
import re
from typing import Any

from reprorun.errors import UsageError

_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
MOST_VALUES = 5_000_000  # some 900 MB in memory; a record of a million outputs has four million
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # as JSON spells it


def read_value(text: str, where: str) -> Any:
    """A JSON value; text that is no JSON is taken as it stands.

    Args:
        text: what the user typed.
        where: what to call it in errors, such as `-P lr=0.1`.

    Raises:
        UsageError: it looks like JSON and is none, or is one of Python's words where JSON has its
            own.
    """
    if text in _PYTHON_WORDS:
        raise UsageError(
            f"{where}: values are JSON; write {_PYTHON_WORDS[text]}, or '\"{text}\"' for the text."
        )
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        if text.startswith(("[", "{", '"')):
            raise UsageError(f"{where}: this looks like JSON, but is none.") from None
        return text
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        raise _too_much(where) from None
    refuse_nan(value, where)
    return value


def refuse_nan(value: Any, where: str) -> None:
    """Raise UsageError for a number that JSON does not have."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise UsageError(f"{where}: JSON has no NaN and no infinity.") from None
    except RecursionError:
        raise _too_much(where) from None


def _too_much(where: str) -> UsageError:
    return UsageError(f"{where[:63]}...: that is too much of a value.")


def refuse_odd_text(value: Any, where: str) -> None:
    """Raise UsageError for text that could not be handed to a program as an argument."""
    text = json.dumps(value, ensure_ascii=False)
    if _NUL.search(text):
        raise UsageError(f"{where}: a text with a NUL character in it can't be handed over.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{where}: a text in it is not UTF-8, so it can't be kept.") from None


def refuse_too_many(data: bytes, most: int = MOST_VALUES) -> int:
    """Look at JSON before it is decoded: a value of a few bytes takes a hundred in memory.

    Args:
        data: the text.
        most: values that it may hold.

    Returns:
        How many it holds, or more: commas in strings count, too.

    Raises:
        ValueError: they are too many.
    """
    count = 1 + sum(data.count(sign) for sign in (b"[", b"{", b","))
    if count > most:
        raise ValueError(f"it holds more than {most:,} values")
    return count


def canonical(value: Any) -> str:
    """The text of a JSON value that is the same for equal values alone: 1, 1.0 and "1" differ."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
