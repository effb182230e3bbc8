"""The files and commits that lock files name: wheels, source distributions, git repositories."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.line import file_name
from reprorun.formats.poetry import git_url
from reprorun.model import GitSource, RemoteFile

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def sha256_in(digest: Any, place: str) -> str:
    """The hex digits of `sha256:...`.

    Raises:
        UsageError: it is another digest, or none.
    """
    found = re.fullmatch(r"sha256:([0-9a-fA-F]{64})", digest) if isinstance(digest, str) else None
    if not found:
        raise UsageError(f"{place}: {digest!r} is no sha256 of a file. Make the lock anew.")
    return found[1].lower()


def remote_file(url: str, digest: Any, size: Any, place: str, name: str = "") -> RemoteFile:
    """A file with an address."""
    return RemoteFile(
        name=name or file_name(url),
        sha256=sha256_in(digest, place),
        url=url,
        size=size if isinstance(size, int) else None,
    )


def local_file(root: str, base: str, path: str, digest: Any, place: str) -> RemoteFile:
    """A file in the repository, as a `file:` address.

    Raises:
        UsageError: there is none, or it lies outside.
    """
    return remote_file(local_url(root, base, path, place), digest, None, place)


def local_url(root: str, base: str, path: str, place: str) -> str:
    """The `file:` address of a file in the repository.

    Raises:
        UsageError: there is none, or it lies outside.
    """
    inside = _inside(root, base, path, place)
    if not tree.is_file(root, inside):
        raise UsageError(f"{place}: there is no {inside}.")
    return "file://" + quote(os.path.normpath(os.path.join(root, inside)))


def _inside(root: str, base: str, path: str, place: str) -> str:
    inside = tree.relative(root, os.path.join(base, path))
    if inside is None:
        raise UsageError(
            f"{place}: {path} lies outside the repository, so a record could not hold it. "
            "Move it inside and make the lock anew."
        )
    return inside


def local_directory(root: str, base: str, path: str, place: str) -> str:
    """A directory in the repository, relative to the root.

    Raises:
        UsageError: there is none, or it lies outside.
    """
    inside = _inside(root, base, path, place)
    if not tree.is_directory(root, inside):
        raise UsageError(f"{place}: there is no directory {inside}.")
    return inside


def git_source(url: str, commit: Any, subdirectory: Any, place: str) -> GitSource:
    """A commit of a repository.

    Raises:
        UsageError: it is no full commit.
    """
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise UsageError(f"{place}: {commit!r} is no commit of {url}. Make the lock anew.")
    below = subdirectory if isinstance(subdirectory, str) else ""
    return GitSource(url=git_url(url.removeprefix("git+")), commit=commit, subdirectory=below)


def git_line(location: str, place: str) -> GitSource:
    """A commit as a requirement line names it: `git+URL@COMMIT#subdirectory=...`."""
    address, _, fragment = location.removeprefix("git+").partition("#")
    url, _, commit = address.rpartition("@")
    below = parse_qs(fragment).get("subdirectory", [""])[0]
    return git_source(url, commit, below, place)


def uv_git(location: str, place: str) -> GitSource:
    """A commit as uv.lock names it: `URL?rev=...&subdirectory=...#COMMIT`."""
    try:
        pieces = urlsplit(location)
    except ValueError as error:
        raise UsageError(f"{place}: {location!r} is no address: {error}.") from error
    url = urlunsplit((pieces.scheme, pieces.netloc, pieces.path, "", ""))
    below = parse_qs(pieces.query).get("subdirectory", [""])[0]
    return git_source(url, pieces.fragment, below, place)


def is_pypi(url: str) -> bool:
    """Whether an index is the usual one, which locks name and a mirror may stand in for."""
    return re.match(r"https?://(?:www\.)?pypi\.(?:python\.)?org(?:/|$)", url) is not None
