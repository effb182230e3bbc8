"""The run itself: the container from its creation to its removal, and how it ended."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from reprorun import files, store
from reprorun.engine import Engine
from reprorun.environment.lock_text import lock_text
from reprorun.errors import EngineError, EngineUnavailable, UsageError
from reprorun.model import WORKSPACE, Outcome, Plan, Record
from reprorun.probe.hardware import find_hardware
from reprorun.render import whole_dockerfile
from reprorun.workflow.attend import attend
from reprorun.workflow.console import Console
from reprorun.workflow.gather import Environment
from reprorun.workflow.harvest import archive_warning, bring_out, take_guest_report
from reprorun.workflow.keeper import Keeper, explain, utc_now
from reprorun.workflow.lending import lent
from reprorun.workflow.outcome import judge, memory_warning, network_advice
from reprorun.workflow.report import Reporter


def run(
    plan: Plan, environment: Environment, engine: Engine, keeper: Keeper, report: Reporter
) -> Outcome:
    """Run the plan's container to its end and bring home what it made.

    Args:
        plan: its images are built.
        environment: what the record's lock is taken from.
        engine: runs it.
        keeper: holds the record, which knows the outcome when this returns.
        report: told what happens.

    Raises:
        EngineUnavailable: the engine stopped answering; the container may go on.
        EngineError: it refused, or what the run made could not be brought out.
    """
    report.step("running", shlex.join(plan.container.command))
    container = engine.create(plan.container)
    try:
        keeper.update(status="running", started=utc_now())
        with lent(keeper.log_dir, plan.container):
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
    texts = {store.DOCKERFILE: whole_dockerfile(plan), store.LOCK_FILE: lock_text(environment.lock)}
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


def _elapsed(record: Record) -> float | None:
    if record.started is None or record.ended is None:
        return None
    start, end = (datetime.fromisoformat(moment) for moment in (record.started, record.ended))
    return (end - start).total_seconds()
