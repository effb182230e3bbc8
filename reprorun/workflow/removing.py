"""Removing a record that was made to be compared: it is there as a whole, or not at all."""

from __future__ import annotations

import os
import shutil

from reprorun.experiment.atomic import unfinished_beside
from reprorun.held import holding
from reprorun.known import forget_record


def remove_record(log_dir: str, run_id: str) -> None:
    """Remove a record, and the note of where it lies.

    Args:
        log_dir: its directory.
        run_id: its id.

    Raises:
        OSError: it can't be removed.
    """
    aside = unfinished_beside(log_dir)
    with holding(paths=[aside]):
        os.rename(log_dir, aside)
        shutil.rmtree(aside)
    forget_record(run_id)
