"""The runner of this machine: runs side by side on its engine, as many as its resources allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from reprorun.engine import Engine
from reprorun.errors import EngineError, EngineUnavailable, ReprorunError
from reprorun.sweeps.slots import make_slots
from reprorun.sweeps.values import Ask, Slot
from reprorun.workflow.gather import Connect
from reprorun.workflow.prepared import Attempt, Prepared, run_prepared
from reprorun.workflow.reach import reach
from reprorun.workflow.report import Reporter
from reprorun.workflow.resources import machine_of
from reprorun.workflow.runner import Ended, Job, Runner
from reprorun.workflow.side_by_side import Failed, Threads


def here(
    connect: Connect,
    reporter: Callable[[str], Reporter],
    at_once: int | None,
    report: Reporter,
) -> Callable[[Prepared, Engine, Ask], Runner]:
    """Makes runners for the engine of this machine.

    Args:
        connect: reaches it.
        reporter: makes what is told how one run goes, by the run's log directory.
        at_once: how many at most; None: as many as there are resources for.
        report: told how many that is.
    """

    def make(launch: Prepared, engine: Engine, ask: Ask) -> Runner:
        slots, words = make_slots(ask, machine_of(engine.info(), ask), at_once)
        report.step("side by side", words)
        return HereRunner(launch, slots, connect, reporter)

    return make


class HereRunner:
    """Runs of one launch on the engine of this machine. See `Runner`.

    Args:
        launch: what is run.
        slots: one for each run at a time.
        connect: reaches the engine; each slot has a connection of its own.
        reporter: makes what is told how one run goes, by the run's log directory.
    """

    def __init__(
        self,
        launch: Prepared,
        slots: Sequence[Slot],
        connect: Connect,
        reporter: Callable[[str], Reporter],
    ) -> None:
        self._launch = launch
        self._connect = connect
        self._reporter = reporter
        self._free = list(reversed(slots))
        self._engines: dict[int, Engine] = {}
        self._jobs: dict[int, tuple[Job, Slot]] = {}
        self._threads = Threads[Attempt](len(slots))

    def __enter__(self) -> HereRunner:
        self._threads.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._threads.__exit__(*raised)
        for engine in self._engines.values():
            engine.close()

    @property
    def interrupted(self) -> bool:
        return self._threads.interrupted

    @property
    def room(self) -> int:
        return len(self._free)

    def begin(self, job: Job) -> None:
        slot = self._free.pop()
        self._jobs[job.number] = job, slot
        self._threads.begin(job.number, partial(self._run, job, slot))

    def wait(self) -> Ended:
        number, result = self._threads.wait()
        job, slot = self._jobs.pop(number)
        self._free.append(slot)
        if not isinstance(result, Failed):
            return Ended(
                job=job,
                record=result.record,
                log_dir=result.log_dir,
                exit_code=result.exit_code,
                error=result.error,
                refusal=result.refusal,
            )
        if isinstance(result.error, ReprorunError):
            return Ended(job=job, exit_code=result.error.exit_code, error=result.error)
        raise result.error

    # ------------------------------------------------------------ in a thread of the run's own

    def _run(self, job: Job, slot: Slot) -> Attempt:
        spec = replace(job.spec, gpu_devices=slot.devices)
        report = self._reporter(job.spec.log_dir or "")
        attempt = run_prepared(self._launch, spec, self._engine(slot), report)
        if isinstance(attempt.error, EngineUnavailable):
            self._engines.pop(slot.number).close()
            self._clear(attempt.record.id, slot)
        return attempt

    def _engine(self, slot: Slot) -> Engine:
        """The connection of a slot; an engine that is being restarted is waited for."""
        if slot.number not in self._engines:
            self._engines[slot.number] = reach(self._connect, lambda: self.interrupted)
        return self._engines[slot.number]

    def _clear(self, run_id: str, slot: Slot) -> None:
        """The container of a run that was lost sight of must not go on beside the next attempt."""
        try:
            engine = self._engine(slot)
            for container in engine.labelled_containers(f"reprorun.run={run_id}"):
                engine.remove(container.id)
        except EngineError:
            return  # still away: the next run in this slot will say so
