"""A launch that is ready to be run many times: code archived, environment known, images made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from reprorun import files, store
from reprorun.engine import Engine
from reprorun.errors import ReprorunError, UsageError
from reprorun.experiment.signature import PREFIX, REFUSAL
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import Changes, Record, RunSpec, Value
from reprorun.plan import make_plan
from reprorun.workflow.console_again import read_tail
from reprorun.workflow.exec import carry_out, make_facts, make_images, plan_run
from reprorun.workflow.gather import Environment, gather_environment
from reprorun.workflow.gpu_check import require_gpus
from reprorun.workflow.keeper import Keeper
from reprorun.workflow.launch_again import launch_again
from reprorun.workflow.opened import opened
from reprorun.workflow.opening import archive_code, describe_code, first_record, open_record
from reprorun.workflow.report import Reporter
from reprorun.workflow.rerun import restore
from reprorun.workflow.sources import Sources, gather_sources


class Prepared(Value, frozen=True, kw_only=True):
    """What all runs of a launch share."""

    spec: RunSpec  # of a run as such, without what makes it one of many
    sources: Sources  # `archive` is a file of this machine
    environment: Environment
    run_tag: str  # of the image, which the engine has
    run_digest: str


class Attempt(NamedTuple):
    """How a run of a prepared launch went."""

    record: Record
    log_dir: str
    exit_code: int
    error: ReprorunError | None = None  # the engine's, or the machine's; not the experiment's
    refusal: str | None = None  # why the experiment can't be called like that


@contextmanager
def prepared(
    spec: RunSpec, engine: Engine, report: Reporter, *, here: bool = True
) -> Iterator[Prepared]:
    """Make a launch ready: the user's code as it is now. Its archive lasts as long as the block.

    Args:
        spec: what the user asked for.
        engine: gets the images.
        report: told what happens.
        here: whether the runs are this engine's: it has to have the GPUs that they ask for.

    Raises:
        UsageError: it can't be done as asked.
        EngineError: the engine or the build failed.
    """
    sources = gather_sources(spec)
    report.step("code", describe_code(sources.code))
    for note in sources.notes:
        report.note(note)
    with files.scratch_directory() as place:
        with files.cache_lock():
            environment = gather_environment(spec, sources, engine, report)
            path = os.path.join(place, store.ARCHIVE_FILE)
            archive = archive_code(sources, path)
            kept = msgspec.structs.replace(sources, archive=path, archive_sha256=archive.sha256)
            if here:
                require_gpus(spec, environment.base, engine)
            made = _with_images(spec, kept, environment, engine, report)
        yield made


@contextmanager
def prepared_again(
    record: str,
    changes: Changes,
    cwd: str,
    engine: Engine,
    report: Reporter,
    *,
    here: bool = True,
) -> Iterator[Prepared]:
    """Make the launch of a record ready: its code, its environment.

    Args:
        record: log directory.
        changes: what to do otherwise.
        cwd: the working directory, absolute.
        engine: gets the images.
        report: told what happens.
        here: whether the runs are this engine's: it has to have the GPUs that they ask for.

    Raises:
        RecordError, UsageError: the record can't be run again as asked.
        EngineError: the engine failed, or something can't be had.
    """
    limits = ArchiveLimits()
    with (
        opened(record, report) as place,
        launch_again(place, record, changes, cwd, limits, report) as launch,
    ):
        with files.cache_lock():
            restored = restore(place, launch, engine, report)
            spec = msgspec.structs.replace(restored.spec, command=None)
            if here:
                require_gpus(spec, restored.environment.base, engine)
            made = _with_images(spec, restored.sources, restored.environment, engine, report)
        yield made


def _with_images(
    spec: RunSpec, sources: Sources, environment: Environment, engine: Engine, report: Reporter
) -> Prepared:
    assert sources.archive
    facts = make_facts(sources, environment, "", "")  # nothing of an image follows from these two
    plan = make_plan(spec, facts, environment.plan, sources.archive_sha256)
    make_images(plan, spec, sources, environment, sources.archive, engine, report)
    return Prepared(
        spec=spec,
        sources=sources,
        environment=environment,
        run_tag=plan.run_tag,
        run_digest=plan.run_digest,
    )


def run_prepared(launch: Prepared, spec: RunSpec, engine: Engine, report: Reporter) -> Attempt:
    """Run it once, and keep a record.

    Args:
        launch: what is run.
        spec: of this run; of the same launch, with its own parameters, arguments, directory, GPUs.
        engine: has the image.
        report: told what happens.

    Returns:
        How it went, also where the engine failed: there is a record that says so.

    Raises:
        UsageError, EngineError: there is no record, because none could be begun.
    """
    record = first_record(spec, launch.sources, launch.environment)
    keeper = open_record(spec, launch.sources.code.metadata, record)
    try:
        return _run(launch, spec, engine, keeper, report)
    except ReprorunError as error:
        return Attempt(keeper.record, keeper.log_dir, error.exit_code, error)


def _run(
    launch: Prepared, spec: RunSpec, engine: Engine, keeper: Keeper, report: Reporter
) -> Attempt:
    with keeper.telling_failures():
        plan = plan_run(spec, launch.sources, launch.environment, keeper)
    finished = carry_out(plan, launch.environment, engine, keeper, report)
    refusal = finished.error or _refusal(finished.log_dir, finished.exit_code)
    return Attempt(finished.record, finished.log_dir, finished.exit_code, None, refusal)


def _refusal(log_dir: str, exit_code: int) -> str | None:
    """What the guest said of parameters that the experiment doesn't take."""
    if exit_code != UsageError.exit_code:
        return None
    said = [line for line in read_tail(log_dir).splitlines() if line.startswith(REFUSAL)]
    return said[-1].removeprefix(PREFIX) if said else None
