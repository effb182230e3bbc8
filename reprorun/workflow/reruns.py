"""One record run again as often as it takes, each time with other circumstances, and compared."""

from __future__ import annotations

import os
from functools import cached_property
from typing import NamedTuple

import msgspec

from reprorun import store
from reprorun.compare.values import Comparison, Settings
from reprorun.formats.garage import is_garage_record
from reprorun.held import holding_dir
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import Changes, Record, Variation
from reprorun.vary.applying import change
from reprorun.vary.factor import Situation
from reprorun.workflow.changes import name_of
from reprorun.workflow.compare import compare_paths
from reprorun.workflow.gather import Connect
from reprorun.workflow.opened import Opened
from reprorun.workflow.removing import remove_record
from reprorun.workflow.report import Reporter
from reprorun.workflow.rerun import rerun_opened
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
        try:
            finished = rerun_opened(
                self._place,
                self._path,
                changes,
                self._cwd,
                self._limits,
                self._connect,
                self._report,
            )
        except BaseException:
            _remove_empty(log_dir)
            raise
        if finished.record.status == "interrupted":
            raise KeyboardInterrupt
        return Done(log_dir, finished.record, self._place.log_dir, self._settings)


def _remove_empty(log_dir: str) -> None:
    """What was claimed and not used; a record that was begun stays."""
    if not os.listdir(log_dir):
        os.rmdir(log_dir)
