"""The original of a re-run: a record that is read and checked, whoever wrote it.

A record may come from anybody: what it says is checked before anything is made of it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from reprorun import files, store
from reprorun.errors import RecordError
from reprorun.experiment.guest import VARIABLE as GUEST_VARIABLE
from reprorun.formats.garage import (
    GarageRecord,
    date_note,
    is_garage_record,
    read_garage_record,
)
from reprorun.launch_archive import ArchiveLimits, list_archive
from reprorun.model import WORKSPACE, Archive, Code, Record, SchemaMark, Value
from reprorun.render import SYSTEM_PACKAGE

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_ADDRESS = re.compile(r"(https?|ssh|file)://[^\s]+")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_REFERENCE = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Original(Value, frozen=True, kw_only=True):
    """A run that is to be run again."""

    log_dir: str
    record: Record
    code: Code  # as the archive has it; its root is where it was
    archive: str  # path
    archived: Archive
    garage: GarageRecord | None = None  # where garage wrote it

    @property
    def variant(self) -> dict[str, Any]:
        """The parameters of the wrapped function.

        Raises:
            RecordError: there are none, or those of several calls.
        """
        if self.garage:
            return self.garage.variant or {}
        return _variant(self.log_dir, self.record)


def read_original(
    log_dir: str, limits: ArchiveLimits, *, allow_links: bool = False, need_archive: bool = True
) -> Original:
    """Read a record and check all that a re-run takes from it.

    Args:
        log_dir: the record.
        limits: for its archive.
        allow_links: take links that lead out of the tree also where the record does not name them.
        need_archive: the code comes from the archive, not from a repository.

    Raises:
        RecordError: it is none, it is damaged, or it is not what it claims to be.
    """
    garage = None
    if is_garage_record(log_dir):
        garage = read_garage_record(log_dir, archive_needed=need_archive)
    record = _from_garage(garage) if garage else store.read_record(log_dir)
    _check(record)
    _check_payloads(log_dir, record)
    path = os.path.join(log_dir, store.ARCHIVE_FILE)
    if not need_archive:
        code, archived = _code(record, ()), Archive(sha256="", size=0, files=0)
    else:
        archived = _check_archive(path, record)
        links = None if allow_links else [entry.path for entry in record.left_out]
        listing = list_archive(path, limits, links_out=links)
        code = _code(record, listing.files)
        note = date_note(garage, listing.newest or 0) if garage else None
        record = msgspec.structs.replace(record, notes=(*record.notes, *([note] if note else ())))
        if code.launcher not in listing.files:
            raise RecordError(f"{path} does not hold the launcher {code.launcher!r}.")
    return Original(
        log_dir=log_dir, record=record, code=code, archive=path, archived=archived, garage=garage
    )


# ---------------------------------------------------------------- garage's


def _from_garage(found: GarageRecord) -> Record:
    """What garage's record says, as a record of ours; what it does not say stays empty."""
    return Record(
        reprorun=SchemaMark(version="garage"),
        id=found.id,
        status="finished",
        created=found.date,
        argv=(found.launcher,),
        command=("python", found.launcher),
        githash=found.githash,
        dirty=found.dirty,
        launcher=found.launcher,
        notes=found.notes,
    )


# ---------------------------------------------------------------- the archive


def _check_archive(path: str, record: Record) -> Archive:
    if os.path.islink(path) or not os.path.isfile(path):
        raise RecordError(
            f"the record has no {store.ARCHIVE_FILE}, so its code is not known. "
            "--repo PATH_OR_URL takes it from the commit."
        )
    sha256, size = files.sha256_of(path), os.path.getsize(path)
    if record.archive and record.archive.sha256 != sha256:
        raise RecordError(
            f"{path} has sha256 {sha256}, but the record was made with {record.archive.sha256}: it "
            "was changed, cut short or swapped. Take it from a copy of the record, or name the "
            "repository with --repo."
        )
    return Archive(sha256=sha256, size=size, files=record.archive.files if record.archive else 0)


def _code(record: Record, names: tuple[str, ...]) -> Code:
    in_git = not os.path.isabs(record.launcher)
    commit = record.githash.removesuffix("-dirty") if record.githash else None
    return Code(
        root=WORKSPACE if in_git else os.path.dirname(record.launcher),
        launcher=record.launcher if in_git else os.path.basename(record.launcher),
        workdir=record.cwd,
        in_git=in_git,
        commit=commit,
        dirty=record.dirty,
        files=names,
        left_out=record.left_out,
        submodules=record.submodules,
    )


# ---------------------------------------------------------------- what the record says


def _check(record: Record) -> None:
    """Refuse what could mean something else to a tool that it is handed to."""
    if not record.isolated:
        raise RecordError(
            "the record was made without a container, so what its run needed is not known. Run "
            "its launcher with `reprorun exec` first."
        )
    if not record.argv or not record.command:
        raise RecordError("the record does not say what ran: it has no argv or command.")
    _refuse_paths("cwd", [record.cwd])
    _refuse_paths("import path", record.import_paths)
    _refuse_paths("launcher", [record.launcher.lstrip("/")])
    _refuse_unlike(_VARIABLE, "variable", record.environment)
    if GUEST_VARIABLE in record.environment:
        raise RecordError(f"the record sets {GUEST_VARIABLE}, which reprorun itself sets.")
    _refuse_unlike(_COMMIT, "commit", [(record.githash or "0000000").removesuffix("-dirty")])
    for package in record.packages:
        _refuse_unlike(_NAME, "package", [package.name])
        _refuse_unlike(_VERSION, "version", [package.version])
        _refuse_unlike(_ADDRESS, "address", [package.address] if package.address else [])
        if package.source and package.source.commit:
            _refuse_unlike(_COMMIT, "commit", [package.source.commit])
    if record.base_image:
        base = record.base_image
        names = filter(None, (base.ref, base.id, base.repo_digest))
        _refuse_unlike(_REFERENCE, "base image", names)
        _refuse_unlike(SYSTEM_PACKAGE, "system package", base.apt)
    numbers = record.limits.memory, record.limits.cpus, record.limits.timeout
    if any(n is not None and n <= 0 for n in (*numbers, record.limits.shm_size)):
        raise RecordError("the record has a limit that is not above zero.")


def _refuse_unlike(pattern: re.Pattern[str], what: str, texts: Iterable[str]) -> None:
    for text in texts:
        if not pattern.fullmatch(text):
            raise RecordError(f"the record has the {what} {_shown(text)}, which can't be one.")


def _refuse_paths(what: str, paths: Iterable[str]) -> None:
    for path in paths:
        parts = path.split("/")
        if path.startswith("/") or ".." in parts or not path or {"\n", "\0"} & set(path):
            raise RecordError(
                f"the record has the {what} {_shown(path)}, which is no path in its working tree."
            )


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:77] + "...")


def _check_payloads(log_dir: str, record: Record) -> None:
    for payload in record.payloads:
        path = os.path.join(log_dir, payload.path)
        if payload.path not in store.PAYLOADS:
            raise RecordError(f"the record has the payload {_shown(payload.path)}, which is none.")
        there = os.path.isfile(path) and not os.path.islink(path)
        if not there or files.sha256_of(path) != payload.sha256:
            raise RecordError(f"{path} is missing or not what the run was given.")


# ---------------------------------------------------------------- parameters


def _variant(log_dir: str, record: Record) -> dict[str, Any]:
    path = os.path.join(log_dir, store.VARIANT_FILE)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            found = json.loads(file.read())
    except FileNotFoundError as error:
        raise RecordError(f"{log_dir} has no {store.VARIANT_FILE}: no parameters known.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise RecordError(f"{path} holds no object with parameters.")
    if len(record.sub_records) > 1:
        raise RecordError(
            f"the record has {len(record.sub_records)} calls of wrapped functions, each with its "
            f"own parameters. Name one of them: {os.path.join(log_dir, record.sub_records[0])}."
        )
    return found
