"""A project in the repository: its name, its dependencies, and where its modules lie."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from msgspec import field

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.line import Line, normalized, with_marker
from reprorun.formats.places import (
    PYPROJECT,
    SETUP_CFG,
    SETUP_PY,
    placed,
    pyproject_places,
    says_something,
)
from reprorun.formats.poetry import Poetry, read_poetry, requirement_line
from reprorun.formats.setup_cfg import file_lines, read_setup_cfg
from reprorun.formats.setup_py import SetupCall, read_setup_py
from reprorun.formats.shapes import items, maybe_text, table, texts
from reprorun.formats.sources import project_sources
from reprorun.model import Value


class LocalProject(Value, frozen=True, kw_only=True):
    """A project as its files say it; nothing of it is run."""

    directory: str  # relative to the root, "." for the root itself
    name: str | None = None  # normalized
    requires: tuple[Line, ...] = ()
    extras: dict[str, tuple[Line, ...]] = field(default_factory=dict)
    python: str | None = None  # versions that will do, as PEP 440 or Poetry spells them
    places: tuple[str, ...] = ()  # of its modules, relative to the root
    sources: dict[str, Any] = field(
        default_factory=dict
    )  # by name, where dependencies come from: `sources.with_source`
    options: tuple[str, ...] = ()  # for uv
    files: tuple[str, ...] = ()  # that were read
    notes: tuple[str, ...] = ()

    def extra(self, name: str) -> tuple[Line, ...]:
        """The lines of an extra.

        Raises:
            UsageError: it has none of that name.
        """
        if name not in self.extras:
            known = ", ".join(sorted(self.extras)) or "none that can be read"
            raise UsageError(f"{self.files[0]}: there is no extra {name!r}. There are: {known}.")
        return self.extras[name]


def is_project(root: str, directory: str) -> bool:
    """Whether a directory inside the repository has a file of a project."""
    names = (PYPROJECT, SETUP_CFG, SETUP_PY)
    return tree.is_directory(root, directory) and any(
        tree.is_file(root, os.path.join(directory, name)) for name in names
    )


def read_project(root: str, directory: str) -> LocalProject:
    """A project's dependencies and modules, from pyproject.toml, setup.cfg and setup.py.

    Raises:
        UsageError: none of them says what it needs, or it is computed.
    """
    directory = os.path.normpath(directory)
    path = os.path.normpath(os.path.join(directory, PYPROJECT))
    if tree.is_file(root, path):
        content = tree.read_table(root, path)
        if says_something(content):
            return _from_pyproject(root, directory, path, content)
    setup = _from_setup(root, directory)
    if setup is None:
        raise UsageError(
            f"{directory}: neither {PYPROJECT} nor {SETUP_CFG} or {SETUP_PY} there says what it "
            "needs. List it in a requirements.txt."
        )
    return setup


def _from_pyproject(root: str, directory: str, path: str, content: dict[str, Any]) -> LocalProject:
    poetry = read_poetry(content, path)
    if "project" not in content:
        assert poetry is not None  # or it would say nothing
        return _from_poetry(root, directory, path, content, poetry)
    project = project_table(content, path)
    files = [path]
    beside = _Dynamic(root, directory, path, content, poetry, files)
    extras = {
        normalized(extra): _lines(path, directory, texts(lines, path, "an extra"))
        for extra, lines in beside.extras(project).items()
    }
    name = maybe_text(project.get("name"), path, "the project's name")
    return LocalProject(
        directory=directory,
        name=normalized(name) if name else None,
        requires=_lines(path, directory, beside.dependencies(project)),
        extras=extras,
        python=maybe_text(project.get("requires-python"), path, "requires-python"),
        places=pyproject_places(root, directory, content),
        sources=project_sources(content, path, poetry),
        options=poetry.options if poetry else (),
        files=tuple(dict.fromkeys(files)),
    )


def project_table(content: dict[str, Any], path: str) -> dict[str, Any]:
    """`[project]` of a pyproject.toml.

    Raises:
        UsageError: it is no table, or lists no text where it names what is dynamic.
    """
    project = content.get("project")
    dynamic = project.get("dynamic", []) if isinstance(project, dict) else None
    if not isinstance(project, dict) or not isinstance(dynamic, list):
        raise UsageError(f"{path}: its [project] is not what a pyproject.toml holds there.")
    return project


class _Dynamic:
    """Where dependencies are dynamic, what setuptools or Poetry would find."""

    def __init__(
        self,
        root: str,
        directory: str,
        path: str,
        content: dict[str, Any],
        poetry: Poetry | None,
        files: list[str],
    ) -> None:
        self._root, self._directory, self._path = root, directory, path
        self._poetry, self._files = poetry, files
        setuptools = table(content.get("tool"), path, "[tool]").get("setuptools")
        section = table(setuptools, path, "[tool.setuptools]").get("dynamic")
        self._section = table(section, path, "[tool.setuptools.dynamic]")

    def dependencies(self, project: dict[str, Any]) -> tuple[str, ...]:
        if "dependencies" not in project.get("dynamic", ()):
            return texts(project.get("dependencies"), self._path, "dependencies")
        if "dependencies" in self._section:
            return self._from_files(self._section["dependencies"])
        if self._poetry and self._poetry.dependencies:
            return _poetry_lines(self._poetry, self._path, optional=False)
        setup = _from_setup(self._root, self._directory)
        if setup is None:
            raise UsageError(
                f"{self._path}: its dependencies are dynamic, so they are known only by running "
                "its build, which reprorun does not do on the host. List them in a "
                "requirements.txt beside it."
            )
        self._files += setup.files
        return tuple(line.text for line in setup.requires)

    def extras(self, project: dict[str, Any]) -> dict[str, Any]:
        static = table(project.get("optional-dependencies"), self._path, "optional-dependencies")
        if "optional-dependencies" not in project.get("dynamic", ()):
            return static
        section = table(self._section.get("optional-dependencies"), self._path, "dynamic extras")
        if section:
            return {name: list(self._from_files(value)) for name, value in section.items()}
        setup = _from_setup(self._root, self._directory)
        found = setup.extras if setup else {}
        return {name: [line.text for line in lines] for name, lines in found.items()}

    def _from_files(self, value: Any) -> tuple[str, ...]:
        named = table(value, self._path, "a dynamic field").get("file")
        names = [named] if isinstance(named, str) else items(named, self._path, "file")
        found: list[str] = []
        for name in names:
            path = tree.beside(self._path, str(name))
            found += file_lines(self._root, self._path, path)
            self._files.append(path)
        return tuple(found)


def _lines(path: str, directory: str, lines: Iterable[str]) -> tuple[Line, ...]:
    return tuple(Line(text=text, source=path, bases=(directory,)) for text in lines)


def _from_poetry(
    root: str, directory: str, path: str, content: dict[str, Any], poetry: Poetry
) -> LocalProject:
    optional = {
        normalized(one.name): requirement_line(one, path)
        for one in poetry.dependencies
        if one.optional
    }
    extras = {
        extra: tuple(optional[normalized(name)] for name in names if normalized(name) in optional)
        for extra, names in poetry.extras.items()
    }
    return LocalProject(
        directory=directory,
        name=normalized(poetry.name) if poetry.name else None,
        requires=_lines(path, directory, _poetry_lines(poetry, path, optional=False)),
        extras={extra: _lines(path, directory, lines) for extra, lines in extras.items()},
        python=poetry.python,
        places=pyproject_places(root, directory, content),
        options=poetry.options,
        files=(path,),
    )


def _poetry_lines(poetry: Poetry, path: str, *, optional: bool) -> tuple[str, ...]:
    return tuple(
        requirement_line(one, path) for one in poetry.dependencies if one.optional is optional
    )


def _from_setup(root: str, directory: str) -> LocalProject | None:
    """What setup.py is given, and setup.cfg where it is given nothing, as setuptools does it."""
    cfg_path, py_path = (
        os.path.normpath(os.path.join(directory, n)) for n in (SETUP_CFG, SETUP_PY)
    )
    cfg = read_setup_cfg(root, cfg_path) if tree.is_file(root, cfg_path) else None
    py = read_setup_py(root, py_path) if tree.is_file(root, py_path) else None
    if cfg is None and py is None:
        return None
    first, second = py or SetupCall(), cfg or SetupCall()
    path = py_path if py and (py.requires or not cfg) else cfg_path
    name = first.name or second.name
    conditional, extras = _by_extra(first.extras or second.extras)
    return LocalProject(
        directory=directory,
        name=normalized(name) if name else None,
        requires=_lines(path, directory, (*(first.requires or second.requires), *conditional)),
        extras={extra: _lines(path, directory, lines) for extra, lines in extras.items()},
        python=first.python or second.python,
        places=placed(root, directory, (first.package_dir or second.package_dir).get("")),
        files=tuple(p for p, found in ((py_path, py), (cfg_path, cfg)) if found),
    )


def _by_extra(
    given: dict[str, tuple[str, ...]],
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """What is needed without any extra, and the extras.

    setuptools takes keys like `NAME:MARKER`; those without a name are no extras, but dependencies
    where the marker holds.
    """
    found: dict[str, tuple[str, ...]] = {"": ()}
    for key, lines in given.items():
        name, _, marker = key.partition(":")
        extra = normalized(name.strip())
        needed = (with_marker(line, marker.strip()) for line in lines)
        found[extra] = (*found.get(extra, ()), *needed)
    return found.pop(""), found
