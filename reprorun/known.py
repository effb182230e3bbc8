"""Which records there are on this machine: each run notes where its record lies.

    XDG_STATE_HOME/reprorun/records/ID     the log directory, as text

Records may be moved, copied and removed like any directory; this is only how `reprorun gc` knows
what may still be needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress


def remember_record(run_id: str, log_dir: str) -> None:
    """Note where a record lies. A note that can't be written is no reason not to run."""
    with suppress(OSError):
        path = os.path.join(_directory(), run_id)
        with open(path, "wb") as file:
            file.write(os.fsencode(log_dir))


def known_records() -> Iterator[str]:
    """The log directories that were noted and are there."""
    for entry in sorted(os.listdir(_directory())):
        with suppress(OSError):
            with open(os.path.join(_directory(), entry), "rb") as file:
                log_dir = os.fsdecode(file.read())
            if os.path.isdir(log_dir):
                yield log_dir


def _directory() -> str:
    from platformdirs import user_state_path

    path = user_state_path("reprorun") / "records"
    path.mkdir(parents=True, exist_ok=True)
    return str(path)
