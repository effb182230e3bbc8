"""Measuring the GPUs that a container sees: their names and memory, the driver, CUDA.

Nothing is imported that uses them, and nothing is waited for without a limit: a driver that is
stuck must not hold up a run for ever.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from typing import Any, Dict, List, Optional

VARIABLE = "REPRORUN_GPUS"  # how many are expected at least; not set: the run has none
PATIENCE = 60  # seconds that nvidia-smi may take; a driver that has to be loaded takes some
_LONGEST = 1 << 22  # bytes that are read of anything
_KFD = "sys/class/kfd/kfd/topology/nodes"


def find_gpus(root: str = "/", patience: float = PATIENCE) -> Dict[str, Any]:
    """Measures them.

    Args:
        root: Of the file system, for tests.
        patience: Seconds that nvidia-smi may take.

    Returns:
        What was found: `by` whom, `gpus` with name and memory in bytes, `driver`, `cuda`. Without
        GPUs these are empty, and `why` says what stood in the way, if anything did.
    """
    said, why = _run_nvidia_smi(patience)
    found = _of_nvidia_smi(said) if said else None
    return found or _of_proc(root) or amd_gpus(root) or {"by": "", "gpus": [], "why": why}


def shortfall(found: Dict[str, Any], expected: int) -> Optional[str]:
    """Returns why a run must not begin, None where it may: it sees fewer than were asked for."""
    seen = [gpu["name"] for gpu in found["gpus"]]
    if len(seen) >= expected:
        return None
    which = " ({})".format(", ".join(seen)) if seen else ""
    why = " ({})".format(found["why"]) if found.get("why") else ""
    return "{} GPU{} asked for, but the container sees {}{}{}".format(
        expected, " was" if expected == 1 else "s were", len(seen) or "none", which, why
    )


# ---------------------------------------------------------------- NVIDIA


def _run_nvidia_smi(patience: float) -> "tuple[str, str]":
    """Returns what nvidia-smi says, or why it says nothing."""
    try:
        child = subprocess.Popen(
            ["nvidia-smi", "-q", "-x"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return "", ""  # there is none
    try:
        said = child.communicate(timeout=patience)[0][:_LONGEST].decode(errors="replace")
    except subprocess.TimeoutExpired:
        _end(child)
        return "", "nvidia-smi did not answer within {:g} s".format(patience)
    if child.returncode != 0:
        return "", "nvidia-smi failed with exit code {}".format(child.returncode)
    return said, ""


def _end(child: Any) -> None:
    """Kills a program. One that waits for the driver can't be killed, and is not waited for."""
    os.killpg(child.pid, 9)
    child.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(1)


def _of_nvidia_smi(said: str) -> Optional[Dict[str, Any]]:
    cards = re.findall(r"<gpu\b.*?</gpu>", said, re.S)
    if not cards:
        return None
    return {
        "by": "nvidia-smi",
        "gpus": [
            {
                "name": _element("product_name", card),
                "memory": _mebibytes(_element("total", _element("fb_memory_usage", card))),
            }
            for card in cards
        ],
        "driver": _element("driver_version", said),
        "cuda": _element("cuda_version", said),
    }


def _element(name: str, text: str) -> str:
    """Returns the first element of that name; its text alone, where it holds no others."""
    found = re.search(r"<{0}>\s*(.*?)\s*</{0}>".format(name), text, re.S)
    return found.group(1) if found else ""


def _mebibytes(text: str) -> int:
    found = re.match(r"(\d+) MiB", text)
    return int(found.group(1)) << 20 if found else 0


def _of_proc(root: str) -> Optional[Dict[str, Any]]:
    """The driver's own list, of those that have a device node: it may list all of the machine."""
    place = os.path.join(root, "proc/driver/nvidia")
    nodes = [name for name in _list(os.path.join(root, "dev")) if re.match(r"nvidia\d+$", name)]
    if not nodes:
        return None
    names = {}
    for card in _list(os.path.join(place, "gpus")):
        told = _read(place, "gpus", card, "information")
        fields = dict(re.findall(r"(?m)^([^:\n]+):[ \t]*(.*?)[ \t]*$", told))
        names["nvidia" + fields.get("Device Minor", "")] = fields.get("Model", card)
    version = re.search(r"(?m)^NVRM version:.*?\s(\d+\.[\d.]+)\s", _read(place, "version"))
    return {
        "by": "/proc/driver/nvidia",
        "gpus": [{"name": names.get(node, node), "memory": 0} for node in nodes],
        "driver": version.group(1) if version else "",
        "cuda": "",
    }


# ---------------------------------------------------------------- AMD


def amd_gpus(root: str = "/") -> Dict[str, Any]:
    """Measures those of AMD: the kernel's list of what computes, with a device node; else empty."""
    if not os.path.lexists(os.path.join(root, "dev/kfd")):
        return {}
    gpus = []
    for number in sorted(_list(os.path.join(root, _KFD)), key=lambda name: (len(name), name)):
        place = os.path.join(root, _KFD, number)
        fields = dict(re.findall(r"(?m)^(\w+) (\d+)$", _read(place, "properties")))
        node = "dev/dri/renderD{}".format(fields.get("drm_render_minor", ""))
        if fields.get("simd_count", "0") == "0" or not os.path.lexists(os.path.join(root, node)):
            continue  # a processor, or another's
        bank = dict(re.findall(r"(?m)^(\w+) (\d+)$", _read(place, "mem_banks/0/properties")))
        name = _read(place, "name").strip() or "AMD GPU"
        gpus.append({"name": name, "memory": int(bank.get("size_in_bytes", 0))})
    if not gpus:
        return {}
    driver = _read(root, "sys/module/amdgpu/version").strip()
    return {"by": "ROCm's sysfs", "gpus": gpus, "driver": driver, "cuda": ""}


def _list(path: str) -> List[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _read(*path: str) -> str:
    try:
        with open(os.path.join(*path), "rb") as file:
            return file.read(_LONGEST).decode(errors="replace")
    except OSError:
        return ""
