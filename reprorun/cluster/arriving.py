"""Records that arrive on the submitting machine: beside their place, then in it, whole."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from reprorun import files, store
from reprorun.cluster.trees import unpack_tree
from reprorun.errors import EngineError, RecordError
from reprorun.known import remember_record
from reprorun.model import Record
from reprorun.workflow.keeper import explain


def receive_record(pieces: Iterable[bytes], log_dir: str, run_id: str) -> Record:
    """Take a record and give it its place. Nothing of it is there before all is.

    Args:
        pieces: of its tree.
        log_dir: where it goes; nothing, or an empty directory, is there.
        run_id: its id, as the node says.

    Raises:
        RecordError: it is not what it should be.
        EngineError: it can't be written.
        Exception: what taking the pieces raises.
    """
    with unfinished(os.path.dirname(log_dir)) as place:
        try:
            unpack_tree(pieces, place)
            record = store.read_record(place)
            if record.id != run_id:
                raise RecordError(f"the record of {record.id!a} came in place of {run_id!a}.")
            _sync(os.path.join(place, store.RUN_FILE))
            os.chmod(place, 0o755)
            os.rename(place, log_dir)
            _sync(os.path.dirname(log_dir))
        except OSError as error:
            raise EngineError(explain(error, log_dir)) from error
    remember_record(run_id, os.path.realpath(log_dir))
    return record


def receive_directories(pieces: Iterable[bytes], parent: str) -> dict[str, str]:
    """Take records that come together, and give each a place of its own.

    Args:
        pieces: of the tree that they lie in.
        parent: where they go.

    Returns:
        Where each lies now, by its name in the tree.

    Raises:
        RecordError, EngineError: see `receive_record`.
    """
    places: dict[str, str] = {}
    with unfinished(parent) as tree:
        try:
            unpack_tree(pieces, tree)
            for name in sorted(os.listdir(tree)):
                places[name] = store.claim_log_dir(os.path.join(parent, name))
                os.rename(os.path.join(tree, name), places[name])
        except OSError as error:
            raise EngineError(explain(error, parent)) from error
    for place in places.values():
        with suppress(RecordError):  # what a re-run that was not begun leaves
            remember_record(store.read_record(place).id, place)
    return places


@contextmanager
def unfinished(parent: str) -> Iterator[str]:
    """A directory for what is on its way; where it has not got another name, it is removed.

    What a killed process has left there is removed, too.

    Raises:
        EngineError: it can't be made.
    """
    path = os.path.join(parent, f".reprorun-{os.urandom(8).hex()}.tmp")  # see `is_unfinished`
    try:
        os.makedirs(parent, exist_ok=True)
        _remove_stale(parent)
        os.mkdir(path, 0o700)
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise EngineError(explain(error, parent)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield path
    finally:
        os.close(descriptor)
        shutil.rmtree(path, ignore_errors=True)


def _remove_stale(parent: str) -> None:
    with os.scandir(parent) as entries:
        ours = [
            e for e in entries if files.is_unfinished(e.name) and e.is_dir(follow_symlinks=False)
        ]
    for entry in ours:
        with suppress(OSError):  # somebody else has removed it, or makes it just now
            if not files.is_held(entry.path):
                shutil.rmtree(entry.path)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
