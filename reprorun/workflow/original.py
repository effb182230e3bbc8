"""The original of a re-run: a record that is read and checked, whoever wrote it.

A record may come from anybody: what it says is checked before anything is made of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import msgspec

from reprorun import files, store
from reprorun.errors import RecordError
from reprorun.formats.garage import (
    GarageRecord,
    date_note,
    is_garage_record,
    read_garage_record,
)
from reprorun.json_text import refuse_too_many
from reprorun.launch_archive import ArchiveLimits, list_archive
from reprorun.model import WORKSPACE, Archive, Code, LeftOut, Record, SchemaMark, Value
from reprorun.workflow.vetting import vet


class Original(Value, frozen=True, kw_only=True):
    """A run that is to be run again."""

    log_dir: str
    record: Record
    code: Code  # as the archive has it; its root is where it was
    archive: str  # path
    archived: Archive
    garage: GarageRecord | None = None  # where garage wrote it
    call: str | None = None  # directory of the call of a wrapped function that was named

    @property
    def variant(self) -> dict[str, Any]:
        """The parameters of the wrapped function.

        Raises:
            RecordError: there are none, or those of several calls.
        """
        if self.garage:
            return self.garage.variant or {}
        if self.call:
            return _variant(self.call)
        _refuse_several(self.log_dir, self.record)
        return _variant(self.log_dir)


def read_original(
    log_dir: str, limits: ArchiveLimits, *, allow_links: bool = False, need_archive: bool = True
) -> Original:
    """Read a record and check all that a re-run takes from it.

    Args:
        log_dir: the record, or the directory in it of one call of a wrapped function.
        limits: for its archive.
        allow_links: take links that lead out of the tree also where the record does not name them.
        need_archive: the code comes from the archive, not from a repository.

    Raises:
        RecordError: it is none, it is damaged, or it is not what it claims to be.
    """
    garage = call = None
    if whole := _record_around(log_dir):
        log_dir, call = whole, log_dir
    elif is_garage_record(log_dir):
        _refuse_remains(log_dir)
        garage = read_garage_record(log_dir, archive_needed=need_archive)
    record = _from_garage(garage) if garage else store.read_record(log_dir)
    vet(log_dir, record)
    path = os.path.join(log_dir, store.ARCHIVE_FILE)
    if not need_archive:
        code, archived = _code(record, ()), Archive(sha256="", size=0, files=0)
    else:
        archived = _check_archive(path, record)
        links = None if allow_links else [entry.path for entry in record.left_out]
        listing = list_archive(path, limits, links_out=links)
        code = _with_links_out(_code(record, listing.files), listing.links_out)
        note = date_note(garage, listing.newest or 0) if garage else None
        record = msgspec.structs.replace(record, notes=(*record.notes, *([note] if note else ())))
        if code.launcher not in listing.files:
            raise RecordError(f"{path} does not hold the launcher {code.launcher!r}.")
    return Original(
        log_dir=log_dir,
        record=record,
        code=code,
        archive=path,
        archived=archived,
        garage=garage,
        call=call,
    )


def _record_around(log_dir: str) -> str | None:
    """The record of ours that the directory of a call belongs to; both have garage's files."""
    place, name = os.path.split(os.path.realpath(log_dir))
    if not is_garage_record(log_dir) or not os.path.isfile(os.path.join(place, store.RUN_FILE)):
        return None
    return place if name in store.read_record(place).sub_records else None


# ---------------------------------------------------------------- garage's


def _refuse_remains(log_dir: str) -> None:
    """What is left of a record of ours is none of garage's: its packages are known, not guessed."""
    for name in (store.LOCK_FILE, store.CONSOLE_FILE, store.DOCKERFILE):
        if not os.path.lexists(os.path.join(log_dir, name)):
            return
    raise RecordError(
        f"{log_dir} has no {store.RUN_FILE}, but files that reprorun wrote beside one: it is not "
        "whole. Take it from a copy of the record."
    )


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


def _with_links_out(code: Code, links: Iterable[str]) -> Code:
    """The links that lead out are named in the new record, so that it can be run again."""
    named = {entry.path for entry in code.left_out}
    reason = "a link that leads out of the repository: what lies there is not kept"
    more = (LeftOut(path=link, reason=reason) for link in links if link not in named)
    return msgspec.structs.replace(code, left_out=(*code.left_out, *more))


# ---------------------------------------------------------------- parameters


def _variant(log_dir: str) -> dict[str, Any]:
    path = os.path.join(log_dir, store.VARIANT_FILE)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            text = files.read_bounded(file)
        refuse_too_many(text)
        found = json.loads(text)
    except FileNotFoundError as error:
        raise RecordError(f"{log_dir} has no {store.VARIANT_FILE}: no parameters known.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise RecordError(f"{path} holds no object with parameters.")
    return found


def _refuse_several(log_dir: str, record: Record) -> None:
    if len(record.sub_records) > 1:
        raise RecordError(
            f"the record has {len(record.sub_records)} calls of wrapped functions, each with its "
            f"own parameters. Name one of them: {os.path.join(log_dir, record.sub_records[0])}."
        )
