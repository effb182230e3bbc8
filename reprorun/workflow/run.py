"""The run itself: its container from creation to exit; how it ended is `finish`'s part."""

from __future__ import annotations

import os
import shlex
from contextlib import nullcontext

from msgspec.structs import replace

from reprorun import files, store
from reprorun.engine import Engine
from reprorun.environment.lock_text import lock_text
from reprorun.errors import EngineError, EngineUnavailable
from reprorun.model import RUN_LABEL, Outcome, Plan
from reprorun.probe.hardware import hardware_of
from reprorun.workflow.attend import Ending, attend
from reprorun.workflow.carrying import Created, carry_in, create_container
from reprorun.workflow.console import Console
from reprorun.workflow.dockerfile import dockerfile_of
from reprorun.workflow.finish import Exited, finish, remove_container
from reprorun.workflow.gather import Environment
from reprorun.workflow.keeper import Keeper, utc_now
from reprorun.workflow.lending import lent
from reprorun.workflow.report import Reporter

FINISH = "the run has ended; the next command, or `reprorun recover`, brings home what it made"
BRING_HOME = "`reprorun recover` waits for it and brings home what it makes"


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
        KeyboardInterrupt: the container is gone; or the run is over, and the container may be kept.
    """
    report.step("running", shlex.join(plan.container.command))
    container, carried = _create(plan, engine, keeper)
    try:
        if carried:
            report.progress("the engine does not see our files: sending them")
            carry_in(plan.container, keeper.record.inputs, engine, container)
        keeper.update(status="running", started=utc_now())
        with nullcontext() if carried else lent(keeper.log_dir, plan.container):
            exited = _until_it_ends(plan, environment, engine, container, keeper, report)
        return finish(replace(exited, carried=carried), engine, keeper, report)
    except EngineUnavailable:  # the container may well go on, and be found again
        if carried and keeper.record.status == "running":
            report.note(f"{plan.container.name} goes on without us: {BRING_HOME}")
        raise
    except BaseException as error:
        if not keeper.is_over:
            remove_container(container, engine, keeper, report)
        elif isinstance(error, KeyboardInterrupt):
            report.note(FINISH)
        raise


def _create(plan: Plan, engine: Engine, keeper: Keeper) -> Created:
    """Create the container. The engine may do so although nobody waits for it any more."""
    keeper.tell(engine=engine.info().address)
    keeper.leaves_container = True  # until it is removed
    try:
        return create_container(plan.container, engine, keeper.log_dir)
    except EngineUnavailable:
        raise
    except EngineError:
        found = engine.labelled_containers(f"{RUN_LABEL}={keeper.record.id}")
        keeper.leaves_container = bool(found)
        raise


def _until_it_ends(
    plan: Plan,
    environment: Environment,
    engine: Engine,
    container: str,
    keeper: Keeper,
    report: Reporter,
) -> Exited:
    """Attend the container, and keep what it prints."""
    with Console(keeper.log_dir, report) as console:
        ending = attend(
            engine,
            container,
            console.write,
            report,
            timeout=plan.container.limits.timeout,
            meanwhile=lambda: _write_texts(plan, environment, keeper),
            exited=lambda ending: _note(ending, keeper),
        )
        cut_off = None if ending.heard_all else f"{store.CONSOLE_FILE} is incomplete: cut off"
    return Exited(
        container=container,
        name=plan.container.name,
        ending=ending,
        tail=console.tail,
        notes=tuple(note for note in (console.failure, cut_off) if note),
    )


def _note(ending: Ending, keeper: Keeper) -> None:
    """From here on what it made is not to be lost, nor why it has ended."""
    keeper.remember(exit_code=ending.state.exit_code)
    keeper.tell(cause=ending.cause)


def _write_texts(plan: Plan, environment: Environment, keeper: Keeper) -> None:
    """What nothing waits for, written while the engine starts the container.

    The record is read by people from here on; the images were made from the same plan.
    """
    texts = {store.DOCKERFILE: dockerfile_of(plan), store.LOCK_FILE: lock_text(environment.lock)}
    for name, text in texts.items():
        files.write(os.path.join(keeper.log_dir, name), text.encode())
    keeper.update(host=hardware_of(environment.engine))
