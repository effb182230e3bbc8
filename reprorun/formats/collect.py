"""From requirement lines to what is wanted: local projects become paths and their dependencies."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.line import Line, Parts, name_of_archive, parse
from reprorun.formats.target import Target, applies
from reprorun.model import Value, Wanted

if TYPE_CHECKING:
    from reprorun.formats.projects import LocalProject


class Kept(Value, frozen=True, kw_only=True):
    """A requirement for uv, taken apart and as a line."""

    name: str | None
    extras: tuple[str, ...]
    marker: str | None
    text: str
    source: str


def collect(root: str, lines: Iterable[Line], target: Target) -> Wanted:
    """The requirements for uv, with the local projects among them resolved.

    Args:
        root: the repository's root, absolute.
        lines: what the files say.
        target: what markers of local projects are evaluated for.

    Raises:
        UsageError: a line that can't be read, or that names something outside the repository.
    """
    return _Collection(root, target).of(lines)


def collect_project(root: str, project: LocalProject, target: Target) -> Wanted:
    """What a project in the repository wants, without extras.

    Raises:
        UsageError: as `collect` does.
    """
    collection = _Collection(root, target)
    found = collection.of(collection.ask(project, ()))
    return Wanted(
        lines=found.lines,
        options=project.options,
        paths=found.paths,
        files=found.files,
        notes=found.notes,
    )


class _Collection:
    """What has been found so far. A local project's own dependencies are lines to look at."""

    def __init__(self, root: str, target: Target) -> None:
        self._root = root
        self._target = target
        self._kept: list[Kept] = []
        self._projects: dict[str, LocalProject] = {}  # by directory
        self._asked: set[tuple[str, str]] = set()  # directory and extra, "" for the project itself

    def of(self, lines: Iterable[Line]) -> Wanted:
        waiting = list(lines)
        while waiting:
            found: list[Line] = []
            for line in waiting:
                found += self._take(line)
            waiting = found or self._own_names()
        projects = self._projects.values()
        return Wanted(
            lines=tuple(dict.fromkeys(kept.text for kept in self._kept)),
            paths=_unique(place for project in projects for place in project.places),
            files=_unique(file for project in projects for file in project.files),
            notes=_unique(note for project in projects for note in project.notes),
        )

    def _take(self, line: Line) -> list[Line]:
        """Keep a line, or ask for the lines of the project that it names."""
        parts = parse(line)
        if not parts.is_local:
            self._keep(line, parts, parts.location)
            return []
        if not applies(parts.marker, self._target, line.place):
            return []
        path = self._find(line, parts.location or "")
        if tree.is_directory(self._root, path):
            from reprorun.formats.projects import read_project  # few need it, and it takes its time

            return self.ask(read_project(self._root, path), parts.extras)
        self._keep(line, parts, _file_url(self._root, path))
        return []

    def _keep(self, line: Line, parts: Parts, location: str | None) -> None:
        if location is None:
            text = parts.label + parts.versions
        else:
            _refuse_unnamed(line, parts)
            name = parts.label if parts.spelled else ""
            text = f"{name} @ {location}" if name else location
        if parts.marker:
            text += f" ; {parts.marker}"
        text += "".join(f" --hash={digest}" for digest in parts.hashes)
        self._kept.append(
            Kept(
                name=parts.name,
                extras=parts.extras,
                marker=parts.marker,
                text=text,
                source=line.place,
            )
        )

    def _find(self, line: Line, location: str) -> str:
        """The project's directory or the file that a local path means, relative to the root."""
        from reprorun.formats.projects import is_project

        wanted = _local_path(location)
        candidates = [os.path.join(base, wanted) for base in line.bases]
        for candidate in candidates:
            path = tree.relative(self._root, candidate)
            if path is None:
                continue
            full = os.path.join(self._root, path)
            if os.path.isfile(full) and name_of_archive(path):
                return path
            if is_project(self._root, path):
                return path
        raise UsageError(f"{line.place}: {_what_is_wrong(self._root, candidates, location)}")

    def ask(self, project: LocalProject, extras: Iterable[str]) -> list[Line]:
        """The lines of a project and of its extras that were not asked for before."""
        from reprorun.formats.sources import with_source

        self._projects.setdefault(project.directory, project)
        found: list[Line] = []
        for extra in ("", *extras):
            if (project.directory, extra) in self._asked:
                continue
            self._asked.add((project.directory, extra))
            found += project.requires if not extra else project.extra(extra)
        return [with_source(self._root, line, project.sources) for line in found]

    def _own_names(self) -> list[Line]:
        """Requirements that name a local project mean it, not what an index has of that name."""
        local = {project.name: project for project in self._projects.values() if project.name}
        found: list[Line] = []
        for kept in [kept for kept in self._kept if kept.name in local]:
            self._kept.remove(kept)
            if kept.extras and applies(kept.marker, self._target, kept.source):
                found += self.ask(local[kept.name or ""], kept.extras)
        return found


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _refuse_unnamed(line: Line, parts: Parts) -> None:
    if parts.is_vcs and not parts.name:
        raise UsageError(
            f"{line.place}: {parts.location} does not say which package it is. "
            f"Write it as NAME @ {parts.location}"
        )


def _local_path(location: str) -> str:
    """The path of `file:` addresses and of plain paths."""
    if not location.startswith("file:"):
        return location
    path = unquote(re.sub(r"^file:(?://(?:localhost)?(?=/|$))?", "", location).split("#")[0])
    return path.removeprefix("//")


def _file_url(root: str, path: str) -> str:
    return "file://" + quote(os.path.normpath(os.path.join(root, path)))


def _what_is_wrong(root: str, candidates: list[str], location: str) -> str:
    if all(tree.relative(root, candidate) is None for candidate in candidates):
        return (
            f"{location} lies outside the repository, so a record could not hold it. "
            "Move it inside, or name a version that an index has."
        )
    existing = [path for path in candidates if os.path.exists(os.path.join(root, path))]
    if existing:
        return (
            f"{location} is no project (it has no pyproject.toml, setup.cfg or setup.py) "
            "and no wheel or source distribution."
        )
    return f"there is no {location}."
