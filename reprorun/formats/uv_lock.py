"""uv.lock: what the launcher's project needs of it, for one Python on one platform."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.artifacts import (
    local_directory,
    local_file,
    remote_file,
    sha256_in,
    uv_git,
)
from reprorun.formats.line import file_name, normalized
from reprorun.formats.places import module_places
from reprorun.formats.shapes import maybe_text, table, tables, text, texts
from reprorun.formats.target import Target, applies, python_fits
from reprorun.model import Pinned, RemoteFile, Value, Wanted

LOCAL = ("virtual", "editable", "directory")
_NEWEST = 1  # version of the format; revisions of it only add


class Package(Value, frozen=True, kw_only=True):
    """One `[[package]]`."""

    name: str
    version: str | None
    source: dict[str, Any]
    entry: dict[str, Any]

    def local(self) -> str | None:
        """The directory of a local project, relative to the lock's."""
        for kind in LOCAL:
            directory = self.source.get(kind)
            if isinstance(directory, str):
                return os.path.normpath(directory)
        return None


def read_uv_lock(root: str, path: str, start: str | None, target: Target) -> Wanted:
    """What one project needs, or all members of the workspace where it is none of them.

    Args:
        root: the repository's root, absolute.
        path: the uv.lock, relative to the root.
        start: the directory of the launcher's project, relative to the root.
        target: what markers are evaluated for.

    Raises:
        UsageError: it can't be read, or does not fit the target's Python.
    """
    content = tree.read_table(root, path)
    version = content.get("version")
    if version != _NEWEST:
        raise UsageError(f"{path}: version {version} of uv.lock can't be read, only {_NEWEST}.")
    required = maybe_text(content.get("requires-python"), path, "requires-python")
    if not python_fits(required, target):
        raise UsageError(f"{path}: it is for Python {required}, not for {target.python}.")
    packages = read_packages(content, path)
    wanted = _Walk(path, packages, target).from_roots(
        _roots(packages, os.path.dirname(path), start, path)
    )
    pinned: list[Pinned] = []
    paths: list[str] = []
    for package in wanted:
        local = package.local()
        if local is None:
            pinned.append(_pinned(root, path, package))
        elif "virtual" not in package.source:
            directory = local_directory(root, os.path.dirname(path), local, path)
            paths += module_places(root, directory)
    return Wanted(pinned=tuple(pinned), paths=tuple(dict.fromkeys(paths)), files=(path,))


def read_packages(content: dict[str, Any], path: str) -> tuple[Package, ...]:
    """The packages of a lock."""
    return tuple(
        Package(
            name=normalized(text(entry.get("name"), path, "a package's name")),
            version=maybe_text(entry.get("version"), path, "a version"),
            source=table(entry.get("source"), path, "a source"),
            entry=entry,
        )
        for entry in tables(content.get("package"), path, "[[package]]")
    )


def is_member(root: str, path: str, directory: str) -> bool:
    """Whether a uv.lock lists a directory, relative to the root, as a project of its own."""
    here = os.path.dirname(path)
    return any(
        package.local() is not None
        and os.path.normpath(os.path.join(here, package.local() or ""))
        == os.path.normpath(directory)
        for package in read_packages(tree.read_table(root, path), path)
    )


def _roots(packages: tuple[Package, ...], here: str, start: str | None, path: str) -> list[Package]:
    """The launcher's project; else the lock's own; else every project in the repository."""
    for directory in (start, here):
        if directory is None:
            continue
        wanted = os.path.relpath(directory or ".", here or ".")
        found = [package for package in packages if package.local() == wanted]
        if found:
            return found
    members = [package for package in packages if package.local() is not None]
    if not members and packages:
        raise UsageError(f"{path}: it names no project that the packages would be for.")
    return members


class _Walk:
    """The packages that are reached over dependencies whose markers hold."""

    def __init__(self, path: str, packages: tuple[Package, ...], target: Target) -> None:
        self._path = path
        self._target = target
        self._by_name: dict[str, list[Package]] = {}
        for package in packages:
            self._by_name.setdefault(package.name, []).append(package)
        self._found: dict[int, Package] = {}
        self._done: set[tuple[int, str]] = set()

    def from_roots(self, roots: list[Package]) -> list[Package]:
        waiting = [(package, "") for package in roots]
        while waiting:
            package, extra = waiting.pop()
            if (id(package), extra) in self._done:
                continue
            self._done.add((id(package), extra))
            self._found[id(package)] = package
            for edge in self._edges(package, extra):
                waiting += self._follow(package, edge)
        chosen = sorted(self._found.values(), key=lambda one: (one.name, one.version or ""))
        self._refuse_two(chosen)
        return chosen

    def _edges(self, package: Package, extra: str) -> list[dict[str, Any]]:
        if not extra:
            return tables(package.entry.get("dependencies"), self._path, "dependencies")
        extras = table(package.entry.get("optional-dependencies"), self._path, "extras")
        return tables(extras.get(extra), self._path, f"the extra {extra}")

    def _follow(self, package: Package, edge: dict[str, Any]) -> list[tuple[Package, str]]:
        marker = maybe_text(edge.get("marker"), self._path, "a marker")
        if not applies(marker, self._target, self._path):
            return []
        reached = self._package(package, edge)
        extras = texts(edge.get("extra"), self._path, "extra")
        return [(reached, extra) for extra in ("", *extras)]

    def _package(self, package: Package, edge: dict[str, Any]) -> Package:
        """The package that an edge means: by name, and by what else it says."""
        name = normalized(text(edge.get("name"), self._path, "a dependency's name"))
        found = [
            one
            for one in self._by_name.get(name, [])
            if edge.get("version") in (None, one.version)
            and edge.get("source") in (None, one.source)
        ]
        if len(found) > 1:  # forks; the edges of one fork may not repeat what the fork says
            found = [one for one in found if self._in_fork(one)]
        if len(found) != 1:
            raise UsageError(
                f"{self._path}: {package.name} needs {name}, and {len(found) or 'none'} of its "
                f"packages fits Python {self._target.python}. Run `uv lock` anew."
            )
        return found[0]

    def _in_fork(self, package: Package) -> bool:
        markers = texts(package.entry.get("resolution-markers"), self._path, "resolution-markers")
        return not markers or any(applies(one, self._target, self._path) for one in markers)

    def _refuse_two(self, chosen: list[Package]) -> None:
        for first, second in pairwise(chosen):
            if first.name == second.name:
                raise UsageError(
                    f"{self._path}: both {first.name} {first.version} and {second.version} would "
                    "be installed. Run `uv lock` anew."
                )


def _pinned(root: str, path: str, package: Package) -> Pinned:
    place = f"{path}: {package.name}"
    if "git" in package.source:
        source = text(package.source["git"], path, f"the source of {package.name}")
        return Pinned(name=package.name, version=package.version or "", git=uv_git(source, place))
    files = [
        _file(root, path, package, entry, place)
        for entry in (
            *tables(package.entry.get("wheels"), path, "wheels"),
            *([package.entry["sdist"]] if isinstance(package.entry.get("sdist"), dict) else []),
        )
    ]
    if not files:
        raise UsageError(f"{place}: it lists no files. Run `uv lock` anew.")
    return Pinned(name=package.name, version=package.version or "", files=tuple(files))


def _file(root: str, path: str, package: Package, entry: dict[str, Any], place: str) -> RemoteFile:
    """A wheel or source distribution: with an address, or in the repository."""
    source, here = package.source, os.path.dirname(path)
    url = entry.get("url") or source.get("url")
    if isinstance(url, str):
        return remote_file(url.split("#")[0], entry.get("hash"), entry.get("size"), place)
    if isinstance(source.get("path"), str):
        return local_file(root, here, source["path"], entry.get("hash"), place)
    below = text(entry.get("path"), path, f"a file of {package.name}")
    if "://" in below:
        return remote_file(below, entry.get("hash"), entry.get("size"), place)
    registry = text(source.get("registry"), path, f"the source of {package.name}")
    if "://" in registry and not registry.startswith("file://"):
        digest = sha256_in(entry.get("hash"), place)
        return RemoteFile(name=file_name(below), sha256=digest)
    base = os.path.join(here, registry.removeprefix("file://"))
    return local_file(root, base, below, entry.get("hash"), place)
