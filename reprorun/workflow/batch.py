"""Several runs of one launch side by side, of which each says itself what it is: batch tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from reprorun.model import RunSpec
from reprorun.workflow.drive import Progress, RunEnd
from reprorun.workflow.gather import Connect
from reprorun.workflow.here import here
from reprorun.workflow.prepared import prepared
from reprorun.workflow.report import Reporter
from reprorun.workflow.resources import ask_of
from reprorun.workflow.runner import Ended, Job, ends
from reprorun.workflow.sweep import Begin


def run_batch(
    specs: Sequence[RunSpec],
    at_once: int,
    connect: Connect,
    begin: Begin,
    reporter: Callable[[str], Reporter],
    report: Reporter,
) -> list[Ended]:
    """Run them all; one that fails does not stop the others.

    Args:
        specs: of the same script, environment and limits; at least one.
        at_once: how many at most; the machine's resources may allow fewer.
        connect: reaches the engine.
        begin: told when the launch is ready.
        reporter: makes what is told how one run goes, by the run's log directory.
        report: told how the launch is made ready.

    Returns:
        Their ends, in order; fewer than specs after Ctrl-C.

    Raises:
        UsageError, EngineError: nothing was started, for the reason given.
        KeyboardInterrupt: interrupted; what was under way has ended.
    """
    found: dict[int, Ended] = {}
    with closing(connect()) as engine, prepared(specs[0], engine, report) as launch:
        make_runner = here(connect, reporter, at_once, report)
        runner = make_runner(launch, engine, ask_of(launch.spec, engine.info()))
        progress = begin(len(specs), 0)
        todo = _jobs(specs, progress)
        for ended in ends(runner, lambda: next(todo, None)):
            found[ended.job.number] = ended
            _tell(ended, progress)
        if runner.interrupted:
            raise KeyboardInterrupt
    return [found[number] for number in sorted(found)]


def _jobs(specs: Sequence[RunSpec], progress: Progress) -> Iterator[Job]:
    for number, spec in enumerate(specs):
        progress.began(_name(spec))
        yield Job(number=number, spec=spec)


def _name(spec: RunSpec) -> str:
    return os.path.basename(spec.log_dir or spec.script)


def _tell(ended: Ended, progress: Progress) -> None:
    record, name = ended.record, _name(ended.job.spec)
    if record is None:
        end = RunEnd(name=name, status="failed", reason=str(ended.error))
    else:
        end = RunEnd(name=name, status=record.status, seconds=record.seconds, reason=record.reason)
    progress.ended(end)
