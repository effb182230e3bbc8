"""`reprorun exec`: from what the user asked for to a finished record."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime

import reprorun
from reprorun import files, store
from reprorun.engine import Engine
from reprorun.errors import EngineError, EngineUnavailable, UsageError
from reprorun.experiment import dump_json
from reprorun.experiment.archive import write_archive
from reprorun.experiment.repository import LeftOut as TreeLeftOut
from reprorun.experiment.repository import RepositoryError, Tree
from reprorun.model import (
    WORKSPACE,
    Archive,
    Code,
    EngineUsed,
    Outcome,
    Plan,
    Record,
    RunSpec,
    SchemaMark,
    Value,
)
from reprorun.plan import Facts, choose_gpus, container_command, made_directories, make_plan, redact
from reprorun.probe.hardware import find_hardware
from reprorun.render import RUN_TEMPLATE, template_source, whole_dockerfile
from reprorun.workflow.attend import attend
from reprorun.workflow.build import build_environment, build_run
from reprorun.workflow.console import Console
from reprorun.workflow.gather import (
    Connect,
    Environment,
    Sources,
    gather_environment,
    gather_sources,
    recall_environment,
)
from reprorun.workflow.harvest import (
    archive_warning,
    bring_out,
    find_sub_records,
    take_guest_report,
    write_variant,
)
from reprorun.workflow.keeper import Keeper, explain, utc_now
from reprorun.workflow.outcome import judge, memory_warning, network_advice
from reprorun.workflow.report import Reporter

PREFIX = "experiment"  # garage's default: data/local/experiment/NAME
LONGEST_NAME = 200  # bytes, which leaves room for a number within a file system's 255


class Finished(Value, frozen=True, kw_only=True):
    """A run that has ended, however it did."""

    record: Record
    log_dir: str
    exit_code: int  # the command's; not the experiment's where there is an error
    error: str | None = None  # a mistake of the user that showed only in the end


def execute(spec: RunSpec, connect: Connect, report: Reporter) -> Finished:
    """Run an experiment in a container and keep the record.

    Args:
        spec: what the user asked for.
        connect: reaches the engine.
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
    with closing(connect()) as engine:
        environment = gather_environment(spec, sources, engine, report)
        keeper = open_record(spec, sources, environment)
        with keeper.telling_failures():
            archive = archive_code(sources.code, keeper)
            plan = _plan(spec, sources, environment, keeper, archive)
            _build(plan, spec, sources, environment, engine, keeper, report)
            outcome = _run(plan, environment, engine, keeper, report)
            return _close_record(spec, outcome, keeper)


def dry_run(spec: RunSpec, connect: Connect) -> Plan:
    """The plan of a run, with nothing started, written or pulled.

    Its tags are provisional: the packages are not resolved and the code is not archived.
    """
    sources = gather_sources(spec)
    environment = recall_environment(spec, sources, connect)
    facts = _facts(sources, environment, _log_dir(spec), "dry-run")
    return make_plan(spec, facts, environment.digest, "", template_source(RUN_TEMPLATE))


# ---------------------------------------------------------------- the record's beginning


def describe_code(code: Code) -> str:
    """The repository in a few words."""
    name, number = os.path.basename(code.root), len(code.files)
    count = f"{number} file{'s' * (number != 1)}"
    if code.commit is None:
        return f"{name}, {count}"
    dirty = " with uncommitted changes" if code.dirty else ""
    return f"{name} at {code.commit[:12]}{dirty}, {count}"


def _log_dir(spec: RunSpec) -> str:
    if spec.log_dir:
        return os.path.join(spec.cwd, spec.log_dir)
    stem = os.path.splitext(os.path.basename(spec.script))[0]
    name = (
        spec.name
        if spec.name is not None
        else os.fsencode(stem)[:LONGEST_NAME].decode(errors="ignore")
    )
    if (
        name in ("", ".", "..")
        or "/" in name
        or "\0" in name
        or len(os.fsencode(name)) > LONGEST_NAME
    ):
        raise UsageError(
            f"--name {name!r} can't be the name of a directory: it must not be empty, hold a slash "
            f"or be longer than {LONGEST_NAME} bytes."
        )
    return os.path.join(spec.cwd, "data", "local", PREFIX, name)


def open_record(spec: RunSpec, sources: Sources, environment: Environment) -> Keeper:
    """Claim the log directory and begin the record.

    Raises:
        UsageError: the directory can't be made, or holds something.
        EngineError: its disk is full.
    """
    path = _log_dir(spec)
    log_dir = store.use_log_dir(path) if spec.log_dir else store.claim_log_dir(path)
    try:
        # first of all: it marks the directory as a log directory, which no other run archives
        dump_json(os.path.join(log_dir, store.METADATA_FILE), sources.code.metadata)
        for name, data in spec.payloads.items():
            files.write(os.path.join(log_dir, name), data)
        return Keeper(os.path.realpath(log_dir), _first_record(spec, sources, environment))
    except OSError as error:
        raise EngineError(explain(error, log_dir)) from error


def _first_record(spec: RunSpec, sources: Sources, environment: Environment) -> Record:
    code, engine = sources.code, environment.engine
    gpus = choose_gpus(spec.gpus, engine)
    return Record(
        reprorun=SchemaMark(version=reprorun.__version__),
        id=os.urandom(8).hex(),
        status="created",
        created=utc_now(),
        argv=(spec.script, *spec.args),
        cwd=code.workdir,
        command=container_command(spec, code),
        params=spec.params,
        environment=redact(spec.env),
        githash=code.githash,
        dirty=code.dirty,
        launcher=code.metadata["launcher"],
        left_out=code.left_out,
        submodules=code.submodules,
        inputs=sources.inputs,
        requirements=sources.requirements.source,
        environment_digest=f"sha256:{environment.digest}" if environment.digest else "",
        base_image=environment.base,
        engine=EngineUsed(name=engine.name, version=engine.version, api_version=engine.api_version),
        runtime="gpu" if gpus else "cpu",
        gpus=gpus,
        limits=spec.limits,
        network=spec.network,
        notes=sources.notes,
    )


def archive_code(code: Code, keeper: Keeper) -> Archive:
    """Write the launch archive.

    Raises:
        UsageError: there is nothing to archive, or a file can't be read.
    """
    path = os.path.join(keeper.log_dir, store.ARCHIVE_FILE)
    left_out = tuple(
        TreeLeftOut(path=e.path, size=e.size, sha256=e.sha256, reason=e.reason)
        for e in code.left_out
    )
    try:
        digest = write_archive(code.root, Tree(files=code.files, left_out=left_out), path)
    except RepositoryError as error:
        raise UsageError(str(error)) from error
    size = os.path.getsize(path)
    return Archive(sha256=digest.removeprefix("sha256:"), size=size, files=len(code.files))


def _plan(
    spec: RunSpec, sources: Sources, environment: Environment, keeper: Keeper, archive: Archive
) -> Plan:
    facts = _facts(sources, environment, keeper.log_dir, keeper.record.id)
    template = template_source(RUN_TEMPLATE)
    plan = make_plan(spec, facts, environment.digest, archive.sha256, template)
    keeper.update(archive=archive, image=plan.run_tag, status="building")
    return plan


def _facts(sources: Sources, environment: Environment, log_dir: str, run_id: str) -> Facts:
    return Facts(
        code=sources.code,
        base=environment.base,
        inputs=sources.inputs,
        engine=environment.engine,
        uid=os.getuid(),
        gid=os.getgid(),
        log_dir=log_dir,
        run_id=run_id,
        version=reprorun.__version__,
    )


# ---------------------------------------------------------------- build and run


def _build(
    plan: Plan,
    spec: RunSpec,
    sources: Sources,
    environment: Environment,
    engine: Engine,
    keeper: Keeper,
    report: Reporter,
) -> None:
    build_environment(
        plan,
        environment.lock,
        sources.requirements.paths,
        engine,
        report,
        rebuild=spec.rebuild,
        offline=spec.offline,
    )
    directories = made_directories(sources.code, sources.inputs)
    build_run(plan, keeper.log_dir, directories, engine, report, rebuild=spec.rebuild)


def _run(
    plan: Plan, environment: Environment, engine: Engine, keeper: Keeper, report: Reporter
) -> Outcome:
    report.step("running", shlex.join(plan.container.command))
    container = engine.create(plan.container)
    try:
        keeper.update(status="running", started=utc_now())
        outcome, notes = _until_it_ends(plan, environment, engine, container, keeper, report)
    except EngineUnavailable:
        raise  # the container may well go on, and be found again
    except BaseException:
        _remove(engine, container, report)
        raise
    for note in notes:
        keeper.note(note)
        report.note(note)
    with _kept_if_not_harvested(plan):
        _write_outcome(outcome, keeper)
        _harvest(plan, outcome, engine, container, keeper)
    _remove(engine, container, report)
    return outcome


def _until_it_ends(
    plan: Plan,
    environment: Environment,
    engine: Engine,
    container: str,
    keeper: Keeper,
    report: Reporter,
) -> tuple[Outcome, list[str]]:
    """How the run ended, and what there is to be said about it."""
    limits, network = plan.container.limits, plan.container.network
    with Console(keeper.log_dir, report) as console:
        ending = attend(
            engine,
            container,
            console.write,
            report,
            timeout=limits.timeout,
            meanwhile=lambda: _write_texts(plan, environment, keeper),
        )
        cut_off = None if ending.heard_all else f"{store.CONSOLE_FILE} is incomplete: cut off"
    outcome = judge(ending, take_guest_report(keeper.log_dir), limits)
    notes = (
        console.failure,
        cut_off,
        network_advice(outcome, network, console.tail),
        memory_warning(outcome),
        archive_warning(keeper.log_dir, keeper.record.archive),
    )
    return outcome, [note for note in notes if note]


def _write_outcome(outcome: Outcome, keeper: Keeper) -> None:
    """Put on disk how it ended, before anything else can fail."""
    guest = outcome.guest
    keeper.remember(ended=utc_now())
    keeper.write_outcome(
        status=outcome.status,
        exit_code=outcome.exit_code,
        reason=outcome.reason,
        seconds=round(guest.seconds, 6) if guest else _elapsed(keeper.record),
        peak_memory=guest.peak_memory if guest else None,
    )


def _harvest(plan: Plan, outcome: Outcome, engine: Engine, container: str, keeper: Keeper) -> None:
    if outcome.guest and outcome.guest.outputs_kept:
        keeper.remember(not_kept=outcome.guest.not_kept)
    else:
        mounts = plan.container.mounts
        keeper.remember(not_kept=bring_out(engine, container, mounts, keeper.log_dir))


def _write_texts(plan: Plan, environment: Environment, keeper: Keeper) -> None:
    """What nothing waits for, written while the engine starts the container.

    The record is read by people from here on; the images were made from the same plan.
    """
    texts = {store.DOCKERFILE: whole_dockerfile(plan), store.LOCK_FILE: environment.lock.text}
    for name, text in texts.items():
        files.write(os.path.join(keeper.log_dir, name), text.encode())
    keeper.update(host=find_hardware())


@contextmanager
def _kept_if_not_harvested(plan: Plan) -> Iterator[None]:
    """A container whose outputs could not be brought out is their only copy: say where it is."""
    try:
        yield
    except (OSError, EngineError, UsageError) as error:
        name = plan.container.name
        what = explain(error, name) if isinstance(error, OSError) else str(error)
        raise EngineError(
            f"the outputs could not be brought out: {what}\n"
            f"The container is kept with all that it made: `docker cp {name}:{WORKSPACE} .`"
        ) from error


def _remove(engine: Engine, container: str, report: Reporter) -> None:
    try:
        engine.remove(container)
    except EngineError as error:
        report.note(f"the container could not be removed: {error}")


# ---------------------------------------------------------------- the record's end


def _close_record(spec: RunSpec, outcome: Outcome, keeper: Keeper) -> Finished:
    keeper.free_reserve()
    sub_records = find_sub_records(keeper.log_dir)
    write_variant(keeper.log_dir, sub_records, spec.params)
    outputs, odd = store.list_outputs(keeper.log_dir)
    finished = outcome.exit_code == 0  # else it may have ended before the call
    unused = _unused_params(spec) if finished and spec.params and not sub_records else None
    if unused:
        keeper.note(unused)
    keeper.update(
        sub_records=sub_records, outputs=outputs, not_kept=(*keeper.record.not_kept, *odd)
    )
    exit_code = UsageError.exit_code if unused else outcome.exit_code
    return Finished(record=keeper.record, log_dir=keeper.log_dir, exit_code=exit_code, error=unused)


def _elapsed(record: Record) -> float | None:
    if record.started is None or record.ended is None:
        return None
    start, end = (datetime.fromisoformat(moment) for moment in (record.started, record.ended))
    return (end - start).total_seconds()


def _unused_params(spec: RunSpec) -> str:
    names = ", ".join(spec.params)
    return (
        f"-P {names} had no effect: {spec.script} called no function wrapped by "
        "@reprorun.wrap_experiment. Pass it as an argument of the script instead."
    )
