"""Which file says what packages an experiment needs: the nearest one above the launcher."""

from __future__ import annotations

import os
from typing import Any

from reprorun.errors import UsageError
from reprorun.model import Code, Requirements
from reprorun.toml import read_toml

REQUIREMENTS = "requirements.txt"
PROJECT = "pyproject.toml"


def find_requirements(code: Code) -> Requirements:
    """The nearest requirements.txt or pyproject.toml from the launcher's directory to the root.

    In one directory requirements.txt comes first. A pyproject.toml without a `[project]` table
    (one that only holds settings of tools) says nothing about packages and is passed over.

    Raises:
        UsageError: a pyproject.toml that can't be read, or whose dependencies are computed.
    """
    for directory in _upwards(os.path.dirname(code.launcher)):
        if _is_file(code, directory, REQUIREMENTS):
            return Requirements(source=os.path.normpath(os.path.join(directory, REQUIREMENTS)))
        if _is_file(code, directory, PROJECT):
            found = _from_project(code, directory)
            if found:
                return found
    return Requirements()


def _upwards(directory: str) -> list[str]:
    """The directory and its parents, up to the root (""), all relative to the root."""
    steps = [directory]
    while directory:
        directory = os.path.dirname(directory)
        steps.append(directory)
    return steps


def _is_file(code: Code, directory: str, name: str) -> bool:
    return os.path.isfile(os.path.join(code.root, directory, name))


def _from_project(code: Code, directory: str) -> Requirements | None:
    source = os.path.normpath(os.path.join(directory, PROJECT))
    project: Any = read_toml(os.path.join(code.root, source)).get("project")
    if project is None:
        return None
    if not isinstance(project, dict) or not isinstance(project.get("dynamic", []), list):
        raise UsageError(f"{source}: its [project] is not what a pyproject.toml holds there.")
    if "dependencies" in project.get("dynamic", ()):
        raise UsageError(
            f"{source}: its dependencies are dynamic, so they are known only by running its build, "
            "which reprorun does not do on the host. List them in a requirements.txt beside it."
        )
    return Requirements(source=source, paths=_import_roots(code, directory))


def _import_roots(code: Code, directory: str) -> tuple[str, ...]:
    """Where the project's own modules lie, as an editable install would have it."""
    source = os.path.join(directory, "src")
    has_source = os.path.isdir(os.path.join(code.root, source))
    return (source, directory or ".") if has_source else (directory or ".",)
