"""`[tool.reprorun.check]`: a table of a pyproject.toml in, the settings of a comparison out.

    [tool.reprorun.check]
    rtol = 1e-9
    atol = 1e-12
    ignore = ["*.tmp"]

    [tool.reprorun.check.files."*.csv"]
    rtol = 1e-6
    columns = { loss = { rtol = 1e-3 } }

What is not given at one place is taken from the one above it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from reprorun.compare.values import Settings, Tolerance
from reprorun.errors import UsageError

_NUMBERS = ("rtol", "atol")


def settings_from(table: Any, path: str, *, rtol: float | None, atol: float | None) -> Settings:
    """The settings of a comparison.

    Args:
        table: `[tool.reprorun.check]` as it stands.
        path: of the file that it is from, for messages.
        rtol: of the flag, which goes before the table's own; not before those of its files.
        atol: likewise.

    Raises:
        UsageError: something in it can't be understood.
    """
    where = f"[tool.reprorun.check] of {path}"
    _table(table, where, (*_NUMBERS, "ignore", "files"))
    given = {**table, **{k: v for k, v in (("rtol", rtol), ("atol", atol)) if v is not None}}
    general = _tolerance(given, Tolerance(), where)
    files = _table(table.get("files", {}), f"files in {where}")
    tolerances, columns = [], []
    for glob, entry in files.items():
        place = f"files.{glob!r} in {where}"
        _table(entry, place, (*_NUMBERS, "columns"))
        tolerance = _tolerance(entry, general, place)
        tolerances.append((glob, tolerance))
        columns += [(glob, *column) for column in _columns(entry, tolerance, place)]
    return Settings(
        tolerance=general,
        files=tuple(tolerances),
        columns=tuple(columns),
        ignore=_globs(table.get("ignore", []), where),
    )


def _columns(
    entry: dict[str, Any], above: Tolerance, where: str
) -> Iterator[tuple[str, Tolerance]]:
    columns = _table(entry.get("columns", {}), f"columns of {where}")
    for name, content in columns.items():
        place = f"column {name!r} of {where}"
        yield name, _tolerance(_table(content, place, _NUMBERS), above, place)


def _tolerance(table: dict[str, Any], above: Tolerance, where: str) -> Tolerance:
    found = {name: checked(table[name], f"{name} of {where}") for name in _NUMBERS if name in table}
    return replace(above, **found)


def checked(value: Any, where: str) -> float:
    """A tolerance.

    Raises:
        UsageError: it is none; the message says where.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise UsageError(f"{where}: {value!r} is no tolerance such as 1e-6.")
    return float(value)


def _globs(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(glob, str) for glob in value):
        raise UsageError(f'ignore in {where}: {value!r} is no list of names such as ["*.tmp"].')
    return tuple(value)


def _table(value: Any, where: str, known: tuple[str, ...] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {value!r} is no table.")
    for name in value:
        if known is not None and name not in known:
            raise UsageError(f"{where} has no setting {name!r}. It knows {', '.join(known)}.")
    return value
