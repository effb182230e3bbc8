"""`reprorun pack`: a record with all that a re-run needs, in one file.

record -> checked files, inputs, base image, wheels -> pack
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import reprorun
from reprorun import files
from reprorun.engine import Engine
from reprorun.engine.images import describe, read_saved
from reprorun.environment.fetch import fetch_whole
from reprorun.errors import EngineError, ImageMissing, LockFailed, RecordError, UsageError
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import (
    BaseImage,
    Image,
    InputFile,
    LeftOut,
    Lock,
    Record,
    RemoteFile,
    SchemaMark,
    Value,
)
from reprorun.pack.contents import FoundFile, check_record, record_files
from reprorun.pack.filling import add_files, add_inputs, add_wheels
from reprorun.pack.format import SCHEMA, Index, StoredImage
from reprorun.pack.writing import Writer, writing
from reprorun.probe.relocate import find_again
from reprorun.workflow.base import image_digest
from reprorun.workflow.code_again import code_again
from reprorun.workflow.gather import Connect
from reprorun.workflow.original import Original, read_original
from reprorun.workflow.report import Reporter
from reprorun.workflow.restore import Wish, restore_base
from reprorun.workflow.restore_lock import restore_lock

SUFFIX = ".rrpack"


class Packed(Value, frozen=True, kw_only=True):
    """A pack that was written."""

    path: str
    size: int  # bytes
    files: int  # of the record
    left_out: tuple[LeftOut, ...]  # of the record: what is no regular file
    wheels: int
    base_image: str
    layers: int
    inputs: int
    inputs_left_out: tuple[InputFile, ...]


class _Contents(Value, frozen=True, kw_only=True):
    """All that goes into a pack."""

    record: Record
    name: str
    files: tuple[FoundFile, ...]
    left_out: tuple[LeftOut, ...]
    inputs: tuple[InputFile, ...]  # as they were found
    inputs_left_out: tuple[InputFile, ...]
    base: BaseImage
    image: Image
    wheels: tuple[RemoteFile, ...]
    paths: dict[str, str]  # of the wheels, by sha256


def pack(
    path: str,
    output: str | None,
    connect: Connect,
    report: Reporter,
    *,
    inputs: bool = True,
    roots: Sequence[str] = (),
    offline: bool = False,
    force: bool = False,
    limits: ArchiveLimits | None = None,
    allow_links: bool = False,
) -> Packed:
    """Pack a record.

    Args:
        path: the record.
        output: the file to write; None: named like the record, in the current directory.
        connect: reaches the engine.
        report: told what happens.
        inputs: put them in; else the pack lists them.
        roots: directories in which inputs may lie now.
        offline: open no connection.
        force: write over a file that is there.
        limits: for the launch archive.
        allow_links: take one with links that lead out and that the record does not name.

    Returns:
        What was packed.

    Raises:
        UsageError: it can't be packed as asked; nothing was written.
        RecordError: the record, or an input, is not what it was.
        EngineError: the engine failed, something can't be had, or the disk is full.
    """
    log_dir = os.path.realpath(path)
    target = _target(output, log_dir, force=force)
    limits = limits or ArchiveLimits()
    original = _original(
        path, log_dir, limits, allow_links=allow_links
    )  # its archive and payloads are verified
    found, left_out = _checked_files(log_dir, original.record, report)
    data = _inputs(original.record, roots, report) if inputs else ()
    with (
        code_again(original, None, limits, offline=offline) as code,
        closing(connect()) as engine,
        files.cache_lock(),
    ):
        wish = Wish(offline=offline)
        base = restore_base(original.record, engine, report, wish, code.tree)
        lock = restore_lock(original.record, base, engine, report, wish, code.tree)
        contents = _Contents(
            record=original.record,
            name=os.path.basename(log_dir),
            files=found,
            left_out=left_out,
            inputs=data,
            inputs_left_out=() if inputs else original.record.inputs,
            base=base,
            image=_image(base, engine),
            wheels=_wheels(original.record, lock),
            paths=_fetched(lock, report, offline=offline),
        )
        index = _write(contents, target, engine, report)
    return _packed(target, index)


# ---------------------------------------------------------------- before anything is written


def _target(output: str | None, log_dir: str, *, force: bool) -> str:
    """Where the pack goes."""
    target = os.path.realpath(output or f"{os.path.basename(log_dir)}{SUFFIX}")
    if target.startswith(f"{log_dir}/"):
        raise UsageError(f"{target} lies in the record itself. Name another place with -o.")
    if os.path.isdir(target) or not os.path.isdir(os.path.dirname(target)):
        raise UsageError(f"{target} can't be written: -o names a file in a directory that exists.")
    if os.path.lexists(target) and not (force and os.path.isfile(target)):
        raise UsageError(f"{target} is there already. --force writes over it.")
    return target


def _original(path: str, log_dir: str, limits: ArchiveLimits, *, allow_links: bool) -> Original:
    if os.path.isfile(log_dir):
        raise UsageError(f"{path} is a file; `reprorun pack` takes a record, which is a directory.")
    original = read_original(log_dir, limits, allow_links=allow_links)
    if original.call:
        raise UsageError(f"{path} is one call of the run {original.log_dir}: pack that one.")
    if original.garage:
        raise UsageError(
            f"garage wrote the record {path}, without what its environment was. Run it again "
            "(`reprorun rerun`), then pack the new record."
        )
    status = original.record.status
    if status in ("created", "building", "running"):
        raise UsageError(f"the run of {path} is {status}: pack it when it has ended.")
    return original


def _checked_files(
    log_dir: str, record: Record, report: Reporter
) -> tuple[tuple[FoundFile, ...], tuple[LeftOut, ...]]:
    report.step("record", f"verifying {os.path.basename(log_dir)}")
    try:
        found, left_out = record_files(log_dir)
    except OSError as error:
        raise RecordError(f"{error.filename} can't be read: {error.strerror}.") from error
    check_record(found, [(output.path, output.sha256) for output in record.outputs])
    for entry in left_out:
        report.note(f"{entry.path} is left out: {entry.reason}")
    return found, left_out


def _inputs(record: Record, roots: Sequence[str], report: Reporter) -> tuple[InputFile, ...]:
    if record.inputs:
        report.step("inputs", f"verifying {len(record.inputs)}")
    try:
        return find_again(record.inputs, [os.path.abspath(root) for root in roots])
    except RecordError as error:
        raise RecordError(f"{error} --no-inputs packs the record without them.") from error


def _image(base: BaseImage, engine: Engine) -> Image:
    image = engine.image(base.id)
    if image is None:
        raise ImageMissing(f"the base image {base.ref} is no longer on the engine. Try again.")
    return image


def _wheels(record: Record, lock: Lock) -> tuple[RemoteFile, ...]:
    """The record's, and no others: a re-run looks for those."""
    there = {package.wheel.sha256 for package in lock.packages}
    gone = [p.wheel.name for p in record.packages if p.wheel.sha256 not in there]
    if gone:
        raise LockFailed(
            f"not to be had as the record has them: {', '.join(gone)}.\n"
            "Run it again (`reprorun rerun`), then pack the new record."
        )
    return tuple(package.wheel for package in lock.packages)


def _fetched(lock: Lock, report: Reporter, *, offline: bool) -> dict[str, str]:
    if lock.packages:
        report.step("packages", f"fetching or verifying {len(lock.packages)}")
    return fetch_whole(
        [package.wheel for package in lock.packages],
        offline=offline,
        progress=report.progress,
        note=report.note,
    )


# ---------------------------------------------------------------- writing


def _write(contents: _Contents, target: str, engine: Engine, report: Reporter) -> Index:
    report.step("packing", os.path.basename(target))
    with _telling(target), writing(target) as writer:
        index = Index(
            pack=SchemaMark(schema=SCHEMA, version=reprorun.__version__),
            name=contents.name,
            record=add_files(contents.files, "record", writer),
            left_out=contents.left_out,
            wheels=add_wheels(contents.wheels, contents.paths, writer),
            image=_add_image(contents, writer, engine, report),
            inputs=add_inputs(contents.inputs, writer, report.progress),
            inputs_left_out=contents.inputs_left_out,
        )
        writer.finish(index)
    return index


@contextmanager
def _telling(target: str) -> Iterator[None]:
    """Say in words what a disk refuses."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            message = f"the disk of {target} is full. Free some space, or name another with -o."
        else:
            message = f"{error.filename or target}: {error.strerror or error}"
        raise EngineError(message) from error


def _add_image(
    contents: _Contents, writer: Writer, engine: Engine, report: Reporter
) -> StoredImage:
    base, image = contents.base, contents.image
    report.progress(f"base image {base.ref}")
    numbers = iter(range(1, 1 << 20))
    config, layers = read_saved(
        engine.save(image.id),
        lambda pieces: writer.add_layer(f"image/layer-{next(numbers)}.tar.gz", pieces),
    )
    sent = tuple(layer.diff_id for layer in layers)
    if sent != image.layers or image_digest(describe(config)) != image_digest(image):
        raise EngineError(
            f"the engine saves the base image {base.ref} otherwise than it describes it. It may "
            "be damaged: remove and pull it."
        )
    return StoredImage(
        ref=base.ref,
        id=image.id,
        digest=base.digest,
        repo_digest=base.repo_digest,
        settings=writer.add_bytes("image/settings.json", config),
        layers=layers,
    )


def _packed(target: str, index: Index) -> Packed:
    return Packed(
        path=target,
        size=os.path.getsize(target),
        files=len(index.record),
        left_out=index.left_out,
        wheels=len(index.wheels),
        base_image=index.image.ref,
        layers=len(index.image.layers),
        inputs=len(index.inputs),
        inputs_left_out=index.inputs_left_out,
    )
