"""check: records run again and compared with what they were. What comes out is a verdict each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

from reprorun import store
from reprorun.compare.values import SAME, Comparison, Settings, Verdict, worst
from reprorun.errors import RecordError, ReprorunError, UsageError
from reprorun.formats.garage import is_garage_record
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import Changes, Difference, Value, Variation
from reprorun.vary.applying import Wanted, choose
from reprorun.vary.values import Blame
from reprorun.workflow.blame import find_blame
from reprorun.workflow.gather import Connect
from reprorun.workflow.opened import Opened, opened
from reprorun.workflow.report import Reporter
from reprorun.workflow.reruns import Reruns
from reprorun.workflow.shared_gpus import SharedGpus
from reprorun.workflow.side_by_side import side_by_side

PLACE = os.path.join("data", "local", "check")
"""Where the re-runs of a check go, below the working directory."""

PACK = ".rrpack"


class Repeat(Value, frozen=True, kw_only=True):
    """One re-run, compared with the original."""

    comparison: Comparison
    seconds: float  # with all that is around the run
    log_dir: str | None  # None: it was the same, and is not kept
    differences: tuple[Difference, ...] = ()  # of its circumstances
    variations: tuple[Variation, ...] = ()  # of those, what was changed on purpose
    not_varied: tuple[str, ...] = ()  # what should have been and can't, with the reasons


class RecordCheck(Value, frozen=True, kw_only=True):
    """What a check says of one record."""

    record: str  # path, as it was named or found
    verdict: Verdict | Literal["error"]
    repeats: tuple[Repeat, ...] = ()
    error: str | None = None  # why it could not be run again
    exit_code: int = 0  # of that error
    blame: Blame | None = None  # why it differs, where that was looked for


class CheckOptions(Value, frozen=True, kw_only=True):
    """How records are checked."""

    changes: Changes
    settings: Settings = Settings()
    limits: ArchiveLimits = ArchiveLimits()
    repeat: int = 1
    keep: bool = False  # re-runs that came out the same, too
    vary: Wanted = ()  # which circumstances are changed
    vary_seed: int = 0  # that chooses how; the second repeat takes the next one
    blame: bool = True  # find out why a record differs
    confirm: int = 3  # runs that say whether something is so, and not by chance


def check(
    records: Sequence[str],
    options: CheckOptions,
    at_once: int,
    cwd: str,
    connect: Connect,
    reporter: Callable[[str], Reporter],
) -> Iterator[RecordCheck]:
    """Run records again and compare.

    Args:
        records: log directories or packs.
        options: how.
        at_once: how many are run side by side. None has GPUs then that another one has.
        cwd: the working directory, absolute.
        connect: reaches the engine, for each record anew.
        reporter: makes what is told how it goes with one record.

    Yields:
        What is to be said of each record, as it is known.

    Raises:
        KeyboardInterrupt: interrupted; nothing is running any more.
    """
    gpus = SharedGpus(connect) if at_once > 1 else None
    tasks = [
        partial(_check_record, record, options, cwd, connect, reporter(record), gpus)
        for record in records
    ]
    for _, result in side_by_side(tasks, at_once):
        yield result


def find_checkable(paths: Sequence[str]) -> tuple[str, ...]:
    """The records among paths and in directories of them, each once.

    Args:
        paths: records, packs, or directories that hold some.

    Raises:
        UsageError: a path that is not there, or holds none.
    """
    found: dict[str, str] = {}
    for path in paths:
        here = list(_in(path))
        if not here:
            raise UsageError(f"{path} holds no record. Name a log directory, a pack, or a "
                             "directory of them.")  # fmt: skip
        for record in here:
            found.setdefault(os.path.realpath(record), record)
    return tuple(found.values())


def _in(path: str) -> Iterator[str]:
    if not os.path.lexists(path):
        raise UsageError(f"there is no {path}.")
    if not os.path.isdir(path) or is_garage_record(path):
        yield path
        return
    yield from store.find_records(path)
    for entry in sorted(os.listdir(path)):
        if entry.endswith(PACK):
            yield os.path.join(path, entry)


# ---------------------------------------------------------------- one record


def _check_record(
    path: str,
    options: CheckOptions,
    cwd: str,
    connect: Connect,
    report: Reporter,
    gpus: SharedGpus | None,
) -> RecordCheck:
    repeats: list[Repeat] = []
    try:
        with opened(path, report) as place:
            checking = Checking(place, path, options, cwd, connect, report, gpus)
            for number in range(options.repeat):
                repeats.append(checking.repeat(number))
            verdict = worst(repeat.comparison.verdict for repeat in repeats)
            blame = None
            if options.blame and verdict not in (*SAME, "unknown"):
                blame = checking.blame(repeats)
    except ReprorunError as error:
        return RecordCheck(
            record=path,
            verdict="error",
            repeats=tuple(repeats),
            error=str(error),
            exit_code=error.exit_code,
        )
    return RecordCheck(record=path, verdict=verdict, repeats=tuple(repeats), blame=blame)


class Checking:
    """One record that is checked: its re-runs, and what is asked of them."""

    def __init__(
        self,
        place: Opened,
        path: str,
        options: CheckOptions,
        cwd: str,
        connect: Connect,
        report: Reporter,
        gpus: SharedGpus | None,
    ) -> None:
        _refuse_unfinished(place.log_dir)
        self._options = options
        self._report = report
        self._reruns = Reruns(
            place,
            path,
            options.changes,
            options.settings,
            options.limits,
            cwd,
            PLACE,
            connect,
            report,
            gpus,
        )

    def repeat(self, number: int) -> Repeat:
        """Run it again and compare.

        Args:
            number: of the repeat; each one varies in its own way.
        """
        began = time.monotonic()
        variations, not_varied = self._variations(number)
        done = self._reruns.run(variations)
        comparison = done.compared()
        kept = self._options.keep or not comparison.same
        if not kept:
            done.forget()
        return Repeat(
            comparison=comparison,
            seconds=round(time.monotonic() - began, 3),
            log_dir=done.log_dir if kept else None,
            differences=done.record.differences,
            variations=variations,
            not_varied=not_varied,
        )

    def blame(self, repeats: Sequence[Repeat]) -> Blame:
        """Find out why it differs.

        Args:
            repeats: of which one did, at least.
        """
        first = next(repeat for repeat in repeats if not repeat.comparison.same)
        return find_blame(
            self._reruns.run,
            self._reruns.situation,
            first.variations,
            self._options.confirm,
            lambda text: self._report.step("blame", text),
            tuple(f"{d.what}: {d.original} -> {d.now}" for d in first.differences),
        )

    def _variations(self, number: int) -> tuple[tuple[Variation, ...], tuple[str, ...]]:
        if not self._options.vary:
            return (), ()
        seed = self._options.vary_seed + number
        return choose(self._options.vary, seed, self._reruns.situation)


def _refuse_unfinished(log_dir: str) -> None:
    """A run that has no end can't be compared with."""
    if is_garage_record(log_dir):
        return
    status = store.read_record(log_dir).status
    if status not in ("finished", "failed"):
        raise RecordError(
            f"the record {log_dir} is {status}: there is nothing to compare a re-run with. "
            "`reprorun rerun` runs it again."
        )
