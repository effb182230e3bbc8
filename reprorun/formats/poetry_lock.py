"""poetry.lock: what the project's main dependencies reach in it."""

from __future__ import annotations

import os
from typing import Any

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
from reprorun.formats.line import Line, normalized, parse
from reprorun.formats.places import PYPROJECT, module_places, says_something
from reprorun.formats.poetry import Dependency, marker_of, read_poetry
from reprorun.formats.poetry_versions import admits_python
from reprorun.formats.poetry_walk import Edge, Package, Walk
from reprorun.formats.projects import project_table
from reprorun.formats.shapes import maybe_text, table, tables, text, texts
from reprorun.formats.target import Target
from reprorun.model import Pinned, RemoteFile, Wanted


def read_poetry_lock(root: str, path: str, target: Target) -> Wanted:
    """What the project beside a poetry.lock needs when it runs; all of it where there is none.

    Raises:
        UsageError: it can't be read, or does not hold what the project needs.
    """
    content = tree.read_table(root, path)
    _refuse_python(content, target, path)
    packages = _packages(content, path)
    project = tree.beside(path, PYPROJECT)
    found = Walk(path, packages, target)
    if tree.is_file(root, project) and says_something(tree.read_table(root, project)):
        chosen = found.reach(main_edges(root, project))
        files: tuple[str, ...] = (path, project)
    else:
        chosen = found.main_group()
        files = (path,)
    pinned: list[Pinned] = []
    paths: list[str] = []
    for package in chosen:
        source = table(package.entry.get("source"), path, "a source")
        if source.get("type") == "directory":
            paths += _places(root, path, package, source)
        else:
            pinned.append(_pinned(root, path, package, source, content))
    return Wanted(
        pinned=tuple(pinned),
        options=_indexes(chosen, path),
        paths=tuple(dict.fromkeys(paths)),
        files=files,
    )


def _indexes(packages: list[Package], path: str) -> tuple[str, ...]:
    """The indexes, beside the usual one, that know the files of some packages."""
    found: dict[str, None] = {}
    for package in packages:
        source = table(package.entry.get("source"), path, "a source")
        if source.get("type") == "legacy":
            found[text(source.get("url"), path, "the url of a source")] = None
    return tuple(word for url in found if not is_pypi(url) for word in ("--index", url))


def _refuse_python(content: dict[str, Any], target: Target, path: str) -> None:
    metadata = table(content.get("metadata"), path, "[metadata]")
    required = maybe_text(metadata.get("python-versions"), path, "python-versions")
    if not admits_python(required, target, path):
        raise UsageError(f"{path}: it is for Python {required}, not for {target.python}.")


def _packages(content: dict[str, Any], path: str) -> list[Package]:
    return [
        Package(
            name=normalized(text(entry.get("name"), path, "a package's name")),
            version=text(entry.get("version"), path, "a version"),
            entry=entry,
        )
        for entry in tables(content.get("package"), path, "[[package]]")
    ]


def main_edges(root: str, path: str) -> list[Edge]:
    """The project's own dependencies, of both its tables, without optional ones."""
    content = tree.read_table(root, path)
    poetry = read_poetry(content, path)
    edges = [_edge_of(one, path) for one in (poetry.dependencies if poetry else ())]
    static = project_table(content, path) if "project" in content else {}
    lines = texts(static.get("dependencies"), path, "dependencies")
    if static and lines:  # Poetry's own table then only tells where they come from
        edges = [_edge_of_line(line, path) for line in lines]
    return [edge for edge in edges if not edge.optional]


def _edge_of(one: Dependency, path: str) -> Edge:
    return Edge(
        name=normalized(one.name),
        version=one.version,
        extras=tuple(normalized(extra) for extra in one.extras),
        marker=marker_of(one, path) or None,
        optional=one.optional,
    )


def _edge_of_line(line: str, path: str) -> Edge:
    parts = parse(Line(text=line, source=path))
    if parts.name is None:
        raise UsageError(f"{path}: {line!r} names no package.")
    return Edge(
        name=parts.name,
        version=parts.versions or "*",
        extras=parts.extras,
        marker=parts.marker,
    )


def _places(root: str, path: str, package: Package, source: dict[str, Any]) -> tuple[str, ...]:
    url = text(source.get("url"), path, f"the source of {package.name}")
    place = f"{path}: {package.name}"
    directory = local_directory(root, os.path.dirname(path), url, place)
    return module_places(root, directory)


def _pinned(
    root: str, path: str, package: Package, source: dict[str, Any], content: dict[str, Any]
) -> Pinned:
    place = f"{path}: {package.name}"
    kind, url = source.get("type"), source.get("url")
    if kind == "git":
        address = text(url, path, f"the source of {package.name}")
        commit = source.get("resolved_reference")
        git = git_source(address, commit, source.get("subdirectory"), place)
        return Pinned(name=package.name, version=package.version, git=git)
    listed = _listed(package, content, path)
    files = [
        _file(root, path, entry, kind, str(url), place)
        for entry in listed
        if str(entry.get("hash")).startswith("sha256:")
    ]
    if not files:
        raise UsageError(f"{place}: it lists no file with a sha256. Run `poetry lock` anew.")
    return Pinned(name=package.name, version=package.version, files=tuple(files))


def _listed(package: Package, content: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """The files of a package: in the package itself, or before Poetry 1.4 in the metadata."""
    if "files" in package.entry:
        return tables(package.entry["files"], path, f"the files of {package.name}")
    metadata = table(content.get("metadata"), path, "[metadata]")
    files = table(metadata.get("files"), path, "[metadata.files]")
    for name, entries in files.items():
        if normalized(name) == package.name:
            return tables(entries, path, f"the files of {name}")
    return []


def _file(
    root: str, path: str, entry: dict[str, Any], kind: Any, url: str, place: str
) -> RemoteFile:
    if kind == "url":
        return remote_file(url, entry.get("hash"), None, place)
    if kind == "file":
        return local_file(root, os.path.dirname(path), url, entry.get("hash"), place)
    name = text(entry.get("file"), path, "a file's name")
    return RemoteFile(name=name, sha256=sha256_in(entry.get("hash"), place))
