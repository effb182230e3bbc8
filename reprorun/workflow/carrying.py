"""Runs on an engine that does not see our files: carried into the container, and home again.

The container itself holds the log directory and the inputs then, and a label says so. It stays on
the engine until all has come home: a connection that breaks costs nothing but `reprorun recover`.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from reprorun import store, streams
from reprorun.engine import Engine
from reprorun.errors import EngineError, FilesUnseen
from reprorun.extract import extract
from reprorun.files import is_unfinished
from reprorun.model import LOG_DIR, ContainerSpec, InputFile, LeftOut
from reprorun.workflow.same_files import is_known_unseen, note_unseen, sees_our_files
from reprorun.workflow.sending import content_of_mounts

LABEL = "reprorun.carried"
"""Label of a container that has the log directory in its own file system."""

ARRIVING = ".reprorun-arriving.tmp"  # in the log directory: what has not come home as a whole
# written here while it runs; what the experiment has put in their place is not the record's
_KEPT_HERE = frozenset(
    {store.RUN_FILE, store.CONSOLE_FILE, store.DOCKERFILE, store.LOCK_FILE, store.ARCHIVE_FILE}
)
_TAR_END = 1024  # bytes, all zero


class Created(NamedTuple):
    """A container that was created."""

    container: str  # id
    carried: bool


def is_carried(labels: Mapping[str, str]) -> bool:
    """Whether a container with these labels holds the log directory itself."""
    return LABEL in labels


# ---------------------------------------------------------------- there


def create_container(spec: ContainerSpec, engine: Engine, log_dir: str) -> Created:
    """Create a run's container: with its mounts where the engine sees our files, else without.

    Raises:
        EngineError: the engine refused.
    """
    container = _with_mounts(spec, engine, log_dir)
    if container is not None:
        return Created(container, carried=False)
    labels = {**spec.labels, LABEL: "1"}
    without = msgspec.structs.replace(
        spec, mounts=(), hosts="", own_hosts=bool(spec.hosts), labels=labels
    )
    return Created(engine.create(without), carried=True)


def _with_mounts(spec: ContainerSpec, engine: Engine, log_dir: str) -> str | None:
    """The container; None where the engine does not see what is to be mounted."""
    info = engine.info()
    if info.remote and "mount-check" in info.lacks:
        return None  # it would litter that machine with empty directories
    if info.remote and is_known_unseen(engine, log_dir):
        return None
    try:
        container = engine.create(spec)
    except FilesUnseen:
        note_unseen(engine, log_dir)
        return None
    seen = False
    try:
        seen = sees_our_files(engine, container, log_dir)
    finally:
        if not seen:
            engine.remove(container)
    if not seen:
        note_unseen(engine, log_dir)
    return container if seen else None


def carry_in(
    spec: ContainerSpec, inputs: tuple[InputFile, ...], engine: Engine, container: str
) -> None:
    """Put into a created container what it would have mounted.

    Args:
        spec: of the container, with its mounts.
        inputs: as they are recorded.
        engine: has the container.
        container: created without the mounts.

    Raises:
        UsageError: a file can't be read, or an input is not any more what is recorded.
        EngineError: the engine refused.
    """
    engine.copy_in(container, content_of_mounts(spec, inputs))


# ---------------------------------------------------------------- and home


def carry_home(engine: Engine, container: str, log_dir: str) -> tuple[LeftOut, ...]:
    """Fetch the log directory out of a container that has exited. Can be done once more.

    Nothing changes in the directory here before all has come.

    Returns:
        What could not be brought home, with the reasons.

    Raises:
        EngineError: it could not be fetched.
        OSError: it can't be written.
    """
    arriving = os.path.join(log_dir, ARRIVING)
    drop_arriving(log_dir)
    os.mkdir(arriving)
    try:
        left_out = _fetch(engine, container, arriving)
        _put_in_place(arriving, log_dir)
    finally:
        drop_arriving(log_dir)
    return tuple(left_out)


def drop_arriving(log_dir: str) -> None:
    """Remove what has not come home as a whole. It may be something else that is called so."""
    arriving = os.path.join(log_dir, ARRIVING)
    if os.path.isdir(arriving) and not os.path.islink(arriving):
        shutil.rmtree(arriving)


def _fetch(engine: Engine, container: str, target: str) -> list[LeftOut]:
    pieces = _to_the_end(engine.copy_out(container, f"{LOG_DIR}/."))
    try:
        with streams.stream_tar(pieces) as tar:
            left_out = extract(tar, target)
        for _ in pieces:
            pass  # behind its last file, a tar has an end to be seen
    except tarfile.TarError as error:
        raise EngineError(f"what the engine handed out of {LOG_DIR} broke off: {error}") from error
    return left_out


def _to_the_end(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a tar. One that ends early looks like a shorter one, but for its end."""
    last = b""
    for piece in pieces:
        last = (last + piece[-_TAR_END:])[-_TAR_END:]
        yield piece
    if len(last) < _TAR_END or any(last):
        raise EngineError(f"what the engine handed out of {LOG_DIR} broke off")


def _put_in_place(arriving: str, log_dir: str) -> None:
    for name in os.listdir(arriving):
        if name in _KEPT_HERE or is_unfinished(name):
            continue
        target = os.path.join(log_dir, name)
        if os.path.isdir(target) and not os.path.islink(target):
            shutil.rmtree(target)
        os.replace(os.path.join(arriving, name), target)
