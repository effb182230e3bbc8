"""Source trees of packages: unpacked from a distribution or checked out, as layers of a container.

Nothing in them is run here; a source distribution is read as a tar or zip, never unpacked to disk.
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from reprorun import files
from reprorun.environment import tar
from reprorun.environment.credentials import strip
from reprorun.environment.tar import Entry
from reprorun.errors import LockFailed, UsageError
from reprorun.model import WORKSPACE, GitSource, Value
from reprorun.toml import parse_toml

PLACE = f"{WORKSPACE}/source"
LARGEST = 512 << 20  # bytes of a source tree, unpacked; it is held in memory
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_LEGACY_BACKEND = "setuptools.build_meta:__legacy__"
_LEGACY_REQUIRES = ("setuptools>=40.8.0", "wheel")


class BuildSystem(Value, frozen=True, kw_only=True):
    """How a source tree wants to be built (PEP 518)."""

    requires: tuple[str, ...] = _LEGACY_REQUIRES
    backend: str = _LEGACY_BACKEND
    backend_path: tuple[str, ...] = ()


class SourceTree(Value, frozen=True, kw_only=True):
    """A source tree as it will lie in the container."""

    entries: tuple[Entry, ...]
    system: BuildSystem
    directory: str  # absolute, in the container: what is built


def from_distribution(path: str) -> SourceTree:
    """The tree in a source distribution.

    Raises:
        LockFailed: it is none, or holds a path that leads out of it.
    """
    name = os.path.basename(path)
    found = _zip_entries(path) if name.endswith(".zip") else _tar_entries(path)
    try:
        entries = _measured(found, name)
    except (tarfile.TarError, *tar.DAMAGE) as error:
        why = str(error).partition("\n")[0].rstrip(":")
        raise LockFailed(f"{name} is no source distribution: {why}") from error
    tops = {entry.path.split("/", 1)[0] for entry in entries}
    if len(tops) != 1:
        raise LockFailed(f"{name} is no source distribution: it holds {len(tops)} directories.")
    return _tree(entries, tops.pop(), name)


def from_git(source: GitSource, *, offline: bool) -> SourceTree:
    """The tree of a commit, with the repository's own files, which some builds ask for a version.

    Raises:
        LockFailed: it can't be had.
    """
    with files.scratch_directory(passing=True) as scratch:
        check_out(source, os.path.join(scratch, "source"), offline=offline)
        entries = _measured(_directory_entries(scratch), strip(source.url))
    without = [_without_login(entry, source.url) for entry in entries]
    return _tree(without, posixpath.join("source", source.subdirectory), strip(source.url))


def check_out(source: GitSource, place: str, *, offline: bool) -> None:
    """Clone a repository and check out a commit, submodules included.

    Args:
        source: its address, or the path of a repository on this host.
        place: the directory to make.
        offline: open no connection.

    Raises:
        LockFailed: it can't be had.
    """
    url, local = source.url, os.path.isabs(source.url) or source.url.startswith("file:")
    if offline and not local:
        raise LockFailed(f"{strip(url)} has to be fetched, and --offline opens no connection.")
    if not _COMMIT.fullmatch(source.commit):
        raise LockFailed(f"{strip(url)}: {source.commit!r} is no git commit.")
    # submodules beside a local repository are the user's too, but no command that it names is run
    variables = {"GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"} if local else {}
    git = partial(_git, address=url, variables=variables)
    inside = ["-C", place]
    git("clone", "--quiet", "--no-checkout", "--", url, place)
    git(*inside, "checkout", "--quiet", "--detach", source.commit)
    git(*inside, "submodule", "--quiet", "update", "--init", "--recursive")


def _git(*words: str, address: str, variables: dict[str, str]) -> None:
    # a repository that is not the user's own may bring hooks of none, and links to nowhere
    # nor name a command, or a descriptor that is open here, as the address of a submodule
    settings = ("core.hooksPath=/dev/null", "core.fsmonitor=false",
                "protocol.ext.allow=never", "protocol.fd.allow=never")  # fmt: skip
    command = ["git", *(word for each in settings for word in ("-c", each)), *words]
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
    env = {**os.environ, **quiet, **variables}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().replace(address, strip(address))
        raise LockFailed(f"{strip(address)} can't be fetched: {why}")


def _without_login(entry: Entry, url: str) -> Entry:
    """git keeps the address that it cloned from; the build must not see a login in it."""
    login = urlsplit(url).netloc.rpartition("@")[0].encode()
    if not login or "/.git/" not in entry.path:
        return entry
    data = entry.data.replace(b"//" + login + b"@", b"//")
    return entry._replace(data=data, size=len(data))


# ---------------------------------------------------------------- entries


def _measured(entries: Iterator[Entry], name: str) -> list[Entry]:
    """The entries, unless they are more than is held in memory; the last of a path counts."""
    found: dict[str, Entry] = {}
    size = 0
    for entry in entries:
        size += entry.size
        if size > LARGEST:
            raise LockFailed(f"{name} holds more than {LARGEST >> 20} MiB of source.")
        found.pop(entry.path, None)
        found[entry.path] = entry
    return list(found.values())


def _tree(entries: list[Entry], top: str, name: str) -> SourceTree:
    top = posixpath.normpath(top)
    if not any(entry.path.startswith(f"{top}/") for entry in entries):
        raise LockFailed(f"{name} has no directory {top.partition('/')[2]!r}, or an empty one.")
    project = next((e.data for e in entries if e.path == f"{top}/pyproject.toml"), None)
    placed = [entry._replace(path=f"{PLACE}/{entry.path}") for entry in entries]
    return SourceTree(
        entries=tuple(_open_to_all(tar.with_parents(placed))),
        system=_build_system(project, name),
        directory=f"{PLACE}/{top}",
    )


def _open_to_all(entries: list[Entry]) -> Iterator[Entry]:
    """The build runs as a user without rights and writes into the tree."""
    for entry in entries:
        below = entry.path.startswith(PLACE.lstrip("/"))
        if below and entry.kind == tarfile.DIRTYPE:
            yield entry._replace(mode=0o777)
        elif below and entry.kind == tarfile.REGTYPE:
            yield entry._replace(mode=entry.mode | 0o666)
        elif entry.path == WORKSPACE.lstrip("/"):
            yield entry._replace(mode=0o777)
        else:
            yield entry


def _tar_entries(path: str) -> Iterator[Entry]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isdir():
                if posixpath.normpath(member.name) != ".":
                    yield tar.directory(_inside(member.name))
            elif member.issym():
                yield tar.link(_inside(member.name), member.linkname)
            elif content := archive.extractfile(member):  # a file, or another name of one
                mode = 0o755 if member.mode & 0o100 else 0o644
                yield tar.file(_inside(member.name), content.read(LARGEST + 1), mode)


def _zip_entries(path: str) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = _inside(member.orig_filename)
            if member.filename.endswith("/"):
                yield tar.directory(name)
                continue
            mode = 0o755 if (member.external_attr >> 16) & 0o100 else 0o644
            with archive.open(member) as content:
                yield tar.file(name, content.read(LARGEST + 1), mode)


def _directory_entries(root: str) -> Iterator[Entry]:
    for directory, below, names in os.walk(root):
        below.sort()
        for name in sorted(
            [*names, *(d for d in below if os.path.islink(os.path.join(directory, d)))]
        ):
            path = os.path.join(directory, name)
            inside = os.path.relpath(path, root)
            if os.path.islink(path):
                yield tar.link(inside, os.readlink(path))
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    mode = 0o755 if os.fstat(file.fileno()).st_mode & 0o100 else 0o644
                    yield tar.file(inside, file.read(), mode)


def _inside(name: str) -> str:
    place = posixpath.normpath(name)
    if place.startswith(("/", "../")) or place in ("..", ".") or "\0" in name:
        raise LockFailed(
            f"a source distribution holds {name!r}, which leads out of it. It is not built."
        )
    return place


# ---------------------------------------------------------------- how it is built


def _build_system(project: bytes | None, name: str) -> BuildSystem:
    if project is None:
        return BuildSystem()
    found: Any = parse_toml(project.decode("utf-8", "replace"), f"pyproject.toml of {name}")
    table = found.get("build-system")
    if table is None:
        return BuildSystem()
    if not isinstance(table, dict):
        raise UsageError(f"pyproject.toml of {name}: its build-system is no table.")
    requires: Any = table.get("requires")
    backend = table.get("build-backend", _LEGACY_BACKEND)
    paths = table.get("backend-path", [])
    if not _are_texts(requires) or not isinstance(backend, str) or not _are_texts(paths):
        raise UsageError(f"pyproject.toml of {name}: its [build-system] is not what belongs there.")
    return BuildSystem(requires=tuple(requires), backend=backend, backend_path=tuple(paths))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
