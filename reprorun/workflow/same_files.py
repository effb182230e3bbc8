"""Whether an engine sees the files of this machine: only then can a run have them mounted.

To look takes a container. That an engine does not see them is kept for a day: if it should see them
by then, runs are still right, and only take longer. That it does is looked at for each run.
"""

from __future__ import annotations

import io
import os
import tarfile
import time

from reprorun import files, store
from reprorun.engine import Engine
from reprorun.errors import EngineError, EngineUnavailable
from reprorun.model import LOG_DIR
from reprorun.notes import read_note, write_note

SHELF = "unseen"  # of the cache
DAY = 86400  # seconds


def is_known_unseen(engine: Engine, log_dir: str) -> bool:
    """Whether it was found out lately that an engine does not see what lies on that disk."""
    path = _note(engine, log_dir)
    try:
        age = time.time() - os.stat(path).st_mtime
    except OSError:
        return False
    return 0 <= age < DAY and read_note(path) is not None


def note_unseen(engine: Engine, log_dir: str) -> None:
    """Keep that an engine, on another machine, does not see what lies on that disk."""
    if engine.info().remote:
        write_note(_note(engine, log_dir), b"unseen")


def _note(engine: Engine, log_dir: str) -> str:
    info = engine.info()
    told = (info.address, info.node, info.root_dir, str(os.stat(log_dir).st_dev))
    return os.path.join(files.cache_directory(SHELF), files.digest_of("unseen 1", *told))


def sees_our_files(engine: Engine, container: str, log_dir: str) -> bool:
    """Look at the record through a container that has it mounted, where the engine may be remote.

    Args:
        engine: asked only if it may be on another machine.
        container: created, not started.
        log_dir: where the record lies here.

    Returns:
        False where what the engine has at that path is another directory.

    Raises:
        EngineUnavailable: it stopped answering.
    """
    if not engine.info().remote:
        return True
    with open(os.path.join(log_dir, store.RUN_FILE), "rb") as file:
        here = file.read()
    return _read(engine, container, f"{LOG_DIR}/{store.RUN_FILE}") == here


def _read(engine: Engine, container: str, path: str) -> bytes | None:
    """A file as the container has it; None where it has none."""
    try:
        data = b"".join(engine.copy_out(container, path))
    except EngineUnavailable:
        raise
    except EngineError:
        return None
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            return content.read() if content else None
    return None
