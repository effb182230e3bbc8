"""pyproject.toml, setup.cfg and setup.py as what decides: what the project there wants."""

from __future__ import annotations

import os

from reprorun.formats import tree
from reprorun.formats.collect import collect_project
from reprorun.formats.line import Line, parse
from reprorun.formats.poetry import read_poetry
from reprorun.formats.projects import project_table, read_project
from reprorun.formats.shapes import texts
from reprorun.formats.sources import is_local, project_sources
from reprorun.formats.target import Target
from reprorun.model import Wanted


def read_pyproject(root: str, path: str, target: Target) -> Wanted:
    """What a pyproject.toml wants.

    uv reads a plain one itself, with its sources and indexes. One that Poetry reads, or whose
    dependencies are dynamic or in the repository, is translated.

    Raises:
        UsageError: its dependencies are computed, or can't be read.
    """
    if _is_plain(root, path):
        return Wanted(project=path, files=(path,))
    return read_directory(root, os.path.dirname(path), target)


def read_directory(root: str, directory: str, target: Target) -> Wanted:
    """What the project in a directory wants, as lines.

    Raises:
        UsageError: its dependencies are computed, or can't be read.
    """
    return collect_project(root, read_project(root, directory), target)


def _is_plain(root: str, path: str) -> bool:
    """Whether uv can read it: a static [project] that needs nothing in the repository."""
    content = tree.read_table(root, path)
    if "project" not in content:
        return False
    project = project_table(content, path)
    if "dependencies" in project.get("dynamic", ()) or read_poetry(content, path):
        return False
    sources = project_sources(content, path)
    lines = texts(project.get("dependencies"), path, "dependencies")
    found = [parse(Line(text=text, source=path)) for text in lines]
    return not any(one.is_local or is_local(sources.get(one.name or "")) for one in found)
