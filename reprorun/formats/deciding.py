"""Which file decides on the packages: the nearest, and in one directory the first of a list."""

from __future__ import annotations

import os

from reprorun.formats import tree
from reprorun.formats.places import (
    PYPROJECT,
    SETUP_CFG,
    SETUP_PY,
    has_project,
    module_places,
    says_something,
)
from reprorun.model import RequirementsKind, Value

UV_LOCK = "uv.lock"
ORDER: tuple[tuple[str, RequirementsKind], ...] = (
    (UV_LOCK, "uv-lock"),
    ("pylock.toml", "pylock"),
    ("poetry.lock", "poetry-lock"),
    ("Pipfile.lock", "pipfile-lock"),
    ("requirements.txt", "requirements"),
    (PYPROJECT, "project"),
    (SETUP_PY, "setup"),
    (SETUP_CFG, "setup"),
    ("environment.yml", "conda"),
    ("environment.yaml", "conda"),
)
_OF_PROJECTS = ("uv-lock", "pylock", "poetry-lock", "project", "setup")


class Found(Value, frozen=True, kw_only=True):
    """The file that decides."""

    kind: RequirementsKind
    source: str  # relative to the root
    places: tuple[str, ...] = ()  # of the project's modules; its own directory is the last


def deciding_file(root: str, directories: tuple[str, ...]) -> Found | None:
    """The file that decides, among those in some directories, nearest first.

    Raises:
        UsageError: it can't be read, or what it needs is computed.
    """
    for directory in directories:
        for name, kind in ORDER:
            path = os.path.join(directory, name)
            if tree.is_file(root, path) and _says_something(root, path):
                return _found(root, directory, path, kind, directories)
    return None


def _found(
    root: str, directory: str, path: str, kind: RequirementsKind, directories: tuple[str, ...]
) -> Found:
    if kind not in _OF_PROJECTS:
        return Found(kind=kind, source=path)
    if kind in ("project", "setup"):
        # read now: what is wrong with it is said before anything is started
        from reprorun.formats.projects import read_project

        places = read_project(root, directory).places
    else:
        places = module_places(root, directory) if has_project(root, directory) else ()
    lock = _workspace_lock(root, directory, directories) if kind == "project" else None
    if lock:
        return Found(kind="uv-lock", source=lock, places=places)
    return Found(kind=kind, source=path, places=places)


def _says_something(root: str, path: str) -> bool:
    """Whether a file is about packages: pyproject.toml and setup.cfg may hold settings of tools."""
    name = os.path.basename(path)
    if name == PYPROJECT:
        return says_something(tree.read_table(root, path))
    if name == SETUP_CFG:
        from reprorun.formats.setup_cfg import read_setup_cfg

        return read_setup_cfg(root, path) is not None
    return True


def _workspace_lock(root: str, directory: str, directories: tuple[str, ...]) -> str | None:
    """The uv.lock further up that has the project in a directory as a member of its workspace."""
    from reprorun.formats.uv_lock import is_member

    for above in directories:
        path = os.path.join(above, UV_LOCK)
        if len(above) < len(directory) and tree.is_file(root, path):
            return path if is_member(root, path, directory) else None
    return None


def kind_of_lock(path: str) -> RequirementsKind:
    """The kind of a lock that the user names, by its name."""
    name = os.path.basename(path)
    for known, kind in ORDER[:4]:
        if name == known:
            return kind
    if name.startswith("pylock.") and name.endswith(".toml"):
        return "pylock"
    return "lock"


def project_places(root: str, directories: tuple[str, ...]) -> tuple[str, ...]:
    """Where the modules of the nearest project lie; none without one."""
    for directory in directories:
        if has_project(root, directory):
            return module_places(root, directory)
    return ()
