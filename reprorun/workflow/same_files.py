"""Whether an engine sees the files of this machine: only then may a run keep its record there."""

from __future__ import annotations

import io
import os
import tarfile

from reprorun import store
from reprorun.engine import Engine
from reprorun.errors import EngineError, EngineUnavailable
from reprorun.model import LOG_DIR


def require_same_files(engine: Engine, container: str, log_dir: str) -> None:
    """Look at the record through a container that has it mounted, where the engine may be remote.

    Args:
        engine: asked only if it may be on another machine.
        container: created, not started.
        log_dir: where the record lies here.

    Raises:
        EngineError: what the engine has at that path is another directory, or none.
    """
    info = engine.info()
    if not info.remote:
        return
    with open(os.path.join(log_dir, store.RUN_FILE), "rb") as file:
        here = file.read()
    if _read(engine, container, f"{LOG_DIR}/{store.RUN_FILE}") != here:
        raise EngineError(
            f"the engine at {info.address} is on another machine, which does not see {log_dir}.\n"
            "Run it there, or keep the record on a disk that both have at the same path "
            "(--log-dir)."
        )


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
