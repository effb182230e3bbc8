"""The machine of a run."""

from __future__ import annotations

from .base import Value


class Hardware(Value, frozen=True, kw_only=True):
    """The machine that a run was made on."""

    node: str = ""
    system: str = ""
    machine: str = ""
    cpu_model: str = ""
    cpu_count: int = 0
    cpu_features: tuple[str, ...] = ()
    memory: int = 0  # bytes
    gpus: tuple[str, ...] = ()
    gpu_driver: str | None = None


class Gpu(Value, frozen=True, kw_only=True):
    """A GPU that a container saw."""

    name: str
    memory: int = 0  # bytes; 0: not known


class GpusSeen(Value, frozen=True, kw_only=True):
    """What a container saw of GPUs, as its main process measured it before the run began."""

    by: str = ""  # what was asked, such as nvidia-smi; empty: none were found
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    cuda: str = ""  # the newest that the driver supports
    why: str = ""  # that there are none, where something stood in the way
