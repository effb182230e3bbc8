"""pylock.toml (PEP 751): the packages that apply to one Python on one platform."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.artifacts import (
    git_source,
    is_pypi,
    local_directory,
    local_file,
    remote_file,
    sha256_in,
)
from reprorun.formats.line import file_name
from reprorun.formats.places import module_places
from reprorun.formats.target import Target
from reprorun.model import Pinned, RemoteFile, Wanted

if TYPE_CHECKING:
    from packaging.pylock import Package, Pylock


def read_pylock(root: str, path: str, target: Target) -> Wanted:
    """What a pylock.toml wants, with its default groups and no extras.

    Raises:
        UsageError: it is not what PEP 751 says, or does not fit the target's Python.
    """
    lock = parse_pylock(root, path)
    _refuse_python(lock.requires_python, target, path, "it")
    pinned: list[Pinned] = []
    paths: list[str] = []
    for package in lock.packages:
        if not _applies(package, lock, target, path):
            continue
        _refuse_python(package.requires_python, target, path, str(package.name))
        if package.directory is not None:
            paths += _places(root, path, package)
        else:
            pinned.append(_pinned(root, path, package))
    _refuse_two(pinned, path)
    return Wanted(
        pinned=tuple(pinned),
        options=_indexes(lock, pinned),
        paths=tuple(dict.fromkeys(paths)),
        files=(path,),
    )


def _indexes(lock: Pylock, pinned: list[Pinned]) -> tuple[str, ...]:
    """The indexes to ask for files that have no address of their own."""
    asked = {one.name for one in pinned if any(file.url is None for file in one.files)}
    found = dict.fromkeys(one.index for one in lock.packages if one.index and one.name in asked)
    return tuple(word for url in found if not is_pypi(url) for word in ("--index", url))


def parse_pylock(root: str, path: str) -> Pylock:
    """A pylock.toml, checked.

    Raises:
        UsageError: it is not what PEP 751 says.
    """
    from packaging.pylock import Pylock, PylockValidationError

    try:
        return Pylock.from_dict(tree.read_table(root, path))
    except PylockValidationError as error:
        raise UsageError(f"{path} is no lock that can be read: {error}") from error


def _refuse_python(required: Any, target: Target, path: str, what: str) -> None:
    if required is not None and not required.contains(target.python, prereleases=True):
        raise UsageError(f"{path}: {what} is for Python {required}, not for {target.python}.")


def _applies(package: Package, lock: Pylock, target: Target, path: str) -> bool:
    if package.marker is None:
        return True
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

    groups = {str(group) for group in lock.default_groups or ()}
    environment: dict[str, Any] = {
        **target.markers(),
        "extras": set(),
        "dependency_groups": groups,
    }
    try:
        return package.marker.evaluate(environment, context="lock_file")
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise UsageError(f"{path}: the marker of {package.name}: {error}") from error


def _places(root: str, path: str, package: Package) -> tuple[str, ...]:
    assert package.directory is not None
    place = f"{path}: {package.name}"
    below = os.path.join(package.directory.path, package.directory.subdirectory or "")
    directory = local_directory(root, os.path.dirname(path), below, place)
    return module_places(root, directory)


def _pinned(root: str, path: str, package: Package) -> Pinned:
    place = f"{path}: {package.name}"
    version = str(package.version or "")
    if package.vcs is not None:
        vcs = package.vcs
        if vcs.type != "git" or not vcs.url:
            raise UsageError(f"{place}: it comes from {vcs.type} {vcs.path or ''}, not from git.")
        git = git_source(vcs.url, vcs.commit_id, vcs.subdirectory, place)
        return Pinned(name=package.name, version=version, git=git)
    files = [
        _file(root, path, one, one.name or "", place)
        for one in (*(package.wheels or ()), package.sdist)
        if one is not None
    ]
    if package.archive is not None:
        files.append(_file(root, path, package.archive, "", place))
    return Pinned(name=package.name, version=version, files=tuple(files))


def _file(root: str, path: str, entry: Any, name: str, place: str) -> RemoteFile:
    """A wheel, source distribution or archive: by address, by path, or by name at the index."""
    digest = f"sha256:{entry.hashes['sha256']}" if "sha256" in entry.hashes else None
    if entry.url:
        return remote_file(entry.url, digest, entry.size, place, name or file_name(entry.url))
    if entry.path:
        return local_file(root, os.path.dirname(path), entry.path, digest, place)
    return RemoteFile(name=name, sha256=sha256_in(digest, place), size=entry.size)


def _refuse_two(pinned: list[Pinned], path: str) -> None:
    names = [package.name for package in pinned]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path}: more than one version of {name} would be installed.")
