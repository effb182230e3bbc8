"""Reading TOML, with errors that name the file."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, cast

from reprorun.errors import UsageError


def read_toml(path: str) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UsageError: it can't be read or is not TOML; the message says where.
    """
    tomllib = _tomllib()
    try:
        with open(path, "rb") as file:
            return cast(dict[str, Any], tomllib.load(file))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """The content of TOML text.

    Raises:
        UsageError: it is not TOML; the message calls it by `name`.
    """
    tomllib = _tomllib()
    try:
        return cast(dict[str, Any], tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is not TOML: {error}") from error


def _tomllib() -> ModuleType:
    """Imported when it is needed: most runs read no TOML, and it takes its time."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib
