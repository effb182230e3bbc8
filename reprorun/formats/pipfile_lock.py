"""Pipfile.lock: its default section, which is the whole set, as exact lines with hashes."""

from __future__ import annotations

import os
import re
from typing import Any

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.artifacts import (
    git_source,
    is_pypi,
    local_directory,
    local_url,
    sha256_in,
)
from reprorun.formats.places import module_places
from reprorun.formats.shapes import maybe_text, table, tables, text, texts
from reprorun.formats.target import Target, applies
from reprorun.model import Wanted


def read_pipfile_lock(root: str, path: str, target: Target) -> Wanted:
    """What a Pipfile.lock wants when the project runs.

    Raises:
        UsageError: it can't be read, or a package has neither digest nor commit.
    """
    content = table(tree.read_json(root, path), path, "it")
    lines: list[str] = []
    paths: list[str] = []
    for name, value in table(content.get("default"), path, "default").items():
        entry = table(value, path, name)
        if not applies(maybe_text(entry.get("markers"), path, name), target, path):
            continue
        directory = _directory(root, path, name, entry)
        if directory is None:
            lines.append(_line(root, path, name, entry))
        else:
            paths += module_places(root, directory)
    return Wanted(
        lines=tuple(sorted(lines)),
        exact=True,
        options=_indexes(content, path),
        paths=tuple(dict.fromkeys(paths)),
        files=(path,),
    )


def python_of(root: str, path: str) -> str | None:
    """The Python that a Pipfile.lock is for, X.Y or X.Y.Z."""
    meta = table(table(tree.read_json(root, path), path, "it").get("_meta"), path, "_meta")
    requires = table(meta.get("requires"), path, "requires")
    full = maybe_text(requires.get("python_full_version"), path, "python_full_version")
    return full or maybe_text(requires.get("python_version"), path, "python_version")


def _directory(root: str, path: str, name: str, entry: dict[str, Any]) -> str | None:
    """The directory of a local project."""
    given = maybe_text(entry.get("path"), path, name)
    if given is None:
        return None
    full = os.path.join(root, os.path.dirname(path), given)
    if os.path.isfile(full):
        return None
    return local_directory(root, os.path.dirname(path), given, f"{path}: {name}")


def _line(root: str, path: str, name: str, entry: dict[str, Any]) -> str:
    """A package with its version and digests, or its commit."""
    place = f"{path}: {name}"
    if "git" in entry:
        url = text(entry["git"], path, f"the repository of {name}")
        git = git_source(url, entry.get("ref"), entry.get("subdirectory"), place)
        below = f"#subdirectory={git.subdirectory}" if git.subdirectory else ""
        return f"{name} @ git+{git.url}@{git.commit}{below}"
    digests = texts(entry.get("hashes"), path, f"the hashes of {name}")
    hashes = "".join(
        f" --hash=sha256:{sha256_in(one, place)}" for one in digests if one.startswith("sha256:")
    )
    if not hashes:
        raise UsageError(f"{place}: it has no sha256. Run `pipenv lock` anew.")
    location = _location(root, path, entry, place)
    return f"{name} @ {location}{hashes}" if location else name + _version(entry, place) + hashes


def _version(entry: dict[str, Any], place: str) -> str:
    version = entry.get("version", "")
    if not isinstance(version, str) or not re.fullmatch(r"===?\s*[^\s,*]+", version):
        raise UsageError(f"{place}: {version!r} is no exact version. Run `pipenv lock` anew.")
    return version


def _location(root: str, path: str, entry: dict[str, Any], place: str) -> str | None:
    """The address of a package that comes from no index: a file's, here or elsewhere."""
    if isinstance(entry.get("path"), str):
        return local_url(root, os.path.dirname(path), entry["path"], place)
    file = entry.get("file")
    return file if isinstance(file, str) else None


def _indexes(content: dict[str, Any], path: str) -> tuple[str, ...]:
    """The sources: the first is the default one, as for pipenv."""
    meta = table(content.get("_meta"), path, "_meta")
    urls = [
        text(source.get("url"), path, "the url of a source")
        for source in tables(meta.get("sources"), path, "sources")
    ]
    # PyPI's own address is the usual index here, which a mirror may stand in for
    first = [] if not urls or is_pypi(urls[0]) else ["--default-index", urls[0]]
    return (*first, *(word for url in urls[1:] for word in ("--index", url)))
