"""`reprorun show --diff`: what the launch archive of a record has that its commit hasn't."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

from reprorun import files, store
from reprorun.environment.credentials import strip
from reprorun.errors import RecordError, UsageError
from reprorun.formats.garage import is_garage_record, read_garage_record
from reprorun.launch_archive import ArchiveLimits, guarded
from reprorun.model import LeftOut, Submodule, Value
from reprorun.probe import git_objects
from reprorun.probe.git_objects import Entry
from reprorun.workflow.code_changes import CodeChange, Comparison, in_bytes

EARLIER_RUN = "log directory of an earlier run"
GARAGE_LEFT_OUT = 7 << 20  # bytes; garage kept no larger files, and said nothing of it
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_LIMITS = ArchiveLimits()


class CodeSummary(Value, frozen=True, kw_only=True):
    """What was compared with what, and what could not be."""

    commit: str
    repository: str
    changes: int
    notes: tuple[str, ...]


class _Launched(Value, frozen=True, kw_only=True):
    """What a record says of its code."""

    commit: str
    archive: str  # path
    left_out: tuple[LeftOut, ...] = ()
    submodules: tuple[Submodule, ...] = ()
    by_garage: bool = False


def compare_code(
    log_dir: str,
    repo: str | None,
    show: Callable[[CodeChange], None],
    limits: ArchiveLimits | None = None,
) -> CodeSummary:
    """Compare a record's launch archive with the commit that it was made from.

    Args:
        log_dir: the record; one of garage's will do.
        repo: path or URL of a repository that has the commit; None: the one around the record, or
            around the working directory.
        show: told each difference.
        limits: of the archive.

    Raises:
        RecordError: the record or its archive is not what it claims to be.
        UsageError: there is no commit, or no repository that has it.
    """
    launched = _read(log_dir)
    with ExitStack() as stack:
        scratch = stack.enter_context(files.scratch_directory(passing=True))
        git_dir = _find_repository(launched.commit, log_dir, repo, scratch)
        comparison = Comparison(
            there=git_objects.list_commit(git_dir, launched.commit),
            left_out=partial(_is_left_out, launched),
            read_blob=stack.enter_context(git_objects.reading_blobs(git_dir)),
            hash_name=git_objects.hash_name(git_dir),
            scratch=scratch,
        )
        tar = stack.enter_context(guarded(launched.archive, limits or _LIMITS, links_out=None))
        changes = 0
        for change in comparison.changes(tar):
            changes += 1
            show(change)
    return CodeSummary(
        commit=launched.commit,
        repository=strip(repo) if repo else _without_dot_git(git_dir),
        changes=changes,
        notes=(
            *_notes_on_left_out(comparison.skipped, launched),
            *_notes_on_submodules(comparison.submodules, launched),
        ),
    )


def _without_dot_git(git_dir: str) -> str:
    return os.path.dirname(git_dir) if os.path.basename(git_dir) == ".git" else git_dir


# ---------------------------------------------------------------- the record


def _read(log_dir: str) -> _Launched:
    if is_garage_record(log_dir):
        return _read_garage(log_dir)
    record = store.read_record(log_dir)
    archive = os.path.join(log_dir, store.ARCHIVE_FILE)
    if os.path.islink(archive) or not os.path.isfile(archive):
        raise RecordError(f"{log_dir} has no {store.ARCHIVE_FILE}: there is nothing to compare.")
    if record.archive and files.sha256_of(archive) != record.archive.sha256:
        raise RecordError(
            f"{archive} is not the archive that the record was made with: its sha256 is another. "
            "Take it from a copy of the record."
        )
    return _Launched(
        commit=_checked(record.githash and record.githash.removesuffix("-dirty"), log_dir),
        archive=archive,
        left_out=record.left_out,
        submodules=record.submodules,
    )


def _read_garage(log_dir: str) -> _Launched:
    found = read_garage_record(log_dir)
    archive = os.path.join(log_dir, store.ARCHIVE_FILE)
    return _Launched(commit=_checked(found.commit, log_dir), archive=archive, by_garage=True)


def _checked(commit: str | None, log_dir: str) -> str:
    if not commit:
        raise UsageError(f"{log_dir} names no commit: its code was in no git repository.")
    if not _COMMIT.fullmatch(commit):
        raise RecordError(f"{log_dir} names {commit!r} as its commit, which is none.")
    return commit


# ---------------------------------------------------------------- the repository


def _find_repository(commit: str, log_dir: str, repo: str | None, scratch: str) -> str:
    """The git directory of a repository that has the commit."""
    if repo is not None:
        git_dir = _named(repo, scratch)
        if git_objects.has_commit(git_dir, commit):
            return git_dir
        raise UsageError(
            f"--repo {strip(repo)} has no commit {commit}. Fetch it there, or name another."
        )
    for directory in (os.path.realpath(log_dir), os.getcwd()):
        found = git_objects.find_git_dir(directory)
        if found and git_objects.has_commit(found, commit):
            return found
    raise UsageError(
        f"no repository here has the commit {commit}: neither one around the record nor one around "
        "the working directory. Name one with --repo PATH_OR_URL."
    )


def _named(repo: str, scratch: str) -> str:
    if os.path.isdir(repo):
        git_dir = git_objects.find_git_dir(repo)
        if git_dir is None:
            raise UsageError(f"--repo {repo} is in no git repository.")
        return git_dir
    if "://" not in repo and not re.match(r"[^/:]+:(?!:)", repo):  # HOST:PATH, as ssh has it
        raise UsageError(f"--repo {repo}: there is no such directory, and it is no address.")
    return git_objects.clone(repo, os.path.join(scratch, "clone"), strip(repo))


# ---------------------------------------------------------------- what is not compared


def _is_left_out(launched: _Launched, path: str, entry: Entry) -> bool:
    """Whether the archive is without a file on purpose."""
    if launched.by_garage:
        return entry.size > GARAGE_LEFT_OUT
    return any(_covers(out.path, path) for out in launched.left_out)


def _covers(left_out: str, path: str) -> bool:
    return path.startswith(left_out) if left_out.endswith("/") else path == left_out


def _notes_on_left_out(skipped: list[str], launched: _Launched) -> Iterator[str]:
    if launched.by_garage:
        for path in skipped:
            yield f"{path} is not compared: garage kept no files that large"
    runs = []
    for out in launched.left_out:
        if not any(_covers(out.path, path) for path in skipped):
            continue
        if out.reason == EARLIER_RUN:
            runs.append(out.path)
        else:
            size = f", {in_bytes(out.size)}" if out.size is not None else ""
            yield f"{out.path}{size}, is not compared; it was left out: {out.reason}"
    if runs:
        yield f"log directories of earlier runs are not compared: {', '.join(runs)}"


def _notes_on_submodules(submodules: dict[str, str], launched: _Launched) -> Iterator[str]:
    had = {entry.path: entry.commit for entry in launched.submodules}
    for path, commit in sorted(submodules.items()):
        now = had.get(path)
        if launched.by_garage:
            state = f"at {commit} in the commit, unknown in the run"
        elif now == commit:
            state = f"at {commit}, as in the commit"
        else:
            state = f"at {commit} in the commit, {f'at {now}' if now else 'absent'} in the run"
        yield f"the files of the submodule {path} are not compared; it is {state}"
