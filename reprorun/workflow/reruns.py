"""One record run again as often as it takes, each time with other circumstances, and compared."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import NamedTuple

import msgspec

from reprorun import store
from reprorun.compare.values import Comparison, Settings
from reprorun.errors import EngineError
from reprorun.formats.garage import is_garage_record
from reprorun.gpus import REMEDY
from reprorun.held import holding_dir
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import Changes, Gpus, Record, Variation
from reprorun.vary.applying import change
from reprorun.vary.factor import Situation
from reprorun.workflow.changes import name_of
from reprorun.workflow.compare import compare_paths
from reprorun.workflow.gather import Connect
from reprorun.workflow.opened import Opened
from reprorun.workflow.removing import remove_record
from reprorun.workflow.report import Reporter
from reprorun.workflow.rerun import rerun_opened
from reprorun.workflow.shared_gpus import SharedGpus
from reprorun.workflow.situation import find_situation


class Done(NamedTuple):
    """A re-run that has ended, and what it is compared with."""

    log_dir: str
    record: Record
    original: str  # log directory
    settings: Settings

    def compared(self, other: Done | None = None) -> Comparison:
        """With another re-run, or the original."""
        first = other.log_dir if other else self.original
        return compare_paths(first, self.log_dir, self.settings)

    def same(self, other: Done | None) -> bool:
        """Whether its outputs are the same as another's; None: as the original's."""
        return self.compared(other).same

    def ended_as_original(self) -> bool:
        """Whether it came to the same end, with the same exit code."""
        if is_garage_record(self.original):
            return self.record.status == "finished"
        before = store.read_record(self.original)
        return (before.status, before.exit_code) == (self.record.status, self.record.exit_code)

    def forget(self) -> None:
        """Remove it."""
        remove_record(self.log_dir, self.record.id)


class Reruns:
    """Re-runs of one record.

    Args:
        place: the record, opened.
        path: what the user named.
        changes: what all re-runs do otherwise than the original.
        settings: how strictly they are compared.
        limits: for the launch archive.
        cwd: the working directory, absolute.
        below: directory in it for their records.
        connect: reaches the engine.
        report: told what happens.
        gpus: where others run beside it: what they share; None: it has all to itself.
    """

    def __init__(
        self,
        place: Opened,
        path: str,
        changes: Changes,
        settings: Settings,
        limits: ArchiveLimits,
        cwd: str,
        below: str,
        connect: Connect,
        report: Reporter,
        gpus: SharedGpus | None,
    ) -> None:
        self._place = place
        self._path = path
        self._changes = changes
        self._settings = settings
        self._limits = limits
        self._cwd = cwd
        self._below = os.path.join(cwd, below)
        self._connect = connect
        self._report = report
        self._gpus = gpus

    @cached_property
    def situation(self) -> Situation:
        """What has to be known to vary the run."""
        return find_situation(self._place, self._changes, self._limits, self._connect)

    def run(self, variations: tuple[Variation, ...] = ()) -> Done:
        """Run it again and keep a record.

        Args:
            variations: what is changed on purpose.

        Raises:
            ReprorunError: it can't be run again.
            KeyboardInterrupt: it was interrupted.
        """
        place = os.path.join(self._below, name_of(self._path))
        with holding_dir(place, lambda: store.claim_log_dir(place)) as log_dir:
            return self._run_into(log_dir, variations)

    def _run_into(self, log_dir: str, variations: tuple[Variation, ...]) -> Done:
        changes = msgspec.structs.replace(self._changes, log_dir=log_dir)
        if variations:
            changes = change(changes, variations, self.situation)
        asked = _asked_gpus(self._place.log_dir, changes)
        try:
            with self._lent(asked, changes.gpu_devices) as gpus:
                record = self._rerun(msgspec.structs.replace(changes, gpu_devices=gpus))
            _refuse_too_few(asked, record)
        except BaseException:
            _remove_empty(log_dir)
            raise
        return Done(log_dir, record, self._place.log_dir, self._settings)

    def _lent(self, asked: Gpus, given: tuple[str, ...]) -> AbstractContextManager[tuple[str, ...]]:
        return self._gpus.lent(asked, self._report) if self._gpus else nullcontext(given)

    def _rerun(self, changes: Changes) -> Record:
        finished = rerun_opened(
            self._place,
            self._path,
            changes,
            self._cwd,
            self._limits,
            self._connect,
            self._report,
        )
        if finished.record.status == "interrupted":
            raise KeyboardInterrupt
        return finished.record


def _asked_gpus(log_dir: str, changes: Changes) -> Gpus:
    """What a re-run asks for: as its original did, if that had any."""
    if changes.gpus or is_garage_record(log_dir):
        return changes.gpus or Gpus(kind="none")
    record = store.read_record(log_dir)
    return record.asked_gpus or Gpus() if record.runtime == "gpu" else Gpus(kind="none")


def _refuse_too_few(asked: Gpus, record: Record) -> None:
    """Raise EngineError for a re-run that was not begun: it says nothing of the original."""
    wanted = asked.count or len(asked.devices) or asked.kind == "all"
    seen = record.gpus_seen
    if seen and len(seen.gpus) < wanted and record.exit_code == EngineError.exit_code:
        raise EngineError(f"{record.reason}.\n{REMEDY}; --gpus asks for fewer.")


def _remove_empty(log_dir: str) -> None:
    """What was claimed and not used; a record that was begun stays."""
    if not os.listdir(log_dir):
        os.rmdir(log_dir)
