"""Whether an engine sees the files of this machine: only then can a run have them mounted."""

from __future__ import annotations

import io
import os
import tarfile

from reprorun import store
from reprorun.engine import Engine
from reprorun.errors import EngineError, EngineUnavailable
from reprorun.model import LOG_DIR


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
