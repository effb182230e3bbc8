"""What the user asked for."""

from __future__ import annotations

from typing import Any, Literal

from .base import Network, Numerics, Value


class Limits(Value, frozen=True, kw_only=True):
    """Bounds of a run. None: the engine's own (no bound)."""

    memory: int | None = None  # bytes
    cpus: float | None = None  # processors
    shm_size: int = 1 << 30  # bytes; data loaders need more than docker's 64 MiB
    pids: int = 4096  # processes and threads
    timeout: float | None = None  # seconds


class Gpus(Value, frozen=True, kw_only=True):
    """Which GPUs a run asks for. `auto`: the engine's GPU runtime where it has one."""

    kind: Literal["auto", "none", "all", "count", "device"] = "auto"
    count: int = 0
    devices: tuple[str, ...] = ()


class Secret(Value, frozen=True, kw_only=True):
    """A file that a run may read at /run/secrets, of which a record keeps the name alone."""

    id: str
    source: str  # on the host


class Variation(Value, frozen=True, kw_only=True):
    """One circumstance of a run, changed on purpose. The same one changes it the same way again."""

    factor: str  # what is changed, such as "timezone"
    value: str  # to what
    seed: int | None = None  # that chose the value; None where the user named it


class RunSpec(Value, frozen=True, kw_only=True):
    """What the user asked for: one launch, with every flag at its final value."""

    script: str  # as typed
    args: tuple[str, ...] = ()
    cwd: str  # absolute, on the host
    command: tuple[str, ...] | None = None  # in place of `python SCRIPT ARGS` (run_experiment)
    extra_requirements: tuple[str, ...] = ()  # what the command needs beside the project's own
    same_python: bool = False  # the payload is pickled: Python must be the launcher's
    name: str | None = None
    log_dir: str | None = None
    payloads: dict[str, bytes] = {}  # files to put into the log directory for the command
    params: dict[str, Any] = {}
    env: dict[str, str] = {}
    passed: tuple[str, ...] = ()  # variables of `env` whose values are not to be recorded
    secrets: tuple[Secret, ...] = ()
    inputs: tuple[str, ...] = ()
    base_image: str | None = None
    dockerfile: str | None = None  # --file: builds the base image
    lock: str | None = None  # --lock: a lock file that decides
    python: str | None = None  # X.Y
    platform: str | None = None  # linux/amd64, linux/arm64; None: the engine's own
    as_of: str | None = None  # ISO date, or "commit"
    gpus: Gpus = Gpus()
    gpu_devices: tuple[str, ...] = ()  # the very ones, where a number of them is asked for
    network: Network = "none"
    limits: Limits = Limits()
    without: tuple[str, ...] = ()  # packages that something else stands in for
    numerics: Numerics = "native"
    variations: tuple[Variation, ...] = ()
    rebuild: bool = False
    offline: bool = False


class Changes(Value, frozen=True, kw_only=True):
    """What a re-run does otherwise than its original; None and empty: as the record says."""

    args: tuple[str, ...] | None = None
    function: str | None = None  # call this one with the parameters of variant.json
    shim: str | None = None
    repo: str | None = None  # take the code from the commit
    params: dict[str, Any] = {}
    env: dict[str, str] = {}
    passed: tuple[str, ...] = ()  # variables of `env` whose values are not to be recorded
    secrets: tuple[Secret, ...] = ()
    inputs: tuple[str, ...] = ()  # more of them
    input_roots: tuple[str, ...] = ()
    name: str | None = None
    log_dir: str | None = None
    base_image: str | None = None
    usual_base: str | None = None  # for a record that names no base image
    lock: str | None = None
    python: str | None = None
    platform: str | None = None
    as_of: str | None = None
    gpus: Gpus | None = None
    gpu_devices: tuple[str, ...] = ()  # the very GPUs, where a number of them is asked for
    network: Network | None = None
    limits: dict[str, Any] = {}  # fields of Limits
    numerics: Numerics | None = None
    variations: tuple[Variation, ...] | None = None
    allow_newer: bool = False
    allow_links: bool = False
    rebuild: bool = False
    offline: bool = False

    @property
    def wanted(self) -> frozenset[str]:
        """The first words of the differences that were asked for."""
        of_image = ("base image", "python", "packages", "system packages", "environment")
        asked: dict[str, Any] = {
            "code": self.repo,
            "arguments": self.args is not None or self.function,
            "command": self.args is not None or self.function,
            "parameters": self.params,
            "variables": self.env or self.shim,
            "secrets": self.secrets,
            "inputs": self.inputs,
            **dict.fromkeys(of_image, self.base_image or self.python or self.platform),
            "network": self.network,
            "runtime": self.gpus,
            "gpus": self.gpus,
            "limits": self.limits,
            "numerics": self.numerics,
        }
        if self.lock or self.as_of or self.allow_newer:
            asked["packages"] = True
        if self.allow_newer:
            asked |= {"system packages": True, "base image": True}
        return frozenset(what for what, value in asked.items() if value)
