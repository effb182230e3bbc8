"""Reading TOML files, with errors that name the file."""

from __future__ import annotations

import sys
from typing import Any

from reprorun.errors import UsageError


def read_toml(path: str) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UsageError: it can't be read or is not TOML; the message says where.
    """
    if sys.version_info >= (3, 11):  # imported here: most runs read no TOML, and it takes its time
        import tomllib
    else:
        import tomli as tomllib
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
