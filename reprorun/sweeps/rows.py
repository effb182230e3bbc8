"""`--from-file`: the parameters of runs as JSON objects, one a line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

from reprorun.errors import UsageError
from reprorun.json_text import canonical, refuse_nan, refuse_odd_text
from reprorun.sweeps.values import Params


def read_rows(path: str) -> tuple[tuple[Params, ...], tuple[str, ...]]:
    """The rows of a file, each once, and what the user should know.

    Args:
        path: of the file. Blank lines count for nothing.

    Raises:
        UsageError: it can't be read, holds no row, or a line is no JSON object of parameters; the
            message names the line.
    """
    first_lines: dict[str, int] = {}
    rows, again = [], []
    for number, row in _numbered_rows(path):
        text = canonical(row)
        if text in first_lines:
            again.append((number, first_lines[text]))
        else:
            first_lines[text] = number
            rows.append(row)
    if not rows:
        raise UsageError(f'--from-file {path} holds no row. Write a JSON object a line: {{"a": 1}}')
    return tuple(rows), tuple(_notes(path, again))


def _numbered_rows(path: str) -> Iterator[tuple[int, Params]]:
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if line.strip():
                    yield number, _row(line, f"--from-file {path}, line {number}")
    except OSError as error:
        raise UsageError(f"--from-file {path} can't be read: {error.strerror}.") from error


def _row(line: bytes, where: str) -> Params:
    try:
        row = json.loads(line.decode(), object_pairs_hook=_object)
    except UnicodeDecodeError:
        raise UsageError(f"{where} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise UsageError(
            f'{where} is no JSON object: {error.msg}. Write one a line: {{"a": 1}}'
        ) from None
    except RecursionError:
        raise UsageError(f"{where}: that is too much of a value.") from None
    except ValueError as error:  # a number of thousands of digits, or a name that stands twice
        raise UsageError(f"{where} can't be taken: {error}") from None
    if not isinstance(row, dict):
        raise UsageError(f'{where} is no JSON object. Write one a line: {{"a": 1}}')
    for name in row:
        if not name.isidentifier():
            raise UsageError(f"{where}: {name!r} can't be a parameter's name.")
    refuse_nan(row, where)
    refuse_odd_text(row, where)
    return row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for a name that stands twice; JSON itself would keep the last one."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} stands in it twice.")
        found[name] = value
    return found


def _notes(path: str, again: list[tuple[int, int]]) -> Iterator[str]:
    if again:
        (number, first), *others = again
        more = f", and {len(others):,} more lines repeat others" if others else ""
        yield f"{path}: line {number} says what line {first} says{more}; each point is run once"
