"""`[tool.uv.sources]` and Poetry's own: where a dependency comes from, if not from an index."""

from __future__ import annotations

import os
from typing import Any

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.line import Line, normalized, parse
from reprorun.formats.poetry import Poetry, git_url
from reprorun.formats.shapes import maybe_text, table, text


def project_sources(
    content: dict[str, Any], path: str, poetry: Poetry | None = None
) -> dict[str, Any]:
    """What is said of each dependency's source, by normalized name; uv's, as it resolves, wins.

    Raises:
        UsageError: there is no table where one belongs.
    """
    found: dict[str, Any] = {
        normalized(one.name): {"url": one.location}
        for one in (poetry.dependencies if poetry else ())
        if one.location
    }
    for name, value in uv_sources(content, path).items():
        found[normalized(name)] = value
    return found


def uv_sources(content: dict[str, Any], path: str) -> dict[str, Any]:
    """The table `[tool.uv.sources]`, empty without one."""
    uv = table(table(content.get("tool"), path, "[tool]").get("uv"), path, "[tool.uv]")
    return table(uv.get("sources"), path, "[tool.uv.sources]")


def is_local(source: Any) -> bool:
    """Whether a source may be a directory or file, for one of its markers."""
    entries = source if isinstance(source, list) else [source]
    return any(isinstance(entry, dict) and {"path", "workspace"} & set(entry) for entry in entries)


def _location(root: str, path: str, name: str, value: Any) -> str | None:
    """Where a source points. None: an index of its own, or one of several places by marker."""
    if isinstance(value, list):
        if len(value) != 1:
            return None
        value = value[0]
    entry = table(value, path, f"the source of {name}")
    if "marker" in entry or "extra" in entry or "group" in entry:
        return None
    if entry.get("workspace") is True:
        return _member(root, path, name)
    if "path" in entry:
        location = text(entry["path"], path, f"the path of {name}")
        return location if location.startswith(("/", ".")) else f"./{location}"
    if "git" in entry:
        return _git(entry, path, name)
    return maybe_text(entry.get("url"), path, f"the url of {name}")


def _git(entry: dict[str, Any], path: str, name: str) -> str:
    url = git_url(text(entry["git"], path, f"the repository of {name}"))
    chosen = [entry[key] for key in ("rev", "tag", "branch") if key in entry]
    revision = f"@{text(chosen[0], path, 'a revision')}" if chosen else ""
    below = maybe_text(entry.get("subdirectory"), path, "a subdirectory")
    return f"git+{url}{revision}" + (f"#subdirectory={below}" if below else "")


def _member(root: str, path: str, name: str) -> str:
    """The directory of a workspace's member, relative to the project's, by its name."""
    start = os.path.dirname(path)
    directory = start
    while True:
        for member in _members(root, directory):
            if _is_called(root, member, name):
                return os.path.join(".", os.path.relpath(member, start or "."))
        if not directory:
            break
        directory = os.path.dirname(directory)
    raise UsageError(
        f"{path}: {name} is said to be a member of the workspace, and no member is called so. "
        "Run `uv lock` and keep the uv.lock."
    )


def _members(root: str, directory: str) -> list[str]:
    """The directories of the workspace whose root this directory is; none where it is no root."""
    import glob

    path = os.path.join(directory, "pyproject.toml")
    if not tree.is_file(root, path):
        return []
    uv = table(tree.read_table(root, path).get("tool"), path, "[tool]").get("uv")
    workspace = uv.get("workspace") if isinstance(uv, dict) else None
    patterns = workspace.get("members") if isinstance(workspace, dict) else None
    if workspace is None:
        return []
    found = [directory or "."]
    for pattern in patterns if isinstance(patterns, list) else []:
        matching = glob.glob(str(pattern), root_dir=os.path.join(root, directory), recursive=True)
        found += [os.path.join(directory, member) for member in sorted(matching)]
    return found


def _is_called(root: str, directory: str, name: str) -> bool:
    path = os.path.join(directory, "pyproject.toml")
    if not tree.is_file(root, path):
        return False
    project = tree.read_table(root, path).get("project")
    called = project.get("name") if isinstance(project, dict) else None
    return isinstance(called, str) and normalized(called) == normalized(name)


def with_source(root: str, line: Line, sources: dict[str, Any]) -> Line:
    """A requirement from where its source says.

    Raises:
        UsageError: it comes from an index of its own, or from one of several places, by marker.
    """
    parts = parse(line)
    if parts.name not in sources or parts.location:
        return line
    location = _location(root, line.source, parts.name, sources[parts.name])
    if location is None:
        raise UsageError(
            f"{line.source}: where {parts.name} comes from ([tool.uv.sources]) only uv can tell. "
            "Run `uv lock` and keep the uv.lock."
        )
    marker = f" ; {parts.marker}" if parts.marker else ""
    return Line(
        text=f"{parts.label} @ {location}{marker}",
        source=line.source,
        number=line.number,
        bases=line.bases,
    )
