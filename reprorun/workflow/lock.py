"""`reprorun lock`: the packages of a launcher, resolved and written down, with nothing run."""

from __future__ import annotations

import os
from contextlib import closing

from reprorun import files
from reprorun.environment.lock_text import lock_text
from reprorun.errors import UsageError
from reprorun.model import RunSpec, Value
from reprorun.store import LOCK_FILE
from reprorun.workflow.gather import Connect, gather_environment
from reprorun.workflow.report import Reporter
from reprorun.workflow.sources import gather_sources


class Locked(Value, frozen=True, kw_only=True):
    """A lock as text."""

    text: str
    directory: str  # absolute: of the file that decided
    count: str  # of packages, in words


def lock_script(spec: RunSpec, connect: Connect, report: Reporter) -> Locked:
    """Resolve the packages of a launcher.

    Args:
        spec: the launcher, and for what.
        connect: reaches the engine, which is asked for the base image's Python.
        report: told what happens.

    Raises:
        UsageError, EngineError: with the reason.
    """
    sources = gather_sources(spec)
    for note in sources.notes:
        report.note(note)
    with closing(connect()) as engine, files.cache_lock():
        environment = gather_environment(spec, sources, engine, report)
    code, source, base = sources.code, sources.requirements.source, environment.base
    header = (
        f"# {source or f'the imports of {code.launcher}'}, for Python {base.python} on "
        f"{base.machine} with {base.libc}; made by `reprorun lock`\n"
    )
    number = len(environment.lock.packages)
    return Locked(
        text=header + lock_text(environment.lock),
        directory=os.path.join(code.root, os.path.dirname(source or code.launcher)),
        count=f"{number} package{'s' * (number != 1)}",
    )


def write_lock(locked: Locked, spec: RunSpec, output: str | None) -> str:
    """Write a lock; returns its path.

    Args:
        locked: what to write.
        spec: what it was made for.
        output: the file; None: requirements.lock beside the file that decided.

    Raises:
        UsageError: it can't be written.
    """
    path = os.path.join(spec.cwd, output) if output else os.path.join(locked.directory, LOCK_FILE)
    try:
        files.write(path, locked.text.encode())
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}.") from error
    return path
