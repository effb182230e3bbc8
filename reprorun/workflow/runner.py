"""What carries out the runs of a sweep: this machine's engine, or a cluster.

The sweep decides what is run, when, and what is run again; a runner only takes runs and gives
their ends. One thread talks to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from reprorun.errors import ReprorunError
from reprorun.model import Record, RunSpec, Value


class Job(Value, frozen=True, kw_only=True):
    """One run that is to be made."""

    number: int  # which run of the sweep
    spec: RunSpec  # complete; its log directory is a path of this machine, and is not there yet


class Ended(Value, frozen=True, kw_only=True):
    """A run that has ended, or could not be made."""

    job: Job
    record: Record | None = None  # None: it did not come so far
    log_dir: str | None = None  # where the record lies on this machine
    exit_code: int = 0
    error: ReprorunError | None = None  # the engine's, or the machine's; not the experiment's
    refusal: str | None = None  # why it can't be called like that; then no other run can, either
    moved: bool = False  # the machine that it was on is gone: nobody's fault, so it is made again


class Runner(Protocol):
    """Takes runs and gives their ends. While the block lasts, Ctrl-C goes to the runs under way."""

    def __enter__(self) -> Runner: ...

    def __exit__(self, *_: object) -> None:
        """All that is still under way is stopped, and leaves nothing behind."""
        ...

    @property
    def interrupted(self) -> bool:
        """Ctrl-C came: the runs under way are being stopped, none should be begun."""
        ...

    @property
    def room(self) -> int:
        """How many more runs it would take now."""
        ...

    def begin(self, job: Job) -> None:
        """Begin a run. Only where there is room."""
        ...

    def wait(self) -> Ended:
        """The next run that ends; waits for it. Only where some are under way."""
        ...


def ends(runner: Runner, next_job: Callable[[], Job | None]) -> Iterator[Ended]:
    """Make runs, as many at once as the runner has room for, and give each end as it comes.

    Args:
        runner: makes them. After an interrupt no other is begun.
        next_job: asked whenever there is room; None: there is nothing to begin now.
    """
    running = 0
    with runner:
        while True:
            while runner.room > 0 and not runner.interrupted and (job := next_job()):
                runner.begin(job)
                running += 1
            if not running:
                return
            ended = runner.wait()
            running -= 1
            yield ended
