"""Devices of this machine that an engine on it can be given as files: AMD's GPUs."""

from __future__ import annotations

import glob
import os
import re

from reprorun.gpus import KFD
from reprorun.model import DeviceNode


def find_gpu_nodes(root: str = "/") -> tuple[DeviceNode, ...]:
    """The node that all GPUs are used through, then one for each; empty where there are none.

    Args:
        root: of the file system, for tests.
    """
    paths = glob.glob(os.path.join(root, "dev/dri/renderD*"))
    cards = sorted(paths, key=lambda path: int(re.sub(r"\D", "", os.path.basename(path)) or 0))
    kfd = os.path.join(root, KFD.lstrip("/"))
    if not cards or not os.path.exists(kfd):
        return ()
    return tuple(
        DeviceNode(path=f"/{os.path.relpath(path, root)}", group=os.stat(path).st_gid)
        for path in (kfd, *cards)
    )
