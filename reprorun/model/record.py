"""How a run ended, and the record of it."""

from __future__ import annotations

from typing import Any, Literal

from .asked import Gpus, Limits, Variation
from .base import Network, Numerics, Status, Value
from .code import InputFile, LeftOut, Submodule
from .engines import GpuRequest
from .hardware import GpusSeen, Hardware
from .packages import BaseImage, Package

SCHEMA = 1
"""Version of `run.json`. It grows when a field changes its meaning; new fields don't need it."""


class GuestReport(Value, frozen=True, kw_only=True):
    """What the container's main process measured. It is the guest's word, not the engine's."""

    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    exit_code: int = 0
    signal: str | None = None  # that ended it
    interrupted: bool = False  # it was told to stop while the command ran, or got SIGINT
    peak_memory: int | None = None  # bytes, of the largest process
    oom_killed: bool = False
    python: str = ""
    outputs_kept: bool = False  # it has brought the outputs out of the working tree itself
    not_kept: tuple[LeftOut, ...] = ()  # of those
    cpu_model: str = ""
    cpu_flags: str = ""  # what the processor can do, as the kernel lists it
    gpus: GpusSeen | None = None  # None: the run has none
    refused: str | None = None  # why the command was not started


class Output(Value, frozen=True, kw_only=True):
    """A file that the run left in its record."""

    path: str  # relative to the record
    size: int  # bytes
    sha256: str


class Outcome(Value, frozen=True, kw_only=True):
    """How a run ended. A failing experiment is an outcome, not an exception."""

    status: Status
    exit_code: int
    reason: str | None = None
    guest: GuestReport | None = None


class SchemaMark(Value, frozen=True, kw_only=True):
    """Marks a file as ours: schema version, and the version of reprorun that wrote it."""

    schema: int = SCHEMA
    version: str = ""


class Archive(Value, frozen=True, kw_only=True):
    """The launch archive of a record."""

    sha256: str
    size: int  # bytes
    files: int


class EngineUsed(Value, frozen=True, kw_only=True):
    """The engine that ran a run."""

    name: str
    version: str
    api_version: str
    remote: bool = False  # it may be another machine's than the one that reprorun ran on


class Difference(Value, frozen=True, kw_only=True):
    """One thing in which a re-run differs from the original, each side in words."""

    what: str  # such as "packages: numpy", "host: processor"
    original: str
    now: str
    wanted: bool = False  # asked for with a flag


class Record(Value, frozen=True, kw_only=True):
    """`run.json`: the full record of one run. Times are UTC in ISO 8601; sizes are bytes."""

    reprorun: SchemaMark
    id: str
    status: Status
    created: str
    argv: tuple[str, ...]  # the launcher as typed, and its arguments
    cwd: str = "."  # relative to the repository's root
    command: tuple[str, ...] = ()  # what ran in the container
    params: dict[str, Any] = {}  # given with -P
    environment: dict[str, str] = {}  # variables given with -e; what may be secret is redacted
    secrets: tuple[str, ...] = ()  # names of files that the run could read, and nobody kept
    githash: str | None = None
    dirty: bool = False
    launcher: str = ""
    archive: Archive | None = None
    left_out: tuple[LeftOut, ...] = ()
    submodules: tuple[Submodule, ...] = ()
    inputs: tuple[InputFile, ...] = ()
    payloads: tuple[Output, ...] = ()  # files that the command was given in its log directory
    requirements: str | None = None  # the file that decided on the packages
    packages: tuple[Package, ...] = ()  # the very wheels that were installed
    import_paths: tuple[str, ...] = ()  # of the working tree, on the search path for modules
    packages_resolved: str | None = None  # when their versions were chosen
    python_source: str | None = None  # the file that asked for this Python
    environment_digest: str = ""
    base_image: BaseImage | None = None
    image: str = ""  # tag of the run's image on the engine that ran it
    engine: EngineUsed | None = None
    isolated: bool = True
    runtime: Literal["cpu", "gpu"] = "cpu"
    gpus: GpuRequest | None = None
    asked_gpus: Gpus | None = None  # None: not known
    gpus_seen: GpusSeen | None = None  # in the container; None: not measured
    limits: Limits = Limits()
    network: Network = "none"
    platform: str | None = None  # that was asked for; None: the engine's own
    numerics: Numerics = "native"
    variations: tuple[Variation, ...] = ()  # circumstances that were changed on purpose
    host: Hardware = Hardware()
    started: str | None = None
    ended: str | None = None
    seconds: float | None = None
    exit_code: int | None = None
    reason: str | None = None  # why it is not `finished`, in words
    peak_memory: int | None = None  # of the largest process
    sub_records: tuple[str, ...] = ()  # directories, one a call of a wrapped function
    outputs: tuple[Output, ...] = ()
    not_kept: tuple[LeftOut, ...] = ()  # what the run made that could not be brought out
    notes: tuple[str, ...] = ()  # what a reader should know
    rerun_of: str | None = None  # id of the record that this is a re-run of
    differences: tuple[Difference, ...] = ()  # from that one
