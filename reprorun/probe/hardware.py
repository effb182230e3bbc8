"""The machine that a run is made on: processor, memory, GPUs."""

from __future__ import annotations

import os
import platform

from msgspec.structs import replace

from reprorun.experiment.gpus import amd_gpus
from reprorun.model import EngineInfo, GuestReport, Hardware

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
_FIRST = 1 << 14  # characters of /proc/cpuinfo: the first processor is among them
_LONGEST_MODEL = 200  # characters that are taken of what a guest says


def hardware_of(engine: EngineInfo) -> Hardware:
    """The machine that an engine runs containers on: measured, where it is this one.

    Of another one it is what the engine tells. Its processor is measured by who runs there; see
    `with_processor`.
    """
    if not engine.remote:
        here = find_hardware()
        in_container = engine.shared is not None  # which has a name of its own
        return replace(here, node=engine.node or here.node) if in_container else here
    return Hardware(
        node=engine.node,
        system=engine.system,
        machine=engine.machine,
        cpu_count=engine.cpus,
        memory=engine.memory,
    )


def find_hardware() -> Hardware:
    """Measure this machine. What can't be read stays empty."""
    hardware = Hardware(
        node=platform.node(),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu_count=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=_gpus(),
        gpu_driver=_gpu_driver(),
    )
    return with_processor(hardware, *processor_in(_text("/proc/cpuinfo", _FIRST)))


def with_processor(hardware: Hardware, model: str, flags: str) -> Hardware:
    """The same with the processor as a guest of that machine has seen it."""
    words = frozenset(flags.split())
    return replace(
        hardware,
        cpu_model="".join(char for char in model[:_LONGEST_MODEL] if char.isprintable()),
        cpu_features=tuple(flag for flag in (*_TELLING, *_TELLING_ARM) if flag in words),
    )


def as_seen(hardware: Hardware, guest: GuestReport | None, engine: EngineInfo) -> Hardware:
    """The machine of a run that has ended, with what its guest has measured where we could not."""
    if guest is None or not engine.remote or not (guest.cpu_model or guest.cpu_flags):
        return hardware
    return with_processor(hardware, guest.cpu_model, guest.cpu_flags)


def processor_in(cpuinfo: str) -> tuple[str, str]:
    """Model and flags of the first processor that /proc/cpuinfo lists."""
    cpu = _fields(cpuinfo.splitlines())
    return cpu.get("model name", ""), cpu.get("flags", cpu.get("Features", ""))


def _gpus() -> tuple[str, ...]:
    try:
        cards = sorted(os.listdir(f"{_NVIDIA}/gpus"))
    except OSError:
        return tuple(gpu["name"] for gpu in amd_gpus().get("gpus", ()))
    told = (_fields(_lines(f"{_NVIDIA}/gpus/{card}/information")) for card in cards)
    return tuple(fields.get("Model", card) for fields, card in zip(told, cards, strict=True))


def _gpu_driver() -> str | None:
    return next(iter(_lines(f"{_NVIDIA}/version")), None) or amd_gpus().get("driver") or None


def _fields(lines: list[str]) -> dict[str, str]:
    """The first `key : value` of each key."""
    fields: dict[str, str] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def _lines(path: str) -> list[str]:
    return _text(path).splitlines()


def _text(path: str, most: int = -1) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(most)
    except OSError:
        return ""
