"""uv's answer, read: one exact candidate a package, and the file of it that fits the image."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from reprorun.environment.tags import best_wheel
from reprorun.errors import LockFailed, UsageError
from reprorun.model import BaseImage, GitSource, RemoteFile, Value, Wanted
from reprorun.toml import parse_toml

_HASH = re.compile(r"--hash[=\s]+sha256:([0-9a-fA-F]{64})")
_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")


class Candidate(Value, frozen=True, kw_only=True):
    """What was chosen for one package: a wheel, or a source to build one from."""

    name: str
    version: str
    wheel: RemoteFile | None = None
    sdist: RemoteFile | None = None
    git: GitSource | None = None
    address: str | None = None  # where it has one of its own


class Resolution(Value, frozen=True, kw_only=True):
    """All candidates, and the directories of local projects, absolute."""

    candidates: tuple[Candidate, ...]
    directories: tuple[str, ...] = ()
    from_cache: bool = False  # the index did not answer; what uv knew of it was enough


def read_answer(printed: str, cwd: str, base: BaseImage, wanted: Wanted) -> Resolution:
    """The candidates that uv names, the files among them that fit.

    Args:
        printed: uv's answer, a pylock.toml.
        cwd: where uv ran.
        base: the image that the packages must fit.
        wanted: what was asked for; its lines may allow certain files only.

    Raises:
        LockFailed: the answer is none, or no file of a package fits.
    """
    allowed = _allowed(wanted)
    found = parse_toml(printed, "uv's answer")
    candidates, directories = [], []
    try:
        for package in found.get("packages", ()):
            if "directory" in package:
                path = os.path.join(cwd, package["directory"]["path"])
                directories.append(os.path.normpath(path))
            else:
                candidates.append(_candidate(package, cwd, base, allowed))
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:  # an index has its part in it
        raise LockFailed(f"uv's answer is no lock as pylock.toml has it: {error!r}") from error
    return Resolution(candidates=tuple(candidates), directories=tuple(directories))


def _candidate(
    package: dict[str, Any], cwd: str, base: BaseImage, allowed: Mapping[str, set[str]]
) -> Candidate:
    name, version = normal_name(package["name"]), package.get("version", "")
    if "vcs" in package:
        return Candidate(name=name, version=version, git=_git(package["vcs"]))
    if "archive" in package:
        file = _file(package["archive"], cwd)
        wheel = file if file.name.endswith(".whl") else None
        sdist = None if wheel else file
        return Candidate(name=name, version=version, address=file.url, wheel=wheel, sdist=sdist)
    wheels = [_file(found, cwd) for found in package.get("wheels", ())]
    sdist = _file(package["sdist"], cwd) if "sdist" in package else None
    wanted = allowed.get(name)
    wheel = best_wheel([w for w in wheels if not wanted or w.sha256 in wanted], base)
    if wheel:
        return Candidate(name=name, version=version, wheel=wheel)
    if sdist and (not wanted or sdist.sha256 in wanted):
        return Candidate(name=name, version=version, sdist=sdist)
    raise LockFailed(_no_file(name, version, [*wheels, *([sdist] if sdist else [])], base))


def _git(found: dict[str, Any]) -> GitSource:
    if found.get("type") != "git":
        raise UsageError(
            f"{found.get('url')} is a {found.get('type')} repository; only git's are known."
        )
    return GitSource(
        url=found["url"], commit=found["commit-id"], subdirectory=found.get("subdirectory", "")
    )


def _file(found: dict[str, Any], cwd: str) -> RemoteFile:
    url = found.get("url") or "file://" + os.path.normpath(os.path.join(cwd, found["path"]))
    name = found.get("name") or os.path.basename(_unquoted(url))
    sha256 = found.get("hashes", {}).get("sha256")
    if sha256 is None:
        raise LockFailed(f"{name}: the index gives no sha256 for it, so it can't be locked.")
    return RemoteFile(name=name, sha256=sha256, url=url, size=found.get("size"))


def _unquoted(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path)


def _allowed(wanted: Wanted) -> dict[str, set[str]]:
    """name -> the hashes that its lines allow, where they name any."""
    return {
        normal_name(line): {value.lower() for value in _HASH.findall(line)}
        for line in wanted.lines
        if "--hash" in line
    }


def _no_file(name: str, version: str, offered: list[RemoteFile], base: BaseImage) -> str:
    files = ", ".join(f"{file.name} with sha256 {file.sha256}" for file in offered[:3])
    return (
        f"{name} {version}: the index has {files}; none of them is allowed by the hashes of the "
        f"lock and fits Python {base.python_minor} on {base.machine} with {base.libc}. The lock "
        "was edited or made for another platform, or the index serves another file."
    )


def normal_name(requirement: str) -> str:
    """The name that a requirement starts with, as indexes compare it (PEP 503)."""
    match = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""
