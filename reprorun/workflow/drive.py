"""Driving a sweep: what is begun when, what is begun again, and when enough has gone wrong."""

from __future__ import annotations

import errno
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Protocol

from reprorun.errors import EngineError, EngineUnavailable, ReprorunError, UsageError
from reprorun.model import RunSpec, Value
from reprorun.sweeps.book import SWEEP_FILE, Book
from reprorun.sweeps.naming import name_of
from reprorun.sweeps.values import Entry, EntryStatus, Params
from reprorun.workflow.keeper import explain
from reprorun.workflow.outcome import FROM_OUTSIDE
from reprorun.workflow.report import Reporter
from reprorun.workflow.runner import Ended, Job, Runner, ends

_MOST_MOVES = 20  # times that a run is begun again because its machine is gone


class Policy(Value, frozen=True, kw_only=True):
    """What becomes of runs that fail."""

    retries: int = 2  # of a run for which the engine or its machine failed
    retry_failed: bool = False  # also where the experiment itself failed
    max_failures: int | None = None  # when so many have failed, no other is begun


class RunEnd(Value, frozen=True, kw_only=True):
    """How a run has ended, to be told."""

    name: str  # of its record
    status: str
    seconds: float | None = None  # how long it took
    reason: str | None = None  # why it is not `finished`
    again: bool = False  # it will be run once more


class Progress(Protocol):
    """Told how a sweep goes."""

    def of(self, name: str) -> Reporter:
        """A reporter for one run."""
        ...

    def began(self, name: str) -> None:
        """A run was begun."""
        ...

    def ended(self, end: RunEnd) -> None:
        """A run has ended."""
        ...

    def note(self, text: str) -> None:
        """Something that the user should know."""
        ...


class Fate(Value, frozen=True, kw_only=True):
    """What becomes of a run that has ended, and of the sweep."""

    status: EntryStatus
    again: bool = False
    stop: ReprorunError | None = None  # no other run is begun, for this reason


class Drive:
    """One pass over the runs of a sweep that are not finished.

    Args:
        book: knows the runs, and is kept up to date.
        spec_of: makes the spec of a run of its parameters; the log directory is set here.
        runner: makes the runs.
        policy: for those that fail.
        progress: told how it goes.
    """

    def __init__(
        self,
        book: Book,
        spec_of: Callable[[Params, str], RunSpec],
        runner: Runner,
        policy: Policy,
        progress: Progress,
    ) -> None:
        self.failures = 0
        self.stopped: ReprorunError | None = None  # why not all runs were begun
        self.enough = False  # failures
        self._book = book
        self._spec_of = spec_of
        self._runner = runner
        self._policy = policy
        self._progress = progress
        self._moves: Counter[int] = Counter()
        self._fresh = _unfinished(book)
        self._again: deque[int] = deque()
        self._mixed = book.points.mixed

    def run(self) -> None:
        """Run what is to be run, until it has ended or there is a reason to stop.

        What is under way then is let end, but after Ctrl-C, which stops it.
        """
        self._book.write()
        try:
            for ended in ends(self._runner, self._next):
                self._take(ended)
        finally:
            self._write(self._book.write)

    def _next(self) -> Job | None:
        if not self._goes_on:
            return None
        number = self._again.popleft() if self._again else next(self._fresh, None)
        return None if number is None else self._job(number)

    @property
    def interrupted(self) -> bool:
        """Ctrl-C came."""
        return self._runner.interrupted

    @property
    def _goes_on(self) -> bool:
        return not (self.stopped or self.enough or self.interrupted)

    def _job(self, number: int) -> Job:
        params, entry = self._book.points[number], self._book.entries[number]
        name = name_of(params, mixed=self._mixed)
        entry.log_dir = _free_name(self._book.directory, name)
        entry.status = "running"
        entry.attempts += 1
        log_dir = os.path.join(self._book.directory, entry.log_dir)
        self._progress.began(entry.log_dir)
        return Job(number=number, spec=self._spec_of(params, log_dir))

    def _take(self, ended: Ended) -> None:
        number = ended.job.number
        entry = self._book.entries[number]
        if ended.moved:
            self._moves[number] += 1
        fate = decide(ended, entry.attempts, self._moves[number], self._policy)
        if ended.moved and self.interrupted:  # it was stopped before it had begun
            fate = Fate(status="planned")
        _keep(ended, fate, entry)
        self.stopped = self.stopped or fate.stop
        again = fate.again and self._goes_on
        if again:
            self._again.append(number)
        elif fate.status in ("failed", "lost"):
            self._count_failure()
        self._tell(ended, entry, again=again)
        self._write(self._book.write_now_and_then)

    def _count_failure(self) -> None:
        self.failures += 1
        most = self._policy.max_failures
        if most is not None and self.failures >= most and not self.enough:
            self.enough = True
            self._progress.note(
                f"{self.failures} runs have failed (--max-failures): no other is begun"
            )

    def _tell(self, ended: Ended, entry: Entry, *, again: bool) -> None:
        reason = ended.record.reason if ended.record else None
        if ended.moved:
            reason = "the machine that it was on is gone"
        reason = ended.refusal or reason or (str(ended.error) if ended.error else None)
        self._progress.ended(
            RunEnd(
                name=os.path.basename(ended.job.spec.log_dir or ""),
                status=entry.status,
                seconds=entry.seconds,
                reason=reason,
                again=again,
            )
        )

    def _write(self, write: Callable[[], None]) -> None:
        """Write the book. Where that can't be done the old one stays, and the records are true."""
        try:
            write()
        except OSError as error:
            path = os.path.join(self._book.directory, SWEEP_FILE)
            self.stopped = self.stopped or EngineError(explain(error, path))


def decide(ended: Ended, attempts: int, moves: int, policy: Policy) -> Fate:
    """What becomes of a run that has ended. Pure.

    Args:
        ended: how.
        attempts: how often it was begun.
        moves: how often of these its machine went away.
        policy: of the sweep.
    """
    if ended.moved:
        return Fate(status="lost", again=moves <= _MOST_MOVES)
    if ended.refusal:
        return Fate(status="failed", stop=UsageError(ended.refusal))
    status = ended.record.status if ended.record else None
    left = attempts - moves <= policy.retries
    if status in ("interrupted", "finished") and ended.error is None:
        return Fate(status=status, again=left and _was_stopped(ended))
    if ended.error is None:
        return Fate(status="failed", again=policy.retry_failed and left)
    kept: EntryStatus = "lost" if status == "lost" else "failed"
    if is_hopeless(ended):
        return Fate(status=kept, stop=ended.error)
    return Fate(status=kept, again=left)


def _was_stopped(ended: Ended) -> bool:
    """Whether something else than we has ended it, as an engine does that is restarted."""
    return ended.record is not None and ended.record.reason == FROM_OUTSIDE


def is_hopeless(ended: Ended) -> bool:
    """Whether any other run would fail for the same reason: a full disk, an engine that is gone."""
    error = ended.error
    if isinstance(error, UsageError) or _is_full(error):
        return True
    return isinstance(error, EngineUnavailable) and ended.record is None  # it was waited for


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "no space left on device" in str(error).lower():  # the engine's disk
            return True
        error = error.__cause__
    return False


def _keep(ended: Ended, fate: Fate, entry: Entry) -> None:
    entry.status = fate.status
    entry.exit_code = ended.exit_code
    if ended.record is None or ended.log_dir is None:
        entry.log_dir = entry.id = entry.seconds = None
        return
    entry.log_dir = os.path.basename(ended.log_dir)
    entry.id = ended.record.id
    entry.seconds = ended.record.seconds


def _unfinished(book: Book) -> Iterator[int]:
    """The runs that are to be begun; made as they are needed, for there may be a million."""
    return (number for number, entry in enumerate(book.entries) if entry.status != "finished")


def _free_name(directory: str, name: str) -> str:
    """The name, or the first of `name_1`, `name_2`, ... that no earlier attempt has taken."""
    taken, number = name, 0
    while os.path.lexists(os.path.join(directory, taken)):
        number += 1
        taken = f"{name}_{number}"
    return taken
