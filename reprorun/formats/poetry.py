"""`[tool.poetry]` of a pyproject.toml: its dependencies as requirement lines."""

from __future__ import annotations

import re
from typing import Any

from msgspec import field

from reprorun.formats.line import normalized
from reprorun.formats.options import merged
from reprorun.formats.poetry_versions import python_marker, specifier
from reprorun.formats.shapes import items, maybe_text, table, tables, text, texts
from reprorun.model import Value

PYTHON = "python"


class Dependency(Value, frozen=True, kw_only=True):
    """One way in which a dependency is written; a list gives several."""

    name: str  # as written
    version: str = "*"
    python: str | None = None
    platform: str | None = None
    markers: str | None = None
    extras: tuple[str, ...] = ()
    optional: bool = False
    prereleases: bool = False
    location: str | None = None  # git+..., https:..., or a path; None: an index


class Poetry(Value, frozen=True, kw_only=True):
    """What Poetry is told about the packages that a project needs when it runs."""

    name: str | None = None
    python: str | None = None
    dependencies: tuple[Dependency, ...] = ()
    extras: dict[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # extra: names of optional dependencies
    options: tuple[str, ...] = ()


def read_poetry(pyproject: dict[str, Any], path: str) -> Poetry | None:
    """The table of Poetry, without groups for development; None without one.

    Raises:
        UsageError: it does not have the shape that Poetry gives it.
    """
    section = table(
        table(pyproject.get("tool"), path, "[tool]").get("poetry"), path, "[tool.poetry]"
    )
    if not section:
        return None
    what = "[tool.poetry.dependencies]"
    found = table(section.get("dependencies"), path, what)
    dependencies = [
        dependency
        for name, value in found.items()
        if normalized(name) != PYTHON
        for dependency in _dependencies(name, value, path)
    ]
    extras = table(section.get("extras"), path, "[tool.poetry.extras]")
    return Poetry(
        name=maybe_text(section.get("name"), path, "the name"),
        python=_python(found, path),
        dependencies=tuple(dependencies),
        extras={normalized(key): texts(value, path, "an extra") for key, value in extras.items()},
        options=_options(section, path),
    )


def _python(found: dict[str, Any], path: str) -> str | None:
    value = found.get(PYTHON)
    return value if isinstance(value, str) else None


def _dependencies(name: str, value: Any, path: str) -> list[Dependency]:
    if isinstance(value, list):
        return [
            one for entry in items(value, path, name) for one in _dependencies(name, entry, path)
        ]
    if isinstance(value, str):
        return [Dependency(name=name, version=value)]
    entry = table(value, path, name)
    return [
        Dependency(
            name=name,
            version=maybe_text(entry.get("version"), path, f"{name}.version") or "*",
            python=maybe_text(entry.get("python"), path, f"{name}.python"),
            platform=maybe_text(entry.get("platform"), path, f"{name}.platform"),
            markers=maybe_text(entry.get("markers"), path, f"{name}.markers"),
            extras=texts(entry.get("extras"), path, f"{name}.extras"),
            optional=entry.get("optional") is True,
            prereleases=entry.get("allow-prereleases") is True,
            location=_location(entry, path, name),
        )
    ]


def _location(entry: dict[str, Any], path: str, name: str) -> str | None:
    if "git" in entry:
        return _git(entry, path, name)
    for key in ("path", "file", "url"):
        if key in entry:
            location = text(entry[key], path, f"{name}.{key}")
            return location if key == "url" or location.startswith(("/", ".")) else f"./{location}"
    return None


def _git(entry: dict[str, Any], path: str, name: str) -> str:
    url = git_url(text(entry["git"], path, f"{name}.git"))
    chosen = [entry[key] for key in ("rev", "tag", "branch") if key in entry]
    revision = f"@{text(chosen[0], path, f'{name}.rev')}" if chosen else ""
    below = maybe_text(entry.get("subdirectory"), path, f"{name}.subdirectory")
    return f"git+{url}{revision}" + (f"#subdirectory={below}" if below else "")


def git_url(url: str) -> str:
    """The address of a git repository with its scheme: `git@host:path` is short for ssh."""
    short = re.fullmatch(r"(?:([\w.-]+)@)?([\w.-]+):(?!//)(.+)", url)
    return f"ssh://{short[1] or 'git'}@{short[2]}/{short[3].lstrip('/')}" if short else url


def requirement_line(dependency: Dependency, place: str) -> str:
    """A dependency as a requirement line.

    Raises:
        UsageError: its versions can't be said in one.
    """
    extras = f"[{','.join(dependency.extras)}]" if dependency.extras else ""
    if dependency.location:
        line = f"{dependency.name}{extras} @ {dependency.location}"
    else:
        versions = specifier(dependency.version, f"{place}: {dependency.name}")
        if dependency.prereleases:
            versions = ",".join(filter(None, (versions, ">=0a0")))  # naming one lets them in
        line = f"{dependency.name}{extras}{versions}"
    marker = marker_of(dependency, place)
    return f"{line} ; {marker}" if marker else line


def marker_of(dependency: Dependency, place: str) -> str:
    """The marker of a dependency, from all the ways that Poetry has for one."""
    said = [
        dependency.markers,
        python_marker(dependency.python, place) if dependency.python else None,
        f'sys_platform == "{dependency.platform}"' if dependency.platform else None,
    ]
    parts = [part for part in said if part]
    return parts[0] if len(parts) == 1 else " and ".join(f"({part})" for part in parts)


def _options(section: dict[str, Any], path: str) -> tuple[str, ...]:
    """The package sources as indexes. Poetry takes the best version among them."""
    flags: list[str] = []
    for source in tables(section.get("source"), path, "[[tool.poetry.source]]"):
        url = maybe_text(source.get("url"), path, "the url of a source")
        if url is None:  # PyPI by its name
            continue
        if source.get("default") is True or source.get("priority") == "default":
            flags += ["--default-index", url]
        else:
            flags += ["--index", url, "--index-strategy", "unsafe-best-match"]
    return merged(flags)
