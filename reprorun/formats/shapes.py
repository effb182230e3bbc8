"""Taking apart what a TOML, JSON or YAML file holds: the shape that was wanted, or an error."""

from __future__ import annotations

from typing import Any

from reprorun.errors import UsageError


def table(value: Any, source: str, what: str) -> dict[str, Any]:
    """A table with text keys; an absent one is empty."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UsageError(f"{source}: {what} is not the table that belongs there.")
    return value


def items(value: Any, source: str, what: str) -> list[Any]:
    """A list; an absent one is empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise UsageError(f"{source}: {what} is not the list that belongs there.")
    return value


def tables(value: Any, source: str, what: str) -> list[dict[str, Any]]:
    """A list of tables."""
    return [table(entry or {}, source, what) for entry in items(value, source, what)]


def text(value: Any, source: str, what: str) -> str:
    """A text; there must be one."""
    if not isinstance(value, str):
        raise UsageError(f"{source}: {what} is not the text that belongs there.")
    return value


def maybe_text(value: Any, source: str, what: str) -> str | None:
    """A text, or None when it is absent."""
    return None if value is None else text(value, source, what)


def texts(value: Any, source: str, what: str) -> tuple[str, ...]:
    """A list of texts; an absent one is empty."""
    return tuple(text(entry, source, what) for entry in items(value, source, what))
