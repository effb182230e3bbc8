"""What has to be known to vary a run: its record, and what the engine and its machine offer."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import datetime, timezone

from reprorun.gpus import offers_gpus
from reprorun.launch_archive import ArchiveLimits
from reprorun.model import Changes
from reprorun.vary.factor import Situation
from reprorun.workflow.gather import Connect
from reprorun.workflow.machine import find_machine
from reprorun.workflow.opened import Opened
from reprorun.workflow.original import read_original


def find_situation(
    place: Opened, changes: Changes, limits: ArchiveLimits, connect: Connect
) -> Situation:
    """Look at the record, the machine and the engine.

    Raises:
        RecordError: the record is not what it claims to be.
        EngineError: the engine does not answer.
    """
    original = read_original(
        place.log_dir,
        limits,
        allow_links=changes.allow_links,
        need_archive=changes.repo is None,
    )
    with closing(connect()) as engine:
        hardware = find_machine(engine, original.record.base_image)
        offered = offers_gpus(engine.info())
    return Situation(
        record=original.record,
        cpus=hardware.cpu_count,
        features=hardware.cpu_features,
        offers_gpus=offered,
        today=datetime.now(timezone.utc).date().isoformat(),
        uid=os.getuid(),
        gid=os.getgid(),
    )
