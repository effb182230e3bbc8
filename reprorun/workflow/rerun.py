"""`reprorun rerun`: a record run again, from the record alone, into a new record.

    record -> launch (code, inputs, what is asked) -> restored (environment) -> run -> record

The original is only read. Restoring is shared by all who run a record again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

import msgspec

from reprorun import files
from reprorun.differences import find_differences
from reprorun.engine import Engine
from reprorun.errors import UsageError
from reprorun.known import remember_record
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import (
    PREFIX,
    SHIMS,
    Changes,
    Difference,
    Hardware,
    InputFile,
    Plan,
    Record,
    RunSpec,
    Value,
)
from reprorun.plan import REDACTED, make_plan
from reprorun.probe.hardware import hardware_of
from reprorun.workflow.again import environment_again, environment_of_day
from reprorun.workflow.changes import same_gpus
from reprorun.workflow.exec import Finished, carry_out, make_facts, prepare
from reprorun.workflow.foresee import foresee, foreseen_plan
from reprorun.workflow.gather import USUAL_PATH, Connect, Environment
from reprorun.workflow.launch_again import Launch, launch_again
from reprorun.workflow.machine import find_machine
from reprorun.workflow.opened import Opened, opened
from reprorun.workflow.opening import first_record, log_directory, open_record
from reprorun.workflow.report import Reporter
from reprorun.workflow.restore import Wish
from reprorun.workflow.sources import Sources

_NO_ARGUMENTS = (
    "garage kept no arguments: where the launcher needs some, give them behind `--`; or let "
    "--function NAME call its function with the parameters of variant.json"
)
_SHOWN = 12  # differences that are told one by one


class Restored(Value, frozen=True, kw_only=True):
    """A launch with its environment: ready to be prepared."""

    spec: RunSpec
    sources: Sources
    environment: Environment
    record: Record  # in its first state; it says what differs from the original


def rerun(
    path: str,
    changes: Changes,
    cwd: str,
    limits: ArchiveLimits,
    connect: Connect,
    report: Reporter,
) -> Finished:
    """Run a record again and keep a new one.

    Args:
        path: the record's directory, or a pack.
        changes: what to do otherwise.
        cwd: the working directory, absolute.
        limits: for the launch archive.
        connect: reaches the engine.
        report: told what happens.

    Returns:
        How it ended. An experiment that fails is no error here.

    Raises:
        RecordError, UsageError: it can't be done as asked; nothing was started.
        EngineError: the engine failed, or something can't be had.
    """
    with opened(path, report) as place:
        return rerun_opened(place, path, changes, cwd, limits, connect, report)


def rerun_opened(
    place: Opened,
    path: str,
    changes: Changes,
    cwd: str,
    limits: ArchiveLimits,
    connect: Connect,
    report: Reporter,
) -> Finished:
    """The same for a record that is open already: see `rerun`."""
    with ExitStack() as stack:
        with files.cache_lock():
            launch = stack.enter_context(launch_again(place, path, changes, cwd, limits, report))
            _refuse_inside(launch.spec, place)
            engine = stack.enter_context(closing(connect()))
            restored = restore(place, launch, engine, report)
            tell_differences(restored.record.differences, report)
            spec, sources = restored.spec, restored.sources
            if launch.original.garage and place.pack is None:  # it has no note of its own
                remember_record(launch.original.record.id, place.log_dir)
            keeper = open_record(spec, sources.code.metadata, restored.record)
            plan = prepare(spec, sources, restored.environment, engine, keeper, report)
        finished = carry_out(plan, restored.environment, engine, keeper, report)
        if (
            launch.original.garage
            and finished.exit_code
            and spec.command == ("python", spec.script)
        ):
            report.note(_NO_ARGUMENTS)
        return finished


def _refuse_inside(spec: RunSpec, place: Opened) -> None:
    """The original is left as it is: nothing is written below it."""
    new = os.path.realpath(log_directory(spec))
    if new.startswith(f"{os.path.realpath(place.log_dir)}/"):
        raise UsageError(
            f"the new record would lie in the original, which stays as it is ({new}). Run this "
            "somewhere else, or name another --log-dir."
        )


def restore(place: Opened, launch: Launch, engine: Engine, report: Reporter) -> Restored:
    """The environment of a launch, and in what all of it differs from the original.

    Raises:
        ImageMissing, LockFailed: naming what can't be had.
        UsageError: the changes contradict the record.
    """
    for note in launch.sources.notes:
        report.note(note)
    if launch.spec.network != "none" and launch.changes.network is None:
        report.note(f"the run has the network ({launch.spec.network}), as the original had")
    place.provide(engine, report)
    gpus = same_gpus(launch.original.record, launch.changes, engine.info())
    spec = msgspec.structs.replace(launch.spec, gpus=gpus)
    environment = _environment(launch, spec, engine, report)
    spec = _with_stand_ins(spec, launch, environment)
    return Restored(
        spec=spec,
        sources=launch.sources,
        environment=environment,
        record=_compared(spec, launch, environment, find_machine(engine, environment.base)),
    )


def _compared(spec: RunSpec, launch: Launch, environment: Environment, host: Hardware) -> Record:
    """The record in its first state, with what differs from the original."""
    record = first_record(spec, launch.sources, environment)
    original = launch.original.record
    record = msgspec.structs.replace(
        record,
        host=host,
        rerun_of=original.id,
        inputs=_as_recorded(record.inputs, original.inputs),
    )
    differences = (
        *_of_code(launch),
        *_of_secrets(launch),
        *find_differences(original, record, launch.changes.wanted),
    )
    return msgspec.structs.replace(record, differences=differences)


def _environment(launch: Launch, spec: RunSpec, engine: Engine, report: Reporter) -> Environment:
    changes = launch.changes
    if launch.original.garage:
        here = msgspec.structs.replace(launch.sources, code=launch.again.tree())
        return environment_of_day(spec, here, engine, report)
    wish = Wish(
        offline=changes.offline,
        rebuild=changes.rebuild,
        allow_newer=changes.allow_newer,
        given=tuple(changes.env),
    )
    record, sources = launch.original.record, launch.sources
    return environment_again(record, spec, sources, launch.again, wish, engine, report)


def _with_stand_ins(spec: RunSpec, launch: Launch, environment: Environment) -> RunSpec:
    """garage asks git for the commit: where there is none, a program that says so."""
    if launch.original.garage is None:
        return spec
    path = f"{PREFIX}/bin:{environment.base.path or USUAL_PATH}:{SHIMS}/bin"
    return msgspec.structs.replace(spec, env={"PATH": path, **spec.env})


def _of_code(launch: Launch) -> tuple[Difference, ...]:
    if launch.sources.archive:
        return ()
    before, now = launch.original.record, launch.sources.code
    return (
        Difference(
            what="code",
            original=f"archive of {before.githash or 'no commit'}",
            now=f"commit {now.commit}",
            wanted=True,
        ),
    )


def _of_secrets(launch: Launch) -> Iterator[Difference]:
    """Values that the original does not hold may be others now; nobody can tell."""
    for name, value in launch.original.record.environment.items():
        if value == REDACTED:
            yield Difference(
                what=f"variables: {name}", original=REDACTED, now="given anew", wanted=True
            )
    for name in launch.original.record.secrets:
        yield Difference(what=f"secrets: {name}", original="given", now="given anew", wanted=True)


def _as_recorded(now: Sequence[InputFile], original: Sequence[InputFile]) -> tuple[InputFile, ...]:
    """Inputs by places that last: a copy for the time being is named by where it was once."""
    passing = files.cache_directory() + "/"
    before = {entry.target: entry.path for entry in original}
    return tuple(
        msgspec.structs.replace(entry, path=before.get(entry.target, entry.target))
        if entry.path.startswith(passing)
        else entry
        for entry in now
    )


def tell_differences(differences: Sequence[Difference], report: Reporter) -> None:
    """Say what differs, what nobody asked for first.

    Args:
        differences: from the original.
        report: told each in a line, or how many more there are.
    """
    unasked_first = sorted(differences, key=lambda each: each.wanted)
    for each in unasked_first[:_SHOWN]:
        report.step("differs", f"{each.what}: {_short(each.original)} -> {_short(each.now)}")
    more = len(differences) - _SHOWN
    if more > 0:
        report.step("differs", f"and in {more} more ways; the new record names them all")


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."


# ---------------------------------------------------------------- a dry run


def dry_rerun(
    path: str,
    changes: Changes,
    cwd: str,
    limits: ArchiveLimits,
    connect: Connect,
    report: Reporter,
) -> Plan:
    """The plan of a re-run, with nothing started, pulled or written but scratch files.

    Raises:
        RecordError, UsageError: it can't be done as asked.
    """
    with (
        opened(path, report) as place,
        launch_again(place, path, changes, cwd, limits, report) as launch,
    ):
        for note in launch.sources.notes:
            report.note(note)
        environment = foresee(launch, connect)
        spec = _with_stand_ins(launch.spec, launch, environment)
        host = hardware_of(environment.engine)
        differences = _compared(spec, launch, environment, host).differences
        tell_differences([each for each in differences if _is_known(each, launch)], report)
        facts = make_facts(launch.sources, environment, log_directory(spec), "dry-run")
        sha256 = launch.original.archived.sha256
        return make_plan(spec, facts, foreseen_plan(launch, environment), sha256)


def _is_known(difference: Difference, launch: Launch) -> bool:
    """Whether it can be told already: packages may be still to be chosen, images to be asked."""
    packages = difference.what.startswith(("packages", "system packages"))
    return bool(difference.now) and not (packages and launch.resolves)
