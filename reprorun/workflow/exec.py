"""`reprorun exec`: from what the user asked for to a finished record."""

from __future__ import annotations

import os

import msgspec

import reprorun
from reprorun import files, store
from reprorun.engine import Engine
from reprorun.errors import UsageError
from reprorun.known import remember_images
from reprorun.model import Outcome, Plan, Record, RunSpec, Value
from reprorun.plan import Facts, made_directories, make_plan
from reprorun.workflow.build import build_environment, build_run
from reprorun.workflow.finish import close_record
from reprorun.workflow.gather import Connect, Environment, gather_environment, recall_environment
from reprorun.workflow.gpu_check import require_gpus
from reprorun.workflow.keeper import Keeper
from reprorun.workflow.opening import (
    archive_code,
    describe_code,
    first_record,
    log_directory,
    open_record,
)
from reprorun.workflow.report import Reporter
from reprorun.workflow.run import run
from reprorun.workflow.sources import Sources, gather_sources


class Finished(Value, frozen=True, kw_only=True):
    """A run that has ended, however it did."""

    record: Record
    log_dir: str
    exit_code: int  # the command's; not the experiment's where there is an error
    error: str | None = None  # a mistake of the user that showed only in the end


def execute(spec: RunSpec, reached: Connect, report: Reporter) -> Finished:
    """Run an experiment in a container and keep the record.

    Args:
        spec: what the user asked for.
        reached: gives the engine, which stays open; asked when the host has done its part. See
            `connecting`.
        report: told what happens.

    Returns:
        How it ended. An experiment that fails is no error here.

    Raises:
        UsageError: it can't be done as asked; nothing was started.
        EngineError: the engine or the build failed; the record, if there is one yet, says so.
    """
    sources = gather_sources(spec)
    report.step("code", describe_code(sources.code))
    for note in sources.notes:
        report.note(note)
    engine = reached()
    with files.cache_lock():
        environment = gather_environment(spec, sources, engine, report)
        record = first_record(spec, sources, environment)
        keeper = open_record(spec, sources.code.metadata, record)
        plan = prepare(spec, sources, environment, engine, keeper, report)
    return carry_out(plan, environment, engine, keeper, report)


def carry_out(
    plan: Plan,
    environment: Environment,
    engine: Engine,
    keeper: Keeper,
    report: Reporter,
) -> Finished:
    """Run what is prepared, and finish its record.

    Raises:
        EngineError: the engine failed; the record says so.
    """
    with keeper.telling_failures():
        outcome = run(plan, environment, engine, keeper, report)
        return _close_record(outcome, keeper)


def dry_run(spec: RunSpec, connect: Connect) -> Plan:
    """The plan of a run, with nothing started, written or pulled.

    Its tags are provisional: the packages are not resolved and the code is not archived.
    """
    sources = gather_sources(spec)
    environment = recall_environment(spec, sources, connect)
    facts = make_facts(sources, environment, log_directory(spec), "dry-run")
    source = sources.requirements.source
    shown = (f"the packages of {source}", *environment.plan.layers) if source else None
    provisional = msgspec.structs.replace(environment.plan, layers=shown or environment.plan.layers)
    return make_plan(spec, facts, provisional, "")


# ---------------------------------------------------------------- plan and build


def prepare(
    spec: RunSpec,
    sources: Sources,
    environment: Environment,
    engine: Engine,
    keeper: Keeper,
    report: Reporter,
) -> Plan:
    """Archive the code, plan the run and make its images.

    Raises:
        UsageError, EngineError: with the reason; the record says so.
    """
    with keeper.telling_failures():
        require_gpus(spec, environment.base, engine)
        plan = plan_run(spec, sources, environment, keeper)
        archive = os.path.join(keeper.log_dir, store.ARCHIVE_FILE)
        make_images(plan, spec, sources, environment, archive, engine, report)
        return plan


def plan_run(spec: RunSpec, sources: Sources, environment: Environment, keeper: Keeper) -> Plan:
    """Archive the code into the record, and plan the run.

    Raises:
        UsageError: there is nothing to archive, or a file can't be read.
    """
    archive = archive_code(sources, os.path.join(keeper.log_dir, store.ARCHIVE_FILE))
    facts = make_facts(sources, environment, keeper.log_dir, keeper.record.id)
    plan = make_plan(spec, facts, environment.plan, archive.sha256)
    keeper.update(archive=archive, image=plan.run_tag, status="building")
    return plan


def make_facts(sources: Sources, environment: Environment, log_dir: str, run_id: str) -> Facts:
    """What a plan is made from, for a run by this user.

    Args:
        sources: the code and inputs.
        environment: of which the engine matters.
        log_dir: the new record's.
        run_id: its id.
    """
    return Facts(
        code=sources.code,
        inputs=sources.inputs,
        engine=environment.engine,
        uid=os.getuid(),
        gid=os.getgid(),
        log_dir=log_dir,
        run_id=run_id,
        version=reprorun.__version__,
    )


def make_images(
    plan: Plan,
    spec: RunSpec,
    sources: Sources,
    environment: Environment,
    archive: str,
    engine: Engine,
    report: Reporter,
) -> None:
    """Make the environment's image and the run's, where the engine has them not.

    Args:
        archive: path of the launch archive.

    Raises:
        BuildFailed, LockFailed: with the reason.
    """
    remember_images(plan.run_tag, plan.environment.tag, plan.environment.base.ref)
    image = build_environment(
        plan.environment,
        environment.lock,
        environment.paths,
        engine,
        report,
        indexes=environment.indexes,
        rebuild=spec.rebuild,
        offline=spec.offline,
    )
    directories = made_directories(sources.code, sources.inputs)
    build_run(plan, archive, directories, image, engine, report, rebuild=spec.rebuild)


# ---------------------------------------------------------------- the record's end


def _close_record(outcome: Outcome, keeper: Keeper) -> Finished:
    unused = close_record(outcome, keeper)
    exit_code = UsageError.exit_code if unused else outcome.exit_code
    return Finished(record=keeper.record, log_dir=keeper.log_dir, exit_code=exit_code, error=unused)
