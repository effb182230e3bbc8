"""Names of platforms, as docker says them, and of the machines that they mean. Pure."""

from __future__ import annotations

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # as Go says it, and everybody else


def parse_platform(text: str) -> str:
    """`linux/amd64` or `linux/arm64`, also by the names of machines. Raises ValueError."""
    system, _, name = text.removesuffix("/v8").rpartition("/")
    platform = platform_of(machine_of(name))
    if system not in ("", "linux") or platform.partition("/")[2] not in _MACHINES:
        raise ValueError("is neither linux/amd64 nor linux/arm64")
    return platform


def machine_of(name: str) -> str:
    """The machine of a platform such as linux/arm64, or of an image's architecture."""
    architecture = name.rpartition("/")[2]
    return _MACHINES.get(architecture, architecture)


def platform_of(machine: str) -> str:
    """The platform of a machine, such as linux/arm64 of aarch64."""
    names = {known: name for name, known in _MACHINES.items()}
    return f"linux/{names.get(machine, machine)}"
