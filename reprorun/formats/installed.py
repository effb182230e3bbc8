"""What is installed in a Python, read from its metadata: which distribution brings a module."""

from __future__ import annotations

import glob
import json
import os
import re
import sys
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from reprorun.formats.line import normalized
from reprorun.model import Value

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_SITES = ("site-packages", "dist-packages")


class Origin(Value, frozen=True, kw_only=True):
    """Where a distribution was installed from, if not from an index."""

    requirement: str | None = None  # how to have it again, where an address says so
    directory: str | None = None  # on this machine, absolute
    editable: bool = False


class Installed(Value, frozen=True, kw_only=True):
    """An installed distribution."""

    name: str
    version: str
    origin: Origin | None = None  # None: an index


class Environment:
    """The Python whose versions count: the active environment, else the one that runs."""

    def __init__(self, path: list[str], label: str) -> None:
        self._path = path
        self.label = label  # "the Python that launches" or the environment's directory

    @cached_property
    def _distributions(self) -> list[Distribution]:
        from importlib.metadata import distributions  # most launchers find all they import at home

        found: dict[str, Distribution] = {}
        for one in distributions(path=self._path):
            name = one.metadata["Name"]
            if name:
                found.setdefault(normalized(name), one)  # the first on the path is the one
        return list(found.values())

    @cached_property
    def _by_top(self) -> dict[str, list[Distribution]]:
        found: dict[str, list[Distribution]] = {}
        for one in self._distributions:
            for top in _tops(one):
                found.setdefault(top, []).append(one)
        return found

    def bringing(self, module: str) -> list[Installed]:
        """The distributions that a module comes from; more than one where they share a name."""
        top = module.split(".")[0]
        found = self._by_top.get(top, [])
        if len(found) > 1:
            found = _narrowed(found, module)
        return [_installed(one) for one in found]


def active_environment(variables: dict[str, str]) -> Environment:
    """The environment that is active (VIRTUAL_ENV, CONDA_PREFIX), without starting its Python."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = variables.get(name)
        if not prefix or not os.path.isdir(prefix):
            continue
        if os.path.realpath(prefix) == os.path.realpath(sys.prefix):
            break
        sites = sorted(glob.glob(os.path.join(glob.escape(prefix), "lib*", "python3*", _SITES[0])))
        if sites:
            return Environment(_with_links(sites), prefix)
    running = [place for place in sys.path if os.path.isdir(place)]
    return Environment(running, "the Python that launches")


def _with_links(sites: list[str]) -> list[str]:
    """The directories, and those that plain lines of their .pth files add."""
    found = list(sites)
    for site in sites:
        for name in sorted(glob.glob(os.path.join(glob.escape(site), "*.pth"))):
            with open(name, encoding="utf-8", errors="replace") as file:
                lines = [line.strip() for line in file]
            added = (os.path.join(site, line) for line in lines if line and line[0] not in "#")
            found += [place for place in added if os.path.isdir(place)]
    return list(dict.fromkeys(found))


def _tops(one: Distribution) -> set[str]:
    """The top-level names that a distribution brings."""
    listed = (one.read_text("top_level.txt") or "").split()
    if listed:
        return set(listed)
    found = {_top(str(file)) for file in one.files or ()}
    return {name for name in found if name}


def _top(file: str) -> str | None:
    head, _, rest = file.partition("/")
    if rest:
        return head if head.isidentifier() and file.endswith((".py", ".so", ".pyi")) else None
    module = re.match(r"([A-Za-z_]\w*)(?:\.[\w-]+)*\.(?:py|so)$", head)
    return module[1] if module else None


def _narrowed(found: list[Distribution], module: str) -> list[Distribution]:
    """Of those that share a namespace, the ones that have the module, or what is next above it."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        below = "/".join(parts[:length])
        having = [one for one in found if _has(one, below)]
        if having:
            return having
    return found


def _has(one: Distribution, below: str) -> bool:
    return any(str(file).startswith((below + "/", below + ".")) for file in one.files or ())


def _installed(one: Distribution) -> Installed:
    return Installed(
        name=normalized(one.metadata["Name"]), version=one.version, origin=_origin(one)
    )


def _origin(one: Distribution) -> Origin | None:
    place = os.path.realpath(str(one.locate_file("")))
    said = one.read_text("direct_url.json")
    if not said:
        # without that file, what lies in no site directory is a working tree (setup.py develop)
        in_site = any(site in place.split(os.sep) for site in _SITES)
        return None if in_site else Origin(directory=place, editable=True)
    try:
        found = json.loads(said)
        return _direct(one, found)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _direct(one: Distribution, found: dict[str, dict[str, str]]) -> Origin:
    url, name = str(found["url"]), one.metadata["Name"]
    if url.startswith("file:"):
        path = unquote(urlsplit(url).path)
        return Origin(directory=path, editable=bool(found.get("dir_info", {}).get("editable")))
    below = f"#subdirectory={found['subdirectory']}" if "subdirectory" in found else ""
    vcs = found.get("vcs_info")
    if vcs:
        return Origin(requirement=f"{name} @ {vcs['vcs']}+{url}@{vcs['commit_id']}{below}")
    return Origin(requirement=f"{name} @ {url}{below}")
