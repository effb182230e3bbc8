"""The machine that a run is made on: processor, memory, GPUs."""

from __future__ import annotations

import os
import platform

from reprorun.experiment.gpus import amd_gpus
from reprorun.model import Hardware

# What numerical libraries choose their code by; a full list of flags would only be noise.
_TELLING = (
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "amx_tile",
)
_TELLING_ARM = ("asimd", "sve", "sve2", "bf16", "i8mm")
_NVIDIA = "/proc/driver/nvidia"


def find_hardware() -> Hardware:
    """Measure the machine. What can't be read stays empty."""
    cpu = _fields("/proc/cpuinfo")
    flags = set(cpu.get("flags", cpu.get("Features", "")).split())
    return Hardware(
        node=platform.node(),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu_model=cpu.get("model name", ""),
        cpu_count=len(os.sched_getaffinity(0)),
        cpu_features=tuple(flag for flag in (*_TELLING, *_TELLING_ARM) if flag in flags),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=_gpus(),
        gpu_driver=_gpu_driver(),
    )


def _gpus() -> tuple[str, ...]:
    try:
        cards = sorted(os.listdir(f"{_NVIDIA}/gpus"))
    except OSError:
        return tuple(gpu["name"] for gpu in amd_gpus().get("gpus", ()))
    models = (_fields(f"{_NVIDIA}/gpus/{card}/information").get("Model", card) for card in cards)
    return tuple(models)


def _gpu_driver() -> str | None:
    return next(iter(_lines(f"{_NVIDIA}/version")), None) or amd_gpus().get("driver") or None


def _fields(path: str) -> dict[str, str]:
    """The first `key : value` of each key."""
    fields: dict[str, str] = {}
    for line in _lines(path):
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
