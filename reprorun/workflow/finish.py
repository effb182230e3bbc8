"""The end of a run: judged, brought home, its record closed.

Done by the process that began the run, or by `reprorun recover` when that is no more. Everything
that is needed for it stands in the record, and each step can be done once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from reprorun import store
from reprorun.engine import Engine
from reprorun.errors import EngineError, UsageError
from reprorun.model import WORKSPACE, GuestReport, Mount, Outcome, Record, Status, Value
from reprorun.probe.hardware import as_seen
from reprorun.workflow.attend import Ending
from reprorun.workflow.carrying import carry_home, drop_arriving
from reprorun.workflow.garage_outputs import adopt
from reprorun.workflow.harvest import (
    archive_warning,
    bring_out,
    drop_guest_report,
    find_sub_records,
    read_guest_report,
    write_variant,
)
from reprorun.workflow.keeper import Keeper, explain, utc_now
from reprorun.workflow.outcome import (
    BY_USER,
    FROM_OUTSIDE,
    clock_warning,
    gpu_warning,
    judge,
    memory_warning,
    network_advice,
)
from reprorun.workflow.report import Reporter


class Exited(Value, frozen=True, kw_only=True):
    """A run whose container has exited."""

    container: str  # id
    name: str  # of the container, for people
    ending: Ending
    carried: bool = False  # the log directory is in the container, too: see `carrying`
    tail: str = ""  # the last of what it printed
    notes: tuple[str, ...] = ()  # about what it printed


def finish(run: Exited, engine: Engine, keeper: Keeper, report: Reporter) -> Outcome:
    """Judge a run, bring home what it made, and remove its container.

    Args:
        run: as it was attended.
        engine: has its container.
        keeper: holds the record, which knows the outcome when this returns.
        report: told what there is to be noted.

    Raises:
        EngineError: what the run made could not be brought out; the container stays.
    """
    keeper.tell(cause=run.ending.cause)  # else who tries it again would take it for its own end
    if run.carried:
        _carry_home(run, engine, keeper)
    record = keeper.record
    outcome = judge(run.ending, read_guest_report(keeper.log_dir), record.limits)
    notes = (
        *run.notes,
        network_advice(outcome, record.network, run.tail),
        memory_warning(outcome),
        gpu_warning(outcome),
        archive_warning(keeper.log_dir, record.archive),
        clock_warning(record.started, run.ending.state.ended),
    )
    for note in notes:
        if note and note not in record.notes:
            keeper.note(note)
            report.note(note)
    with _kept_if_not_harvested(run, keeper):
        _write_outcome(outcome, run.ending, engine, keeper)
    bring_home(outcome, run, engine, keeper, report)
    return outcome


def bring_home(
    outcome: Outcome, run: Exited, engine: Engine, keeper: Keeper, report: Reporter
) -> None:
    """Bring out what a run made whose outcome is on the disk, and remove its container.

    Raises:
        EngineError: that could not be brought out; the container stays.
    """
    with _kept_if_not_harvested(run, keeper):
        _harvest(outcome, run.container, engine, keeper)
    remove_container(run.container, engine, keeper, report)


def outcome_of(record: Record, log_dir: str) -> Outcome | None:
    """The outcome that a record knows of a run which is not closed yet; None before there is one.

    Args:
        record: of a run whose container has exited.
        log_dir: its directory.
    """
    if record.exit_code is None or record.status != "running":
        return None
    interrupted = record.reason in (BY_USER, FROM_OUTSIDE)
    status: Status = "finished" if record.exit_code == 0 else "failed"
    return Outcome(
        status="interrupted" if interrupted else status,
        exit_code=record.exit_code,
        reason=record.reason,
        guest=read_guest_report(log_dir),
    )


def close_record(outcome: Outcome, keeper: Keeper) -> str | None:
    """List what a run left, and write its record for the last time.

    Returns:
        A mistake of the user that showed only in the end.

    Raises:
        OSError, UsageError: something can't be read, moved or written.
    """
    keeper.free_reserve()
    drop_guest_report(keeper.log_dir)
    drop_arriving(keeper.log_dir)
    adopt(keeper.log_dir)
    sub_records = find_sub_records(keeper.log_dir)
    write_variant(keeper.log_dir, sub_records, keeper.record.params)
    outputs, odd = store.list_outputs(keeper.log_dir)
    unused = _unused_params(outcome, sub_records, keeper.record)
    if unused:
        keeper.note(unused)
    keeper.close(
        status=outcome.status,
        sub_records=sub_records,
        outputs=outputs,
        not_kept=(*keeper.record.not_kept, *odd),
    )
    return unused


def remove_container(container: str, engine: Engine, keeper: Keeper, report: Reporter) -> None:
    """Remove a container; where that can't be done, `reprorun recover` will."""
    try:
        engine.remove(container)
        keeper.leaves_container = False
    except EngineError as error:
        keeper.leaves_container = True
        report.note(f"the container could not be removed: {error}")


def _carry_home(run: Exited, engine: Engine, keeper: Keeper) -> None:
    """Fetch the log directory. Until that is done the container has the only copy of it."""
    keeper.remember(exit_code=run.ending.state.exit_code)  # a record that says so is not closed yet
    with _kept_if_not_harvested(run, keeper):
        keeper.remember(not_kept=carry_home(engine, run.container, keeper.log_dir))


def _write_outcome(outcome: Outcome, ending: Ending, engine: Engine, keeper: Keeper) -> None:
    """Put on disk how it ended, before anything else can fail."""
    guest, ended = outcome.guest, ending.state.ended
    host = as_seen(keeper.record.host, guest, engine.info())
    keeper.remember(ended=ended or utc_now(), host=host)
    keeper.write_outcome(
        exit_code=outcome.exit_code,
        reason=outcome.reason,
        seconds=_seconds(guest, ending, keeper.record),
        peak_memory=guest.peak_memory if guest else None,
        gpus_seen=guest.gpus if guest else None,
    )


def _harvest(outcome: Outcome, container: str, engine: Engine, keeper: Keeper) -> None:
    if outcome.guest and outcome.guest.outputs_kept:
        not_kept = outcome.guest.not_kept
    else:
        inputs = tuple(Mount(source=i.path, target=i.target) for i in keeper.record.inputs)
        not_kept = bring_out(engine, container, inputs, keeper.log_dir)
    known = keeper.record.not_kept
    fresh = tuple(entry for entry in not_kept if entry not in known)
    if fresh:  # else it would not be known any more, with the container gone
        keeper.update(not_kept=(*known, *fresh))
    keeper.tell(harvested=True)  # it is not to be fetched once more


@contextmanager
def _kept_if_not_harvested(run: Exited, keeper: Keeper) -> Iterator[None]:
    """A container whose outputs could not be brought out is their only copy: say where it is."""
    try:
        yield
    except (OSError, EngineError, UsageError) as error:
        what = explain(error, keeper.log_dir) if isinstance(error, OSError) else str(error)
        how = "`reprorun recover`" if run.carried else f"`docker cp {run.name}:{WORKSPACE} .`"
        raise EngineError(
            f"the outputs could not be brought out: {what}\n"
            f"The container is kept with all that it made: {how}"
        ) from error


def _unused_params(outcome: Outcome, sub_records: tuple[str, ...], record: Record) -> str | None:
    """Parameters that no wrapped function took. A run that failed may have ended before the call.

    A plain function is called without leaving a sub-record.
    """
    plain = any(payload.path == store.FUNCTION_FILE for payload in record.payloads)
    if not record.params or sub_records or plain or outcome.exit_code != 0:
        return None
    names = ", ".join(record.params)
    return (
        f"-P {names} had no effect: {record.argv[0]} called no function wrapped by "
        "@reprorun.wrap_experiment. Pass it as an argument of the script instead."
    )


def _seconds(guest: GuestReport | None, ending: Ending, record: Record) -> float | None:
    """How long it took; None where nobody was there and the clock was set back meanwhile."""
    if guest:
        return round(guest.seconds, 6)
    if ending.seconds is not None:
        return round(ending.seconds, 6)
    if record.started is None or record.ended is None:
        return None
    start, end = (datetime.fromisoformat(moment) for moment in (record.started, record.ended))
    return max((end - start).total_seconds(), 0) or None
