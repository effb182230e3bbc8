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
from reprorun.model import (
    WORKSPACE,
    Archive,
    BaseImage,
    Code,
    LeftOut,
    Record,
    SchemaMark,
    Source,
    Value,
)
from reprorun.render import SYSTEM_PACKAGE

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_ADDRESS = re.compile(r"(https?|ssh|file)://[^\s$]+")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_REFERENCE = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!-]*")  # of a package
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ONE_LINE = re.compile(r"[^\n\0]*")
_PRINTABLE = re.compile(r"[ -~]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


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
    _check(record)
    _check_payloads(log_dir, record)
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


# ---------------------------------------------------------------- what the record says


def _check(record: Record) -> None:
    """Refuse what could mean something else to a tool that it is handed to."""
    if not record.isolated:
        raise RecordError(
            "the record was made without a container: nothing kept its run from what else is on "
            "that machine. Run its launcher with `reprorun exec` first."
        )
    if not record.argv or not record.command:
        raise RecordError("the record does not say what ran: it has no argv or command.")
    _refuse_paths("cwd", [record.cwd])
    _refuse_paths("import path", record.import_paths)
    _refuse_paths("launcher", [record.launcher.lstrip("/")])
    _refuse_unlike(_VARIABLE, "variable", record.environment)
    _refuse_unlike(_SECRET, "secret", record.secrets)
    if record.archive:
        _refuse_unlike(_SHA256, "archive digest", [record.archive.sha256])
    if GUEST_VARIABLE in record.environment:
        raise RecordError(f"the record sets {GUEST_VARIABLE}, which reprorun itself sets.")
    _refuse_unlike(_COMMIT, "commit", [(record.githash or "0000000").removesuffix("-dirty")])
    for package in record.packages:
        _refuse_unlike(_NAME, "package", [package.name])
        _refuse_unlike(_VERSION, "version", [package.version])
        _refuse_unlike(_ADDRESS, "address", filter(None, [package.address]))
        _check_file("wheel", package.wheel.name, package.wheel.sha256)
        if package.source:
            _check_source(package.source)
    if record.base_image:
        _check_base(record.base_image)
    _refuse_outside("path left out", (entry.path.rstrip("/") for entry in record.left_out))
    _refuse_outside("submodule", (entry.path for entry in record.submodules))
    numbers = record.limits.pids, record.limits.memory, record.limits.cpus, record.limits.timeout
    if any(n is not None and n <= 0 for n in (*numbers, record.limits.shm_size)):
        raise RecordError("the record has a limit that is not above zero.")


def _check_file(what: str, name: str, sha256: str) -> None:
    """Both become part of paths in the cache."""
    _refuse_unlike(_FILE, what, [name])
    _refuse_unlike(_SHA256, f"digest of a {what}", [sha256])


def _check_source(source: Source) -> None:
    if source.kind == "sdist":
        _check_file("source distribution", source.name, source.sha256)
        return
    _refuse_unlike(_COMMIT, "commit", [source.commit])
    _refuse_paths("subdirectory", filter(None, [source.subdirectory]))
    _refuse_unlike(_PRINTABLE, "subdirectory", [source.subdirectory])


def _check_base(base: BaseImage) -> None:
    _refuse_unlike(SYSTEM_PACKAGE, "system package", base.apt)
    if base.dockerfile:  # it is built with the files beside it: never those of this host
        _refuse_paths("Dockerfile", [base.dockerfile])
    _refuse_unlike(_REFERENCE, "base image", filter(None, (base.ref, base.id, base.repo_digest)))
    about = (base.digest, base.python, base.executable, base.machine, base.libc, base.path)
    _refuse_unlike(_PRINTABLE, "base image", about)


def _refuse_unlike(pattern: re.Pattern[str], what: str, texts: Iterable[str]) -> None:
    for text in texts:
        if not pattern.fullmatch(text):
            raise RecordError(f"the record has the {what} {_shown(text)}, which can't be one.")


def _refuse_outside(what: str, paths: Iterable[str]) -> None:
    for path in paths:
        if os.path.normpath(path) != path or path.startswith(("/", "../")) or path == "..":
            raise RecordError(
                f"the record has the {what} {_shown(path)}, which is no path in its working tree."
            )


def _refuse_paths(what: str, paths: Iterable[str]) -> None:
    """Those, too, that would be two lines of a file."""
    paths = tuple(paths)
    _refuse_unlike(_ONE_LINE, what, paths)
    _refuse_outside(what, paths)


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


def _variant(log_dir: str) -> dict[str, Any]:
    path = os.path.join(log_dir, store.VARIANT_FILE)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            found = json.loads(files.read_bounded(file))
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
