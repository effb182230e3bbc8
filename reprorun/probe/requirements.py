"""Which file says what packages an experiment needs: the nearest one above the launcher."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.deciding import Found, deciding_file, kind_of_lock, project_places
from reprorun.formats.python_version import Python, find_python
from reprorun.model import Code, Requirements

if TYPE_CHECKING:
    from reprorun.probe.imports import Imports

SYSTEM_PACKAGES = "apt.txt"


def find_requirements(
    code: Code,
    lock: str | None = None,
    *,
    installed: bool = True,
    without: Collection[str] = (),
) -> Requirements:
    """Which file decides on the packages, and what the files say about Python.

    From the launcher's directory to the root, the nearest directory with such a file wins; in one
    directory locks come first. Where there is none, the imports of the launcher tell.

    Args:
        code: the launcher's repository.
        lock: a lock file to take instead, absolute or relative to the root.
        installed: false for code that was never run here: what its imports need is then told by
            their names, and not by what is installed.
        without: top-level modules that need no package, for the same.

    Raises:
        UsageError: a file that can't be read, dependencies that are computed, or an import of
            something that is neither in the repository nor installed.
    """
    directories = upwards(os.path.dirname(code.launcher))
    found = _named(code, lock, directories) if lock else deciding_file(code.root, directories)
    python = find_python(code.root, directories, found)
    system_packages = _nearest(code.root, directories, SYSTEM_PACKAGES)
    if found is None:
        from reprorun.probe.imports import find_imports

        imports = find_imports(code, installed=installed, without=without)
        return _from_imports(imports, python, system_packages)
    return Requirements(
        kind=found.kind,
        source=found.source,
        paths=found.places,
        python=python.version,
        requires_python=python.required,
        python_source=python.source,
        requires_python_source=python.required_source,
        system_packages=system_packages,
        notes=python.notes,
    )


def upwards(directory: str) -> tuple[str, ...]:
    """The directory and its parents, up to the root (""), all relative to the root."""
    steps = [directory]
    while directory:
        directory = os.path.dirname(directory)
        steps.append(directory)
    return tuple(steps)


def _named(code: Code, lock: str, directories: tuple[str, ...]) -> Found:
    """The lock that the user names."""
    path = os.path.join(code.root, lock)
    if not os.path.isfile(path):
        raise UsageError(f"there is no lock {lock!r} in {code.root}.")
    source = tree.relative(code.root, path) or os.path.normpath(path)
    places = project_places(code.root, directories)
    return Found(kind=kind_of_lock(source), source=source, places=places)


def _nearest(root: str, directories: tuple[str, ...], name: str) -> str | None:
    for directory in directories:
        path = os.path.join(directory, name)
        if tree.is_file(root, path):
            return path
    return None


def _from_imports(found: Imports, python: Python, system_packages: str | None) -> Requirements:
    return Requirements(
        kind="imports" if found.lines else "none",
        lines=found.lines,
        paths=found.paths,
        python=python.version,
        requires_python=python.required,
        python_source=python.source,
        requires_python_source=python.required_source,
        system_packages=system_packages,
        notes=(*found.notes, *python.notes),
    )
