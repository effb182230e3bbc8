"""Bringing home what a run left: files of its working tree, the guest's report, sub-records."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from contextlib import suppress
from typing import Any

import msgspec

from reprorun import store, streams
from reprorun.engine import Engine
from reprorun.errors import EngineError, EngineUnavailable, UsageError
from reprorun.experiment import dump_json
from reprorun.extract import extract
from reprorun.files import sha256_of
from reprorun.json_text import refuse_too_many
from reprorun.model import WORKSPACE, Archive, Change, GuestReport, LeftOut, Mount

GUEST_REPORT = ".reprorun-guest.json"
LONGEST_VARIANTS = 64 << 20  # bytes, of all together; parameters are small, and are read whole
MOST_PARAMETERS = 1_000_000  # values, of all together
LONGEST_REPORT = 16 << 20  # bytes; it lists what could not be kept


def bring_out(
    engine: Engine, container: str, mounts: tuple[Mount, ...], log_dir: str
) -> tuple[LeftOut, ...]:
    """Copy what the run made or changed in its working tree into `outputs/`.

    The guest does this itself, and faster; this is for where it could not.

    Returns:
        What could not be brought out, with the reasons.

    Raises:
        UsageError: the experiment left something else in the place of `outputs/`.
    """
    changes = engine.changes(container)
    root = os.path.join(log_dir, store.OUTPUTS)
    not_kept: list[LeftOut] = []
    for path in roots_to_copy(changes, tuple(mount.target for mount in mounts)):
        _refuse_planted(root)
        os.makedirs(root, exist_ok=True)
        not_kept += _copy_out(engine, container, path, root)
    return tuple(not_kept)


def _copy_out(engine: Engine, container: str, path: str, root: str) -> list[LeftOut]:
    """Copy one path. Engines hand out no sockets, and nothing whose name is not UTF-8."""
    inside = _inside(path)
    try:
        with streams.stream_tar(engine.copy_out(container, path)) as tar:
            left_out = extract(tar, root, os.path.dirname(inside))
    except EngineUnavailable:
        raise
    except EngineError as error:
        _see_that_it_copies(engine, container)
        return [LeftOut(path=inside, reason=str(error))]
    except tarfile.TarError as error:
        raise EngineError(f"what the engine handed out of {path} broke off: {error}") from error
    if not left_out and not os.path.lexists(os.path.join(root, inside)):
        return [LeftOut(path=inside, reason="not a regular file")]
    return left_out


def _see_that_it_copies(engine: Engine, container: str) -> None:
    """Raise EngineError where it is not one file that the engine can't hand out, but anything.

    It is so while an engine shuts down, which still answers; then nothing must be given up.
    """
    for _ in engine.copy_out(container, WORKSPACE):
        return


def roots_to_copy(changes: tuple[Change, ...], mounted: tuple[str, ...]) -> tuple[str, ...]:
    """The fewest paths that hold all that a run made or changed in its working tree.

    A directory that the run made is taken whole; of one that was there before, only what is new or
    changed in it. Mounted inputs are not outputs.
    """
    made = {c.path: c.kind for c in changes if c.kind != "deleted" and _is_below(c.path, WORKSPACE)}
    # also what was deleted: where only that happened, the directory is no output as a whole
    holds_something = {os.path.dirname(change.path) for change in changes}
    holds_mount = {path for path in made if any(_is_below(m, path) for m in mounted)}
    whole = {
        path
        for path, kind in made.items()
        if path not in holds_mount and (kind == "added" or path not in holds_something)
    }
    return tuple(sorted(p for p in whole if p not in mounted and not _has_parent_in(p, whole)))


def _has_parent_in(path: str, paths: set[str]) -> bool:
    while path != WORKSPACE:
        path = os.path.dirname(path)
        if path in paths:
            return True
    return False


def _is_below(path: str, directory: str) -> bool:
    return path.startswith(directory + "/")


def _inside(path: str) -> str:
    return os.path.relpath(path, WORKSPACE)


def _refuse_planted(root: str) -> None:
    """The experiment can write in its log directory: nothing is written through its links."""
    if os.path.lexists(root) and (os.path.islink(root) or not os.path.isdir(root)):
        raise UsageError(f"the experiment left something else in the place of {root}.")


def read_guest_report(log_dir: str) -> GuestReport | None:
    """What the container's main process measured; None where it wrote nothing.

    It is written by the experiment's own user and may be anything: what does not fit is dropped.
    """
    path = os.path.join(log_dir, GUEST_REPORT)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return msgspec.json.decode(file.read(LONGEST_REPORT), type=GuestReport)
    except (OSError, ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        return None


def drop_guest_report(log_dir: str) -> None:
    """Remove it, when all that it says is in the record."""
    with suppress(OSError):
        os.unlink(os.path.join(log_dir, GUEST_REPORT))


def archive_warning(log_dir: str, archive: Archive | None) -> str | None:
    """A line for a record whose archive was written over; the experiment itself can't."""
    if archive is None or _digest(os.path.join(log_dir, store.ARCHIVE_FILE)) == archive.sha256:
        return None
    return f"{store.ARCHIVE_FILE} was changed meanwhile: it is not the code that ran"


def _digest(path: str) -> str | None:
    """Of a regular file that can be read; the experiment may have put anything in its place."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    try:
        return sha256_of(path)
    except OSError:
        return None


def find_sub_records(log_dir: str) -> tuple[str, ...]:
    """Directories that calls of wrapped functions made: one each, with its own `variant.json`."""
    return tuple(
        entry.name
        for entry in sorted(os.scandir(log_dir), key=lambda entry: entry.name)
        if entry.is_dir(follow_symlinks=False) and _is_sub_record(entry.path)
    )


def _is_sub_record(path: str) -> bool:
    wanted = (store.METADATA_FILE, store.VARIANT_FILE)
    return all(_is_regular(os.path.join(path, name)) for name in wanted)


def _is_regular(path: str) -> bool:
    """A link does not count: it was made in the container, and leads somewhere on the host."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def write_variant(log_dir: str, sub_records: tuple[str, ...], params: dict[str, Any]) -> None:
    """Write the record's `variant.json`.

    The parameters of the one call of a wrapped function; of each call, by the sub-record's name,
    where there were several; what was given with -P where there was none. What is already there
    was written by `experiment_wrapper`, which has no sub-records, and stays. Calls whose parameters
    can't be read, or are too many, have null in it; their own files are kept.
    """
    path = os.path.join(log_dir, store.VARIANT_FILE)
    variants = _read_variants(log_dir, sub_records)
    if len(variants) == 1:
        dump_json(path, next(iter(variants.values())))
    elif variants:
        dump_json(path, variants)
    elif not os.path.isfile(path) or params:
        dump_json(path, params)


def _read_variants(log_dir: str, sub_records: tuple[str, ...]) -> dict[str, Any]:
    """Those of all calls. The experiment may have written anything over them."""
    length, count = LONGEST_VARIANTS, MOST_PARAMETERS  # what is left for those that follow
    found: dict[str, Any] = dict.fromkeys(sub_records)
    for name in sub_records:
        try:
            with open(os.path.join(log_dir, name, store.VARIANT_FILE), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > length:
                    continue
                text = file.read(size)
            values = refuse_too_many(text, count)
            found[name] = json.loads(text.decode())
        except (OSError, ValueError, RecursionError):
            continue
        length, count = length - size, count - values
    return found
