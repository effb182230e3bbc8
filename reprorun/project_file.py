"""`[tool.reprorun]`: which pyproject.toml counts for a script, and the table as it stands."""

from __future__ import annotations

import os
from typing import Any

from reprorun.errors import UsageError
from reprorun.toml import read_toml


def project_table(directory: str) -> tuple[dict[str, Any], str]:
    """`[tool.reprorun]` of the nearest pyproject.toml that has one, and its path; else empty.

    Looked for up to the repository's root, outside git in the script's own directory: further up
    lies what others may write.

    Args:
        directory: where the search starts.

    Raises:
        UsageError: a pyproject.toml can't be read, or that is no table.
    """
    last = _repository_root(directory)
    while True:
        path = os.path.join(directory, "pyproject.toml")
        if os.path.isfile(path):
            table = _table(read_toml(path), path)
            if table is not None:
                return table, path
        if directory == last:
            return {}, ""
        directory = os.path.dirname(directory)


def _repository_root(directory: str) -> str:
    """Where `.git` is, at or above a directory; the directory itself outside git."""
    found = directory
    while not os.path.lexists(os.path.join(found, ".git")):
        if found == os.path.dirname(found):
            return directory
        found = os.path.dirname(found)
    return found


def _table(content: dict[str, Any], path: str) -> dict[str, Any] | None:
    """`[tool.reprorun]`, None where there is none."""
    for name in ("tool", "reprorun"):
        if name not in content:
            return None
        content = content[name]
        if not isinstance(content, dict):
            raise UsageError(f"{path}: {name!r} of [tool.reprorun] is no table.")
    return content
