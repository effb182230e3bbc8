"""The launch of a record once more, as far as the host itself can tell: no engine yet."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from reprorun import store
from reprorun.errors import UsageError
from reprorun.experiment.repository import RepositoryError, find_root
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import WORKSPACE, Changes, InputFile, Requirements, RunSpec
from reprorun.probe.inputs import find_inputs, named_inputs
from reprorun.probe.relocate import find_again
from reprorun.workflow.again import recorded_requirements, requirements_again
from reprorun.workflow.changes import name_of, respecify
from reprorun.workflow.code_again import CodeAgain, code_again
from reprorun.workflow.gather import as_of_date
from reprorun.workflow.opened import Opened
from reprorun.workflow.original import Original, read_original
from reprorun.workflow.report import Reporter
from reprorun.workflow.sources import Sources, notes_on_left_out, refuse_what_engines_change

_SILENT = (
    "files of 8 MiB and more are not in the archive, and the record does not name them; --repo "
    "brings those of the commit, --input-root DIR with --input DIR/PATH others"
)


class Launch(NamedTuple):
    """What is run again, and how."""

    original: Original
    spec: RunSpec
    sources: Sources
    again: CodeAgain
    changes: Changes

    @property
    def resolves(self) -> bool:
        """Whether the packages are chosen anew, by the files of the code or a lock named now."""
        return self.original.garage is not None or bool(self.spec.lock or self.spec.as_of)


@contextmanager
def launch_again(
    place: Opened, path: str, changes: Changes, cwd: str, limits: ArchiveLimits, report: Reporter
) -> Iterator[Launch]:
    """Read a record and find all that its run was given, while the block lasts.

    Args:
        place: the record, opened.
        path: what the user named.
        changes: what to do otherwise.
        cwd: the working directory, absolute.
        limits: for the archive.
        report: told what it is.

    Raises:
        RecordError: the record is not what it claims to be, or an input can't be had.
        UsageError: the changes contradict it.
    """
    original = read_original(
        place.log_dir,
        limits,
        allow_links=changes.allow_links,
        need_archive=changes.repo is None,
    )
    report.step("re-run of", _described(original))
    _check_lock(changes, cwd)
    with code_again(original, changes.repo, limits, offline=changes.offline) as again:
        payloads = _payloads(original, changes)
        spec = respecify(
            original.record, original.code.launcher, changes, cwd, payloads, name_of(path)
        )
        spec = _dated(spec, original, again)
        inputs = _inputs(place, original, changes, cwd, again)
        refuse_what_engines_change(spec, again.code, inputs)
        sources = Sources(
            code=again.code,
            requirements=Requirements(),
            inputs=inputs,
            notes=_notes(original, again),
            archive=again.archive,
            archive_sha256=original.archived.sha256,
            foreign=True,
            given=tuple(changes.env),
        )
        launch = Launch(original, spec, sources, again, changes)
        requirements = (
            requirements_again(spec, again)
            if launch.resolves
            else recorded_requirements(original.record)
        )
        notes = (*sources.notes, *(requirements.notes if launch.resolves else ()))
        whole = msgspec.structs.replace(sources, requirements=requirements, notes=notes)
        yield launch._replace(sources=whole)


def _check_lock(changes: Changes, cwd: str) -> None:
    if changes.lock and not os.path.isfile(os.path.join(cwd, changes.lock)):
        raise UsageError(f"--lock {changes.lock}: there is no such file.")


def _described(original: Original) -> str:
    record = original.record
    which = f"commit {record.githash[:12]}" if record.githash else "no commit"
    dirty = " with uncommitted changes" if record.dirty else ""
    made = f"garage, {record.created}" if original.garage else record.created[:10]
    return f"{shlex.join(record.argv)} ({made}, {which}{dirty})"


def _notes(original: Original, again: CodeAgain) -> tuple[str, ...]:
    """What is not as complete as it may seem: the other notes of a record were of its own run."""
    if original.garage is None:
        return tuple(notes_on_left_out(again.code))
    return original.record.notes if again.archive is None else (*original.record.notes, _SILENT)


def _dated(spec: RunSpec, original: Original, again: CodeAgain) -> RunSpec:
    """With the day whose packages are meant as a date: garage's records have no lock."""
    if spec.as_of == "commit" and again.archive:
        raise UsageError(
            "--as-of commit: a record does not say when its commit was made. Name the repository "
            f"with --repo, or a date, such as {original.record.created[:10]}."
        )
    if spec.as_of:
        return msgspec.structs.replace(spec, as_of=as_of_date(spec, again.code))
    if original.garage and not spec.lock:
        return msgspec.structs.replace(spec, as_of=original.garage.date)
    return spec


# ---------------------------------------------------------------- what the run is given


def _payloads(original: Original, changes: Changes) -> dict[str, bytes]:
    """Files for the log directory: those of the original, or the parameters of a function.

    What -P gives comes over these in the container, as everywhere.
    """
    if changes.function:
        return {store.FUNCTION_FILE: json.dumps(original.variant).encode()}
    found = {}
    for name in sorted(store.PAYLOADS):
        path = os.path.join(original.log_dir, name)
        if original.garage is None and os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as file:
                found[name] = file.read()
    return found


def _inputs(
    place: Opened, original: Original, changes: Changes, cwd: str, again: CodeAgain
) -> tuple[InputFile, ...]:
    """The record's inputs as they are found now, those of the commit, and what is named now."""
    roots = _roots(changes, cwd)
    named = named_inputs(changes.inputs, cwd, _root_of_inputs(roots, changes, cwd, again))
    large = find_inputs((), cwd, again.code) if changes.repo else ()  # else they are recorded
    more = tuple({entry.target: entry for entry in (*large, *named)}.values())
    known = {entry.target for entry in more}
    recorded = [entry for entry in original.record.inputs if entry.target not in known]
    if not recorded:
        return more
    places = (*roots, *again.roots, *_repository_around(place.log_dir))
    return (*find_again(recorded, places, place.inputs(original.record)), *more)


def _roots(changes: Changes, cwd: str) -> tuple[str, ...]:
    roots = tuple(os.path.abspath(os.path.join(cwd, root)) for root in changes.input_roots)
    for root, named in zip(roots, changes.input_roots, strict=True):
        if not os.path.isdir(root):
            raise UsageError(f"--input-root {named}: there is no such directory.")
    return roots


def _root_of_inputs(roots: tuple[str, ...], changes: Changes, cwd: str, again: CodeAgain) -> str:
    """What new inputs are placed by: below it they appear at their place in the working tree."""
    paths = [os.path.realpath(os.path.join(cwd, path)) for path in changes.inputs]
    for root in (*roots, *again.roots, *_repository_around(cwd)):
        if any(path.startswith(f"{os.path.realpath(root)}/") for path in paths):
            return os.path.realpath(root)
    return WORKSPACE


def _repository_around(log_dir: str) -> tuple[str, ...]:
    """The repository that the record lies in: it may have moved, its large files with it."""
    try:
        root = find_root(log_dir)
    except RepositoryError:  # not ours to read
        return ()
    return () if root is None else (root,)
