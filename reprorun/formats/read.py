"""The way in: from the file that decides to the packages that are wanted."""

from __future__ import annotations

import os

from reprorun.formats.target import Target
from reprorun.model import Requirements, Wanted


def read(requirements: Requirements, root: str, target: Target) -> Wanted:
    """Read the file that says what packages are needed.

    Args:
        requirements: which file that is, and of what kind.
        root: the repository's root, absolute.
        target: the Python and the platform that they are for.

    Returns:
        Requirements to resolve, or where the file is a lock, the whole set as `pinned`. Its
        `paths` may repeat those of `requirements`.

    Raises:
        UsageError: a file that can't be read, is not what it should be, or names something that
            lies outside the repository.
    """
    path = requirements.source
    if path is None:
        return Wanted(lines=requirements.lines)
    return _read(requirements, path, root, target)


def _read(requirements: Requirements, path: str, root: str, target: Target) -> Wanted:
    """Each reader is imported where it is needed: some bring much with them."""
    kind = requirements.kind
    if kind == "uv-lock":
        from reprorun.formats.uv_lock import read_uv_lock

        # a project's own directory is the last place of its modules
        start = requirements.paths[-1] if requirements.paths else None
        return read_uv_lock(root, path, start, target)
    if kind == "pylock":
        from reprorun.formats.pylock import read_pylock

        return read_pylock(root, path, target)
    if kind == "poetry-lock":
        from reprorun.formats.poetry_lock import read_poetry_lock

        return read_poetry_lock(root, path, target)
    if kind == "pipfile-lock":
        from reprorun.formats.pipfile_lock import read_pipfile_lock

        return read_pipfile_lock(root, path, target)
    if kind == "lock":
        from reprorun.formats.own_lock import read_own_lock

        return read_own_lock(root, path, target)
    if kind == "project":
        from reprorun.formats.pyproject import read_pyproject

        return read_pyproject(root, path, target)
    if kind == "setup":
        from reprorun.formats.pyproject import read_directory

        return read_directory(root, os.path.dirname(path), target)
    if kind == "conda":
        from reprorun.formats.conda import read_conda

        return read_conda(root, path, target)
    from reprorun.formats.requirements_txt import read_requirements

    return read_requirements(root, path, target)
