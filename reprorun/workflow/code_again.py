"""The code of a re-run: from the record's launch archive, or from the commit in a repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from urllib.parse import urlsplit

import msgspec

from reprorun import files
from reprorun.environment.credentials import strip
from reprorun.environment.source import check_out
from reprorun.errors import LockFailed, RecordError
from reprorun.extract import extract
from reprorun.launch_archive import ArchiveLimits, guarded
from reprorun.model import Code, GitSource
from reprorun.probe.code import find_code
from reprorun.workflow.original import Original


class CodeAgain:
    """The code that is run again.

    Args:
        code: as the new record has it.
        archive: the launch archive to take as it is; None: one is made of the code.
        roots: directories in which inputs of the working tree may lie.
    """

    def __init__(
        self, code: Code, archive: str | None, unpacked: _Unpacked | None, roots: tuple[str, ...]
    ) -> None:
        self.code = code
        self.archive = archive
        self.roots = roots
        self._unpacked = unpacked

    def tree(self) -> Code:
        """The code with a root on this host that holds its files."""
        return self._unpacked.code if self._unpacked else self.code


class _Unpacked:
    """The files of an archive, unpacked when somebody first asks for them."""

    def __init__(self, original: Original, limits: ArchiveLimits, scratch: str) -> None:
        self._original = original
        self._limits = limits
        self._scratch = scratch

    @cached_property
    def code(self) -> Code:
        with guarded(self._original.archive, self._limits, links_out=None) as tar:
            extract(tar, self._scratch)
        return msgspec.structs.replace(self._original.code, root=self._scratch, in_git=False)


@contextmanager
def code_again(
    original: Original, repo: str | None, limits: ArchiveLimits, *, offline: bool
) -> Iterator[CodeAgain]:
    """The original's code, while the block lasts.

    Args:
        original: what is run again.
        repo: the path or address of a repository to take the commit from, in place of the archive.
        limits: for the archive.
        offline: open no connection.

    Raises:
        RecordError: the commit is not known, or the repository has it not.
    """
    with files.scratch_directory() as scratch:
        if repo is None:
            unpacked = _Unpacked(original, limits, scratch)
            yield CodeAgain(original.code, original.archive, unpacked, ())
        else:
            yield _from_commit(original, repo, scratch, offline=offline)


def _from_commit(original: Original, repo: str, scratch: str, *, offline: bool) -> CodeAgain:
    commit = original.code.commit
    if commit is None:
        raise RecordError("the record names no commit, so --repo can't help. Leave it out.")
    local = os.path.isdir(repo)
    if not local and not urlsplit(repo).scheme and ":" not in repo:
        raise RecordError(f"--repo {repo}: there is no such directory, and it is no address.")
    url = os.path.abspath(repo) if local else repo
    place = os.path.join(scratch, "repository")
    try:
        check_out(GitSource(url=url, commit=commit), place, offline=offline)
    except LockFailed as error:
        raise RecordError(
            f"the commit {commit} can't be had from {strip(repo)}: {error}"
        ) from error
    code = _find_code(original.code, commit, place)
    return CodeAgain(code, None, None, (place, url) if local else (place,))


def _find_code(recorded: Code, commit: str, place: str) -> Code:
    """The code of a checkout; its links may lead anywhere on this host."""
    launcher = _inside(place, recorded.launcher, commit)
    workdir = _inside(place, recorded.workdir, commit)
    if not os.path.isfile(launcher):
        raise RecordError(f"the commit {commit[:12]} has no launcher {recorded.launcher!r}.")
    os.makedirs(workdir, exist_ok=True)
    code = find_code(launcher, workdir)
    if code.root != os.path.realpath(place):  # a submodule that the record does not speak of
        raise RecordError(
            f"the launcher {recorded.launcher!r} is in another repository in the commit "
            f"{commit[:12]}. Leave --repo out, or name the repository that it is in."
        )
    return code


def _inside(place: str, name: str, commit: str) -> str:
    """The path of a name in a checkout.

    Raises:
        RecordError: links of the checkout lead out of it.
    """
    path, root = os.path.join(place, name), os.path.realpath(place)
    if os.path.commonpath([root, os.path.realpath(path)]) != root:
        raise RecordError(
            f"{name!r} leads out of the repository in the commit {commit[:12]}, by a link. Leave "
            "--repo out to take the code from the archive."
        )
    return path
