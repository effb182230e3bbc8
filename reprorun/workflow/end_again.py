"""Ending a run that was left behind: its record is made true, its container removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

import msgspec

from reprorun import files, store
from reprorun.engine import Engine
from reprorun.environment.lock_text import lock_text
from reprorun.errors import ReprorunError
from reprorun.files import is_unfinished
from reprorun.held import Hold
from reprorun.model import (
    DIGEST_LABEL,
    ContainerSpec,
    ListedContainer,
    Lock,
    Outcome,
    Plan,
    Record,
)
from reprorun.plan import plan_environment
from reprorun.probe.hardware import hardware_of
from reprorun.render import whole_dockerfile
from reprorun.workflow.abandoned import Left
from reprorun.workflow.attend import Ending
from reprorun.workflow.build import layer_titles
from reprorun.workflow.carrying import is_carried
from reprorun.workflow.console_again import read_tail, write_console
from reprorun.workflow.finish import Exited, bring_home, close_record, finish, outcome_of
from reprorun.workflow.harvest import drop_guest_report, read_guest_report
from reprorun.workflow.keeper import Keeper
from reprorun.workflow.lending import take_back
from reprorun.workflow.report import Reporter

RECOVERED = "reprorun was gone before this run was over; `reprorun recover` wrote how it ended"

AWAY = (
    "the engine went away during the run: what was printed then may not stand in "
    f"{store.CONSOLE_FILE}"
)

NOT_HARVESTED = "its container was gone: files of its working tree may not have been brought out"


def end_run(left: Left, held: Hold, ending: Ending, engine: Engine, report: Reporter) -> Record:
    """Finish the record of a run whose container has exited, as the run itself would have.

    Raises:
        EngineError, UsageError, OSError: something can't be had, read or written; it can be tried
            again.
    """
    keeper = _keeper(left, held)
    container = left.containers[0]
    outcome = outcome_of(keeper.record, keeper.log_dir)
    with _no_worse(keeper):
        _note(keeper)
        if outcome is None:
            outcome = finish(_exited(ending, container, engine, keeper), engine, keeper, report)
        else:
            exited = Exited(container=container.id, name=container.name, ending=ending)
            bring_home(outcome, exited, engine, keeper, report)
        _close(outcome, keeper)
    return keeper.record


def close_run(left: Left, held: Hold, engine: Engine | None) -> Record:
    """Finish the record of a run that has been brought home already.

    Raises:
        EngineError: its container can't be removed.
        UsageError, OSError: something can't be read or written.
    """
    keeper = _keeper(left, held)
    _remove_containers(left, engine)
    _note(keeper)
    outcome = outcome_of(msgspec.structs.replace(keeper.record, status="running"), keeper.log_dir)
    assert outcome is not None  # that is how it is known to have been brought home
    if not (held.mark.harvested or (outcome.guest and outcome.guest.outputs_kept)):
        keeper.note(NOT_HARVESTED)
    _close(outcome, keeper)
    return keeper.record


def lose_run(left: Left, held: Hold, engine: Engine | None) -> Record:
    """Say in its record that nobody can tell how a run ended, and what is known.

    Raises:
        EngineError, OSError: its container can't be removed, or something can't be written.
    """
    keeper = _keeper(left, held)
    _remove_containers(left, engine)
    keeper.remember(reason=f"{left.text}{_guests_word(keeper.log_dir)}")
    if keeper.record.archive is None:  # perhaps a part of one, of which nobody knows the digest
        _remove_file(os.path.join(keeper.log_dir, store.ARCHIVE_FILE))
    if keeper.record.status in ("running", "lost"):
        _close(Outcome(status="lost", exit_code=1), keeper)
    else:
        _clear(keeper)
        keeper.close(status="lost")
    return keeper.record


def clear_unfinished(directory: str) -> None:
    """Remove files of ours that were not written to their end."""
    for path, _, names in os.walk(directory):
        for name in names:
            if is_unfinished(name):
                _remove_file(os.path.join(path, name))


# ---------------------------------------------------------------- the parts


@contextmanager
def _no_worse(keeper: Keeper) -> Iterator[None]:
    """Where it fails once more, the record gives the reason that it gave before."""
    reason = keeper.record.reason
    try:
        yield
    except (OSError, ReprorunError):
        keeper.free_reserve()
        with suppress(OSError):
            if reason:
                keeper.update(reason=reason)
        raise


def _keeper(left: Left, held: Hold) -> Keeper:
    assert left.log_dir is not None
    assert left.record is not None
    if held.mark.mode is not None:
        take_back(left.log_dir, held.mark.mode)
    return Keeper(left.log_dir, left.record, held)


def _remove_containers(left: Left, engine: Engine | None) -> None:
    for container in left.containers:
        assert engine is not None  # which has told of it
        engine.remove(container.id)


def _note(keeper: Keeper) -> None:
    if RECOVERED not in keeper.record.notes:
        keeper.note(RECOVERED)


def _exited(ending: Ending, listed: ListedContainer, engine: Engine, keeper: Keeper) -> Exited:
    note = write_console(keeper.log_dir, engine.logs(listed.id))
    _write_texts(keeper, engine)
    return Exited(
        container=listed.id,
        name=listed.name,
        ending=ending,
        carried=is_carried(listed.labels),
        tail=read_tail(keeper.log_dir),
        notes=tuple(
            each for each in (note, _away(keeper.record), _overrun(ending, keeper.record)) if each
        ),
    )


def _away(record: Record) -> str | None:
    """A line for a run whose output nobody may have taken: an engine keeps what it gets to read."""
    return AWAY if record.status == "lost" else None


def _overrun(ending: Ending, record: Record) -> str | None:
    """A line for a run that nobody stopped when its time was over."""
    limit, state = record.limits.timeout, ending.state
    if limit is None or ending.cause != "exited" or not (state.started and state.ended):
        return None
    took = seconds_between(state.started, state.ended)
    if took <= limit + 1:
        return None
    return f"it ran for {took:.0f} s: nobody was there to stop it after {limit:g} s (--timeout)"


def seconds_between(start: str, end: str | None = None) -> float:
    """From one time to another, or until now."""
    until = datetime.fromisoformat(end) if end else datetime.now(timezone.utc)
    return (until - datetime.fromisoformat(start)).total_seconds()


def _write_texts(keeper: Keeper, engine: Engine) -> None:
    """What is written while a container starts, where it had not come so far."""
    record = keeper.record
    _write_missing(keeper, store.LOCK_FILE, lock_text(Lock(packages=record.packages)))
    image = engine.image(record.image)
    if image and DIGEST_LABEL in image.labels:
        plan = _plan(record, image.labels[DIGEST_LABEL])
        _write_missing(keeper, store.DOCKERFILE, whole_dockerfile(plan))
    if not record.host.node:  # of this machine or this engine's: the lock says that they were it
        keeper.remember(host=hardware_of(engine.info()))


def _write_missing(keeper: Keeper, name: str, text: str) -> None:
    path = os.path.join(keeper.log_dir, name)
    if not os.path.lexists(path):
        files.write(path, text.encode())


def _plan(record: Record, run_digest: str) -> Plan:
    """The plan of a run, as far as its Dockerfile shows it."""
    base = record.base_image
    assert base is not None  # it has an image, which was made from one
    digest = record.environment_digest.removeprefix("sha256:")
    titles = layer_titles(Lock(packages=record.packages), base)
    return Plan(
        version=record.reprorun.version,
        environment=plan_environment(record.reprorun.version, base, digest, titles),
        githash=record.githash,
        run_digest=run_digest,
        run_tag=record.image,
        container=ContainerSpec(image=record.image, command=record.command, name=""),
    )


def _guests_word(log_dir: str) -> str:
    guest = read_guest_report(log_dir)
    drop_guest_report(log_dir)
    return f"; its own report says that it ended with exit code {guest.exit_code}" if guest else ""


def _close(outcome: Outcome, keeper: Keeper) -> None:
    _clear(keeper)
    close_record(outcome, keeper)


def _clear(keeper: Keeper) -> None:
    """Nothing of ours is left unfinished; the space that was set aside is among it."""
    clear_unfinished(keeper.log_dir)


def _remove_file(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)
