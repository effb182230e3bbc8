"""What the container's main process changes about a varied run, before its command and after.

The rest is the business of each Python process: see `reprorun.experiment.varied`.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time

from reprorun.experiment.varied import VARIABLE

TYPE_CHECKING = False  # typing's own costs an import
if TYPE_CHECKING:
    from typing import List


def begin(command: List[str]) -> List[str]:
    """Changes what REPRORUN_VARIED says, as far as processes inherit it.

    Args:
        command: The run's.

    Returns:
        The command to run.
    """
    told = json.loads(os.environ[VARIABLE])
    if "umask" in told:
        os.umask(told["umask"])
    if told.get("home"):
        os.makedirs(os.environ["HOME"], mode=0o700, exist_ok=True)
    if "start" in told.get("clock", {}):  # from here on, for all processes of the run
        shift = told["clock"]["start"] - time.time()
        os.environ[VARIABLE] = json.dumps({**told, "clock": {"shift": shift}})
    if "tree" in told:
        from reprorun.experiment.moved import move

        return move(told["tree"], command)
    return command


def end(log_dir: str) -> None:
    """Lets the group that a log directory was lent to do with it as the user can.

    What fails is said, and changes nothing else: the host will miss it.
    """
    if not json.loads(os.environ[VARIABLE]).get("share"):
        return
    try:
        _share(log_dir)
    except OSError as error:
        print(f"reprorun: error: {log_dir} can't be handed over: {error}", file=sys.stderr)


def _share(directory: str) -> None:
    for path, names, files in os.walk(directory):
        for name in names + files:
            inside = os.path.join(path, name)
            found = os.lstat(inside)
            if found.st_uid == os.getuid() and not stat.S_ISLNK(found.st_mode):
                os.chmod(inside, stat.S_IMODE(found.st_mode) | (found.st_mode & 0o700) >> 3)
