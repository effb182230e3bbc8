"""`reprorun shell`: a shell in the container as a record's run saw it. The record is only read.

The log directory is a scratch one, with what the run found in it. The record itself is read-only
beside it, so that what is tried out can be compared with what came of the run. Where the engine
does not see our files, copies of all that are in the container; nothing is brought back.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial

import msgspec

from reprorun import files, store
from reprorun.engine import Engine
from reprorun.errors import EngineError
from reprorun.experiment import dump_json
from reprorun.held import holding
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import RUN_LABEL, Changes, ContainerSpec, InputFile, Mount
from reprorun.workflow.carrying import carry_in, create_container
from reprorun.workflow.exec import prepare
from reprorun.workflow.gather import Connect
from reprorun.workflow.keeper import Keeper
from reprorun.workflow.launch_again import Launch, launch_again
from reprorun.workflow.opened import Opened, opened
from reprorun.workflow.report import Reporter
from reprorun.workflow.rerun import restore, tell_differences
from reprorun.workflow.terminal import Streams, connect_streams

RECORD_DIR = "/record"
"""Where the record is in the container, read-only."""

# The supervisor, which is the image's entry point, is for runs: it takes outputs away.
_DEFAULT = ("/bin/sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")
# says by itself what can't be found; PWD would be a variable that the run had not
_GIVEN = ("/bin/sh", "-c", 'unset PWD; exec "$@"', "sh")


def shell(
    path: str,
    command: tuple[str, ...],
    changes: Changes,
    cwd: str,
    limits: ArchiveLimits,
    connect: Connect,
    report: Reporter,
    streams: Streams,
) -> int:
    """Open a shell, or run another command, where a record's run was.

    Args:
        path: the record's directory, or a pack.
        command: what to run; empty for a shell.
        changes: what shall be otherwise than in the run.
        cwd: the working directory, absolute.
        limits: for the launch archive.
        connect: reaches the engine.
        report: told what happens until the container starts.
        streams: whom the container talks with.

    Returns:
        The exit code of the shell.

    Raises:
        RecordError, UsageError: it can't be done as asked; nothing was started.
        EngineError: the engine failed, or something can't be had.
    """
    with (
        opened(path, report) as place,
        launch_again(place, path, changes, cwd, limits, report) as launch,
        closing(connect()) as engine,
        _scratch(launch.spec.payloads, launch.sources.code.metadata) as log_dir,
    ):
        run, inputs = _as_the_run(place, launch, log_dir, engine, report)
        container = shell_container(run, command, place.log_dir, terminal=streams.terminal)
        what = shlex.join(command) or "a shell"
        report.step("running", f"{what}; the record is at {RECORD_DIR}, read-only")
        with holding(container.labels[RUN_LABEL], engine=engine.info().address):
            return run_shell(container, inputs, log_dir, engine, streams, report)


@contextmanager
def _scratch(payloads: Mapping[str, bytes], metadata: dict[str, str]) -> Iterator[str]:
    """A log directory that is thrown away, with what a run finds in its own."""
    with files.scratch_directory(passing=True) as made:
        log_dir = os.path.realpath(made)
        dump_json(os.path.join(log_dir, store.METADATA_FILE), metadata)
        for name, data in payloads.items():
            files.write(os.path.join(log_dir, name), data)
        yield log_dir


def _as_the_run(
    place: Opened, launch: Launch, log_dir: str, engine: Engine, report: Reporter
) -> tuple[ContainerSpec, tuple[InputFile, ...]]:
    """The container of a re-run that logs there, with its images made, and its inputs."""
    with files.cache_lock():
        restored = restore(place, launch, engine, report)
        tell_differences(restored.record.differences, report)
        keeper = Keeper(log_dir, restored.record)
        keeper.begin()
        plan = prepare(
            restored.spec, restored.sources, restored.environment, engine, keeper, report
        )
        return plan.container, keeper.record.inputs


def shell_container(
    run: ContainerSpec, command: tuple[str, ...], log_dir: str, *, terminal: bool
) -> ContainerSpec:
    """The container of a run, with a shell in place of the run's command.

    Args:
        run: of the run.
        command: what to run; empty for a shell.
        log_dir: the record's, to be looked at.
        terminal: whether the shell has one.
    """
    return msgspec.structs.replace(
        run,
        entrypoint=_GIVEN if command else _DEFAULT,
        command=command,
        name=f"{run.name}-shell",
        mounts=(*run.mounts, Mount(source=log_dir, target=RECORD_DIR)),
        interactive=True,
        tty=terminal,
    )


def run_shell(
    container: ContainerSpec,
    inputs: tuple[InputFile, ...],
    log_dir: str,
    engine: Engine,
    streams: Streams,
    report: Reporter,
) -> int:
    """Run an interactive container to its end, and remove it whatever happens.

    Args:
        container: to be created.
        inputs: what of its mounts is recorded.
        log_dir: its scratch log directory.
        engine: runs it.
        streams: whom it talks with.
        report: told where copies of files take the place of mounts.

    Returns:
        Its exit code.

    Raises:
        UsageError: a file can't be read, or an input is not any more what is recorded.
        EngineError: the engine refused, or stopped answering.
        KeyboardInterrupt: the user, a signal or a terminal that was hung up ended it.
    """
    created, carried = create_container(container, engine, log_dir)
    try:
        if carried:
            report.note("the engine does not see our files: the shell has copies of them")
            carry_in(container, inputs, engine, created)
        with closing(engine.converse(created)) as conversation:
            engine.start(created)
            resize = partial(engine.resize, created) if container.tty else None
            connect_streams(conversation, streams, resize)
        code = engine.wait(created).exit_code
    finally:
        engine.remove(created)
    return EngineError.exit_code if code is None else code
