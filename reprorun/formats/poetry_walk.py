"""The packages of a poetry.lock that a project's dependencies reach."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from reprorun.errors import UsageError
from reprorun.formats.line import normalized
from reprorun.formats.poetry_versions import admits, admits_python
from reprorun.formats.shapes import items, maybe_text, table, texts
from reprorun.formats.target import Target, applies
from reprorun.model import Value


class Edge(Value, frozen=True, kw_only=True):
    """A dependency on a package of the lock."""

    name: str  # normalized
    version: str = "*"  # as Poetry writes it
    extras: tuple[str, ...] = ()
    marker: str | None = None
    python: str | None = None
    optional: bool = False


class Package(Value, frozen=True, kw_only=True):
    """One `[[package]]`."""

    name: str
    version: str
    entry: dict[str, Any]


class Walk:
    """The packages that are reached over dependencies whose markers hold."""

    def __init__(self, path: str, packages: list[Package], target: Target) -> None:
        self._path = path
        self._target = target
        self._packages = packages
        self._found: dict[int, Package] = {}
        self._done: set[tuple[int, str]] = set()

    def main_group(self) -> list[Package]:
        """All that is not for development. Which that is, locks of 2022 to 2024 do not say."""
        kept = [
            package
            for package in self._packages
            if package.entry.get("optional") is not True
            and package.entry.get("category", "main") == "main"
            and "main" in items(package.entry.get("groups", ["main"]), self._path, "groups")
            and self._fits(package)
        ]
        return self._checked(kept)

    def reach(self, edges: list[Edge]) -> list[Package]:
        waiting = list(edges)
        while waiting:
            edge = waiting.pop()
            if not self._holds(edge):
                continue
            package = self._choose(edge)
            for extra in ("", *edge.extras):
                if (id(package), extra) not in self._done:
                    self._done.add((id(package), extra))
                    self._found[id(package)] = package
                    waiting += self._edges(package, extra)
        return self._checked(list(self._found.values()))

    def _holds(self, edge: Edge) -> bool:
        if not admits_python(edge.python, self._target, self._path):
            return False
        return applies(edge.marker, self._target, self._path)

    def _choose(self, edge: Edge) -> Package:
        named = [package for package in self._packages if package.name == edge.name]
        fitting = [package for package in named if self._fits(package)]
        fitting = [one for one in fitting if self._is_direct(one) or self._admits(edge, one)]
        if not fitting:
            what = "is not in it" if not named else "is in it for another Python or version only"
            raise UsageError(f"{self._path}: {edge.name} {what}. Run `poetry lock` anew.")
        return max(fitting, key=lambda one: _sortable(one.version))

    def _admits(self, edge: Edge, package: Package) -> bool:
        return admits(edge.version, package.version, f"{self._path}: {edge.name}")

    def _is_direct(self, package: Package) -> bool:
        source = table(package.entry.get("source"), self._path, "a source")
        return source.get("type") in ("git", "directory", "file", "url")

    def _fits(self, package: Package) -> bool:
        """Whether a package is for the target: its Pythons, and the marker that 2.1 locks have."""
        python = maybe_text(package.entry.get("python-versions"), self._path, "python-versions")
        marker = package.entry.get("markers")
        if isinstance(marker, dict):
            marker = marker.get("main")
        return admits_python(python, self._target, self._path) and applies(
            maybe_text(marker, self._path, "markers"), self._target, self._path
        )

    def _edges(self, package: Package, extra: str) -> list[Edge]:
        found = _dependencies(package, self._path)
        if not extra:
            return [edge for edge in found if not edge.optional]
        wanted = _extra_names(package, extra, self._path)
        return [
            Edge(name=edge.name, version=edge.version, extras=edge.extras, python=edge.python)
            for edge in found
            if edge.name in wanted and applies(edge.marker, self._target, self._path, (extra,))
        ]

    def _checked(self, packages: list[Package]) -> list[Package]:
        chosen = sorted(packages, key=lambda one: (one.name, one.version))
        for first, second in pairwise(chosen):
            if first.name == second.name:
                raise UsageError(
                    f"{self._path}: both {first.name} {first.version} and {second.version} would "
                    "be installed. Run `poetry lock` anew."
                )
        return chosen


def _sortable(version: str) -> Any:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version)
    except InvalidVersion:
        return Version("0")


def _dependencies(package: Package, path: str) -> list[Edge]:
    what = f"the dependencies of {package.name}"
    found = table(package.entry.get("dependencies"), path, what)
    return [
        edge
        for name, value in found.items()
        for entry in (value if isinstance(value, list) else [value])
        for edge in [_dependency(name, entry, path, what)]
    ]


def _dependency(name: str, value: Any, path: str, what: str) -> Edge:
    entry = {"version": value} if isinstance(value, str) else table(value, path, what)
    marker = maybe_text(entry.get("markers"), path, what)
    return Edge(
        name=normalized(name),
        version=maybe_text(entry.get("version"), path, what) or "*",
        extras=tuple(normalized(extra) for extra in texts(entry.get("extras"), path, what)),
        marker=marker,
        python=maybe_text(entry.get("python"), path, what),
        optional=entry.get("optional") is True,
    )


def _extra_names(package: Package, extra: str, path: str) -> set[str]:
    """The names of the dependencies that an extra brings."""
    extras = table(package.entry.get("extras"), path, "extras")
    lines = next((value for key, value in extras.items() if normalized(key) == extra), None)
    found = texts(lines, path, f"the extra {extra}")
    return {normalized(re.split(r"[\s\[(;<>=!~]", line, maxsplit=1)[0]) for line in found}
