"""Which Python the files of a project ask for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.deciding import Found
from reprorun.formats.places import PYPROJECT, SETUP_CFG, says_something
from reprorun.formats.poetry_versions import alternatives
from reprorun.formats.shapes import maybe_text, table
from reprorun.model import Value

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_MINORS = tuple(f"3.{minor}" for minor in range(16, 7, -1))  # newest first


class Python(Value, frozen=True, kw_only=True):
    """What is asked for."""

    version: str | None = None  # X.Y
    required: str | None = None  # versions that will do, as PEP 440 spells them
    source: str | None = None  # the file that names the version, else the one for the rest
    required_source: str | None = None  # the file that says which will do
    notes: tuple[str, ...] = ()


def find_python(root: str, directories: tuple[str, ...], found: Found | None) -> Python:
    """The Python of the nearest file that names one, and the versions that will do.

    Args:
        root: the repository's root, absolute.
        directories: to look in, nearest first, relative to the root.
        found: the file that decides on the packages.

    Raises:
        UsageError: a file that can't be read, or that asks for another Python than CPython.
    """
    version, source = _exact(root, directories) or _of_deciding(root, found) or (None, None)
    required, says_so = _required(root, directories, found)
    said, notes = _as_specifier(required, says_so) if required else (None, ())
    if said and version is None:
        version = _of_old_releases(said)
    return Python(
        version=version,
        required=said,
        source=source or (says_so if said else None),
        required_source=says_so if said else None,
        notes=notes,
    )


def _exact(root: str, directories: tuple[str, ...]) -> tuple[str, str] | None:
    for directory in directories:
        for name, pattern in ((".python-version", _VERSION), ("runtime.txt", _RUNTIME)):
            path = os.path.join(directory, name)
            if not tree.is_file(root, path):
                continue
            version = _first_line(root, path, pattern)
            if version:
                return version, path
    return None


_VERSION = re.compile(r"(?:c?python[-@]?)?(3\.\d+)(?:\.\d+)?(?:[-+].*)?(?:/envs/.+)?")
_RUNTIME = re.compile(r"python-(3\.\d+)(?:\.\d+)?")


def _first_line(root: str, path: str, pattern: re.Pattern[str]) -> str | None:
    """The version in the first line that is no comment; None for "any Python"."""
    lines = (line.split("#")[0].strip() for line in tree.read_text(root, path).splitlines())
    line = next((line for line in lines if line), "")
    if line in ("", "3", "python-3", "system"):
        return None
    found = pattern.fullmatch(line)
    if not found:
        raise UsageError(
            f"{path}: {line!r} is no version of CPython 3. Write one like 3.11 there, "
            "or name one with --python."
        )
    return found[1]


def _of_deciding(root: str, found: Found | None) -> tuple[str, str] | None:
    if found is None:
        return None
    version = None
    if found.kind == "pipfile-lock":
        from reprorun.formats.pipfile_lock import python_of as of_pipfile

        version = of_pipfile(root, found.source)
    elif found.kind == "conda":
        from reprorun.formats.conda import python_of as of_conda

        version = of_conda(root, found.source)
    minor = re.match(r"3\.\d+", version or "")
    return (minor[0], found.source) if minor else None


def _required(
    root: str, directories: tuple[str, ...], found: Found | None
) -> tuple[str | None, str | None]:
    """The lock's own word; else that of the nearest pyproject.toml or setup files."""
    if found is not None:
        said = _of_lock(root, found)
        if said:
            return said, found.source
    for directory in directories:
        for name, read in ((PYPROJECT, _of_pyproject), (SETUP_CFG, _of_setup_cfg)):
            path = os.path.join(directory, name)
            said = read(root, path) if tree.is_file(root, path) else None
            if said:
                return said, path
    if found is not None and found.kind == "setup":
        from reprorun.formats.projects import read_project

        return read_project(root, os.path.dirname(found.source)).python, found.source
    return None, None


def _of_lock(root: str, found: Found) -> str | None:
    path = found.source
    if found.kind == "conda":
        from reprorun.formats.conda import python_range_of

        return python_range_of(root, path)
    if found.kind in ("uv-lock", "pylock"):
        content = tree.read_table(root, path)
        return maybe_text(content.get("requires-python"), path, "requires-python")
    if found.kind == "poetry-lock":
        metadata = table(tree.read_table(root, path).get("metadata"), path, "[metadata]")
        return maybe_text(metadata.get("python-versions"), path, "python-versions")
    return None


def _of_pyproject(root: str, path: str) -> str | None:
    content = tree.read_table(root, path)
    if not says_something(content):
        return None
    project = content.get("project")
    if isinstance(project, dict) and "requires-python" in project:
        return maybe_text(project["requires-python"], path, "requires-python")
    from reprorun.formats.poetry import read_poetry

    poetry = read_poetry(content, path)
    return poetry.python if poetry else None


def _of_setup_cfg(root: str, path: str) -> str | None:
    from reprorun.formats.setup_cfg import read_setup_cfg

    found = read_setup_cfg(root, path)
    return found.python if found else None


def _as_specifier(text: str, source: str | None) -> tuple[str | None, tuple[str, ...]]:
    """As PEP 440 spells it. Of alternatives, such as `~2.7 || ^3.6`, the only one that will do.

    Where none of them will, it is the last: that no image has such a Python is said later.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    found = alternatives(text, f"{source}: the versions of Python")
    try:
        ranges = [SpecifierSet(one) for one in found]
    except InvalidSpecifier as error:
        raise UsageError(f"{source}: {text!r} are no versions of Python: {error}") from error
    if len(found) > 1:
        usable = [one for one, range_ in zip(found, ranges, strict=True) if any(_minors(range_))]
        found = usable or found[-1:]
    if len(found) == 1:
        return found[0] or None, ()
    return None, (f"{source}: Python {text} are several ranges; none of them is enforced",)


def _of_old_releases(specifier: str) -> str | None:
    """The newest X.Y of a range that leaves out the newest release of each, such as `==3.10.12`.

    Of all other ranges, the names of base images tell which will do, and there is more to choose.
    """
    from packaging.specifiers import SpecifierSet

    range_ = SpecifierSet(specifier)
    if any(range_.contains(f"{minor}.99") for minor in _MINORS):
        return None
    return next(_minors(range_), None)


def _minors(range_: SpecifierSet) -> Iterator[str]:
    """Each X.Y of which some release will do, newest first."""
    for minor in _MINORS:
        if any(range_.contains(f"{minor}.{patch}") for patch in range(49, -1, -1)):
            yield minor
