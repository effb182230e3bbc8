"""uv's own settings as it would find them, for when we have to give it a settings file of ours."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from reprorun.environment.credentials import expanded
from reprorun.toml import read_toml

_KEPT = (  # what decides where packages come from and which are chosen
    "index", "index-url", "extra-index-url", "no-index", "find-links", "index-strategy",
    "keyring-provider", "allow-insecure-host", "native-tls", "system-certs", "prerelease",
    "resolution", "fork-strategy", "exclude-newer", "exclude-newer-package",
    "constraint-dependencies", "override-dependencies", "pip",
)  # fmt: skip


# what of these a project that is not the user's own may not decide
_OF_THE_USER = frozenset(
    ("find-links", "keyring-provider", "allow-insecure-host", "native-tls", "system-certs", "pip")
)


def uv_settings(directory: str, *, foreign: bool = False) -> dict[str, Any]:
    """The settings that hold in a directory: the project's over the user's over the system's.

    Args:
        directory: absolute.
        foreign: it came out of a record: its settings say where packages are, and nothing that
            would be done on this host.
    """
    settings: dict[str, Any] = {}
    own = set(_project_file(directory)) if foreign else set()
    for path in settings_files(directory):
        found: Any = read_toml(path)
        if os.path.basename(path) == "pyproject.toml":
            found = found.get("tool", {}).get("uv", {})
        if isinstance(found, dict):
            refused = _OF_THE_USER if path in own else frozenset()
            settings.update({k: found[k] for k in _KEPT if k in found and k not in refused})
    return settings


def settings_files(directory: str) -> list[str]:
    """The files that hold them, least important first."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    files = ["/etc/uv/uv.toml", os.path.join(home, "uv", "uv.toml"), *_project_file(directory)]
    if os.environ.get("UV_NO_CONFIG"):
        return []
    if os.environ.get("UV_CONFIG_FILE"):
        files = [os.environ["UV_CONFIG_FILE"]]
    return [path for path in files if os.path.isfile(path)]


def _project_file(directory: str) -> list[str]:
    """The nearest uv.toml, or pyproject.toml with a [tool.uv], at or above a directory."""
    while True:
        own = os.path.join(directory, "uv.toml")
        if os.path.isfile(own):
            return [own]
        project = os.path.join(directory, "pyproject.toml")
        if os.path.isfile(project) and "uv" in read_toml(project).get("tool", {}):
            return [project]
        if directory == os.path.dirname(directory):
            return []
        directory = os.path.dirname(directory)


def index_addresses(options: Iterable[str], directory: str) -> tuple[str, ...]:
    """The addresses of indexes that files name: those of uv's options, and of its settings.

    Raises:
        LockFailed: an option asks for a variable that is not there.
    """
    settings = uv_settings(directory)
    found = [expanded(word) for word in options if "://" in word]
    for key in ("index", "index-url", "extra-index-url", "find-links"):
        found += _addresses(settings.get(key))
    return tuple(found)


def _addresses(value: Any) -> list[str]:
    """The addresses in a setting: text, a list of it, or tables with `name` and `url`."""
    if isinstance(value, str):
        return [value] if "://" in value else []
    if isinstance(value, list):
        return [address for item in value for address in _addresses(item)]
    if isinstance(value, dict) and isinstance(value.get("url"), str):
        name = value.get("name")
        return [f"{name}={value['url']}" if isinstance(name, str) else value["url"]]
    return []
