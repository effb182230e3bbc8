"""Where a project's modules lie, as an editable install would have it."""

from __future__ import annotations

import os
from typing import Any

from reprorun.errors import UsageError
from reprorun.formats import tree

PYPROJECT, SETUP_CFG, SETUP_PY = "pyproject.toml", "setup.cfg", "setup.py"


def says_something(pyproject: dict[str, Any]) -> bool:
    """Whether a pyproject.toml is about packages, not only settings of tools."""
    tool = pyproject.get("tool")
    return "project" in pyproject or bool(isinstance(tool, dict) and tool.get("poetry"))


def module_places(root: str, directory: str) -> tuple[str, ...]:
    """The directories with the modules of the project in a directory, relative to the root.

    Only what is simple is followed: one directory that all packages lie in. A setup.py that
    can't be read says nothing; then it is `src`, if there is one, and the project's own.
    """
    path = os.path.join(directory, PYPROJECT)
    if tree.is_file(root, path):
        content = tree.read_table(root, path)
        if says_something(content):
            return pyproject_places(root, directory, content)
    return placed(root, directory, _said_by_setup(root, directory))


def has_project(root: str, directory: str) -> bool:
    """Whether there is a project in a directory whose modules would be installed."""
    path = os.path.join(directory, PYPROJECT)
    if tree.is_file(root, path) and says_something(tree.read_table(root, path)):
        return True
    return any(tree.is_file(root, os.path.join(directory, n)) for n in (SETUP_PY, SETUP_CFG))


def pyproject_places(root: str, directory: str, pyproject: dict[str, Any]) -> tuple[str, ...]:
    """The same, with a pyproject.toml that is already read."""
    setuptools = _below(pyproject, "tool", "setuptools")
    named = _below(setuptools, "package-dir").get("")
    where = _below(setuptools, "packages", "find").get("where")
    if named is None and isinstance(where, list) and len(where) == 1:
        named = where[0]
    if named is None:
        named = _below(pyproject, "tool", "pdm", "build").get("package-dir")
    if named is None:
        named = _poetry_from(_below(pyproject, "tool", "poetry").get("packages"))
    return placed(root, directory, named)


def placed(root: str, directory: str, named: Any) -> tuple[str, ...]:
    """The directory that is named, or src where there is one; and the project's own."""
    below = os.path.normpath(os.path.join(directory, named if isinstance(named, str) else "src"))
    own = os.path.normpath(directory)
    return (below, own) if below != own and tree.is_directory(root, below) else (own,)


def _below(table: Any, *keys: str) -> dict[str, Any]:
    """A table in a table, empty where something else stands: its shape is checked elsewhere."""
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else {}


def _poetry_from(packages: Any) -> str | None:
    """`packages = [{include = "x", from = "lib"}]`, where all are from one directory."""
    entries = packages if isinstance(packages, list) else []
    places = {entry.get("from", ".") for entry in entries if isinstance(entry, dict)}
    return str(places.pop()) if len(places) == 1 else None


def _said_by_setup(root: str, directory: str) -> str | None:
    from reprorun.formats.setup_cfg import read_setup_cfg
    from reprorun.formats.setup_py import read_setup_py

    for name, read in ((SETUP_PY, read_setup_py), (SETUP_CFG, read_setup_cfg)):
        path = os.path.join(directory, name)
        if not tree.is_file(root, path):
            continue
        try:
            found = read(root, path)
        except UsageError:
            continue
        if found and "" in found.package_dir:
            return found.package_dir[""]
    return None
