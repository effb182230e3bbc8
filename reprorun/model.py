"""The frozen values that flow through a run: spec and facts in, plan, outcome and record out.

    argv / decorator -> RunSpec -> probe -> Facts -> plan -> Plan -> build, run -> Outcome -> Record

Nothing here has an effect. `Record` is the schema of `run.json`; see `reprorun.store` for reading
and writing it.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

SCHEMA = 1
"""Version of `run.json`. It grows when a field changes its meaning; new fields don't need it."""

WORKSPACE = "/workspace"
"""Where the launch archive lies in the container."""

LOG_DIR = "/log"
"""Where the log directory is mounted in the container."""

HOSTS_FILE = ".reprorun-hosts.tmp"
"""In the log directory while a run lasts: the container's /etc/hosts; see `ContainerSpec.hosts`."""

PREFIX = "/opt/reprorun"
"""The virtual environment in the container."""

SHIMS = f"{PREFIX}/shims"
"""Stand-ins for other packages and programs in the container, used by who asks for them."""

SECRETS = "/run/secrets"
"""Where files are mounted that no record keeps."""

HOME = "/home/reprorun"
"""The home directory in the container."""

HOSTNAME = "reprorun"
"""The container's name for itself, the same in every run, but for those on the host's network."""

ENTRYPOINT = ("python", "-I", "-S", f"{PREFIX}/supervise.py")
"""The container's main process, which runs the command."""

ENVIRONMENT = {
    "HOME": HOME,
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MPLBACKEND": "Agg",
}
"""Variables of every environment, beside its search path for programs."""

DIGEST_LABEL = "reprorun.digest"
"""Label of our images: the digest of what each was made from."""

KIND_LABEL = "reprorun.kind"
"""Label of our images: environment, run, system, dockerfile."""

RUN_LABEL = "reprorun.run"
"""Label of our containers: the id of the record, or of whatever else they belong to."""

REVISION_LABEL = "org.opencontainers.image.revision"
"""Label of the run's image: the commit."""

Network = Literal["none", "bridge", "host"]
Numerics = Literal["native", "portable"]
Status = Literal["created", "building", "running", "finished", "failed", "interrupted", "lost"]


class Value(Struct, frozen=True, kw_only=True):
    """Base of all values: immutable, compared by content, made by keyword."""


# ---------------------------------------------------------------- what the user asked for


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


# ---------------------------------------------------------------- what was found


class LeftOut(Value, frozen=True, kw_only=True):
    """Something that the launch archive does not hold, and why."""

    path: str  # relative to the repository's root; ends in / for a directory
    reason: str
    size: int | None = None  # bytes
    sha256: str | None = None


class Submodule(Value, frozen=True, kw_only=True):
    """A git submodule, and the commit that is checked out."""

    path: str
    commit: str


class Code(Value, frozen=True, kw_only=True):
    """The launcher's repository, or its directory outside git."""

    root: str  # absolute, on the host
    launcher: str  # relative to root
    workdir: str  # working directory relative to root, "." for the root itself
    in_git: bool
    commit: str | None = None
    dirty: bool = False
    files: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    submodules: tuple[Submodule, ...] = ()

    @property
    def githash(self) -> str | None:
        """The commit, with `-dirty` when the tree had changes; None without a commit."""
        return f"{self.commit}-dirty" if self.commit and self.dirty else self.commit

    @property
    def metadata(self) -> dict[str, str]:
        """garage's two keys: `launcher` is absolute outside git, where there is no `githash`."""
        if not self.in_git:
            return {"launcher": f"{self.root}/{self.launcher}"}
        githash = {"githash": self.githash} if self.githash else {}
        return {**githash, "launcher": self.launcher}


class InputFile(Value, frozen=True, kw_only=True):
    """Read-only data that the run was given: mounted, not archived."""

    path: str  # on the host
    target: str  # in the container
    size: int  # bytes
    sha256: str  # of the file; of the sorted listing with digests for a directory
    files: int = 1


RequirementsKind = Literal[
    "none", "lock", "uv-lock", "pylock", "poetry-lock", "pipfile-lock", "requirements", "project",
    "setup", "conda", "imports",
]  # fmt: skip


class Requirements(Value, frozen=True, kw_only=True):
    """Which file says what packages the experiment needs, and what is said about its Python."""

    kind: RequirementsKind = "none"
    source: str | None = None  # file that decides, relative to the repository's root
    paths: tuple[str, ...] = ()  # of the working tree, to put on the module search path
    lines: tuple[str, ...] = ()  # of kind "imports": what was found, at the installed versions
    python: str | None = None  # X.Y that a file asks for
    requires_python: str | None = None  # versions that will do, such as ">=3.9,<3.13"
    python_source: str | None = None  # file that names that one, else the one for the rest
    requires_python_source: str | None = None  # file that says which will do
    system_packages: str | None = None  # apt.txt, relative to the root
    notes: tuple[str, ...] = ()  # what a reader should know


class RemoteFile(Value, frozen=True, kw_only=True):
    """A wheel or source distribution as an index, or a lock file, names it."""

    name: str  # file name
    sha256: str  # hex digits
    url: str | None = None  # None: the index has to be asked for it
    size: int | None = None  # bytes


class GitSource(Value, frozen=True, kw_only=True):
    """A commit of a git repository."""

    url: str  # without "git+"; may hold credentials until it is recorded
    commit: str
    subdirectory: str = ""


class Pinned(Value, frozen=True, kw_only=True):
    """One package of a lock file, with the files that may be taken for it."""

    name: str  # normalized
    version: str  # "" where a commit says it
    files: tuple[RemoteFile, ...] = ()
    git: GitSource | None = None


class Wanted(Value, frozen=True, kw_only=True):
    """The packages that an experiment wants, as its files say it; nothing is resolved yet."""

    lines: tuple[str, ...] = ()  # requirements as uv reads them
    constraints: tuple[str, ...] = ()  # the same, for what else comes in
    options: tuple[str, ...] = ()  # flags for uv that the file holds, such as an index's address
    exact: bool = False  # the lines, each pinned and hashed, are the whole set: nothing is added
    project: str | None = None  # a pyproject.toml that uv reads itself, relative to the root
    pinned: tuple[Pinned, ...] | None = None  # the whole set, where the file is a lock
    paths: tuple[str, ...] = ()  # of local projects, relative to the root: their modules' places
    files: tuple[str, ...] = ()  # all that were read, relative to the root
    notes: tuple[str, ...] = ()


class BaseImage(Value, frozen=True, kw_only=True):
    """The base image, and the interpreter found in it."""

    ref: str  # as asked for
    id: str
    digest: str  # of its layers and settings: the same on every engine
    repo_digest: str | None = None  # what a registry knows it by
    python: str = ""  # X.Y.Z
    executable: str = ""  # of the interpreter, in the image
    machine: str = ""  # x86_64, aarch64
    libc: str = ""  # "glibc 2.36"
    path: str = ""  # search path for programs
    below: str | None = None  # digest of the image that system packages were added to
    dockerfile: str | None = None  # of the project's own, that it was built from
    apt: tuple[str, ...] = ()  # system packages that were added (apt.txt)
    installed: tuple[str, ...] = ()  # NAME=VERSION of all system packages, where some were added

    @property
    def python_minor(self) -> str:
        """X.Y of the interpreter."""
        return ".".join(self.python.split(".")[:2])


class Source(Value, frozen=True, kw_only=True):
    """What a wheel was built from, because nobody offers a wheel that fits."""

    kind: Literal["sdist", "git"]
    name: str = ""  # file name of the source distribution
    sha256: str = ""  # of the source distribution
    commit: str = ""
    subdirectory: str = ""
    built_with: tuple[str, ...] = ()  # packages that were there while it was built


class Package(Value, frozen=True, kw_only=True):
    """One package of an environment: the very wheel that is installed."""

    name: str  # normalized
    version: str
    wheel: RemoteFile
    address: str | None = None  # where it is not from an index: its own, without credentials
    source: Source | None = None  # None: the wheel was offered as it is


class Lock(Value, frozen=True, kw_only=True):
    """Every package with version and hashes, for one Python on one platform."""

    packages: tuple[Package, ...] = ()  # by name
    paths: tuple[str, ...] = ()  # of local projects that were asked for, relative to the root
    source: str | None = None  # the file that decided
    resolved: str = ""  # UTC time
    cached: bool = False
    notes: tuple[str, ...] = ()


class Mount(Value, frozen=True, kw_only=True):
    """A file or directory of the host in the container."""

    source: str
    target: str
    read_only: bool = True


class DeviceNode(Value, frozen=True, kw_only=True):
    """The file of a device, and the group that may open it."""

    path: str
    group: int


class EngineInfo(Value, frozen=True, kw_only=True):
    """Which engine it is and what it offers."""

    name: str  # docker, podman, fake
    version: str
    api_version: str
    machine: str = ""
    runtimes: tuple[str, ...] = ()
    root_dir: str = ""
    rootless: bool = False
    os: str = ""
    takes_layers: bool = True  # an image can be handed over layer by layer, without a build
    cpus: int = 0  # processors of its machine
    memory: int = 0  # bytes of its machine
    address: str = ""  # where it was reached
    named_by: str = ""  # what named that place, for people
    remote: bool = False  # it may be another machine's
    lacks: tuple[str, ...] = ()  # abilities of `engine.abilities`
    cdi: tuple[str, ...] = ()  # devices that it has by CDI, as far as it says
    gpu_nodes: tuple[DeviceNode, ...] = ()  # AMD's, where its machine is this one
    shared: tuple[Mount, ...] | None = None  # with our own container; None: we are in none


class Image(Value, frozen=True, kw_only=True):
    """An image as an engine describes it."""

    id: str
    layers: tuple[str, ...] = ()  # digests of the unpacked layers, lowest first
    labels: dict[str, str] = {}
    env: tuple[str, ...] = ()  # KEY=VALUE
    repo_digests: tuple[str, ...] = ()  # NAME@sha256:...
    machine: str = ""
    tags: tuple[str, ...] = ()
    size: int = 0  # bytes, with what it shares with others


class ImageSpec(Value, frozen=True, kw_only=True):
    """An image to be made from another one by adding layers and settings."""

    tag: str
    parent: str  # id
    env: dict[str, str] = {}  # added to the parent's
    workdir: str | None = None  # None: the parent's
    entrypoint: tuple[str, ...] | None = None  # None: the parent's
    labels: dict[str, str] = {}  # added to the parent's
    dockerfile: str  # the same, for engines that have to build it


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


# ---------------------------------------------------------------- what will be done


class GpuRequest(Value, frozen=True, kw_only=True):
    """GPUs as the engine is asked for them: by a runtime, by device nodes, or by device request."""

    runtime: str | None = None  # "nvidia"
    driver: str = ""  # of a device request: "cdi" where the devices are named so
    nodes: tuple[str, ...] = ()  # files of devices, which the container is given
    count: int = 0  # -1: all
    devices: tuple[str, ...] = ()


class ContainerSpec(Value, frozen=True, kw_only=True):
    """One container, complete."""

    image: str
    command: tuple[str, ...]
    name: str
    env: dict[str, str] = {}
    passed: tuple[str, ...] = ()  # variables of `env` whose values are shown to nobody
    mounts: tuple[Mount, ...] = ()
    user: str = ""  # uid:gid
    groups: tuple[str, ...] = ()  # that the user is in beside
    hostname: str = ""  # empty: the engine's choice
    cpuset: str = ""  # processors by number, such as "0" or "0-3"; empty: all
    workdir: str = WORKSPACE
    network: Network = "none"
    hosts: str = ""  # file of host names, for engines that write none where there is no network
    limits: Limits = Limits()
    gpus: GpuRequest | None = None
    labels: dict[str, str] = {}
    entrypoint: tuple[str, ...] | None = None  # None: the image's
    interactive: bool = False  # its stdin can be written to
    tty: bool = False  # its streams are a terminal


class EnvironmentPlan(Value, frozen=True, kw_only=True):
    """The environment's image, before it is made."""

    version: str  # of reprorun
    base: BaseImage
    layers: tuple[str, ...]  # what each holds
    digest: str
    tag: str


class Plan(Value, frozen=True, kw_only=True):
    """Everything that will be done, before anything is: what `--dry-run` prints."""

    version: str  # of reprorun
    environment: EnvironmentPlan
    githash: str | None
    run_digest: str
    run_tag: str
    container: ContainerSpec


# ---------------------------------------------------------------- what happened


class Change(Value, frozen=True, kw_only=True):
    """A path of the container's file system that the run made, changed or removed."""

    path: str  # absolute, in the container
    kind: Literal["added", "changed", "deleted"]


class ContainerState(Value, frozen=True, kw_only=True):
    """How a container stands, as the engine says."""

    running: bool
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    started: str | None = None  # UTC time; None: never
    ended: str | None = None


class ListedContainer(Value, frozen=True, kw_only=True):
    """A container as a list of them has it."""

    id: str
    name: str
    image: str  # id
    labels: dict[str, str] = {}
    running: bool = False


class GuestReport(Value, frozen=True, kw_only=True):
    """What the container's main process measured. It is the guest's word, not the engine's."""

    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    exit_code: int = 0
    signal: str | None = None
    peak_memory: int | None = None  # bytes, of the largest process
    oom_killed: bool = False
    python: str = ""
    outputs_kept: bool = False  # it has brought the outputs out of the working tree itself
    not_kept: tuple[LeftOut, ...] = ()  # of those
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


# ---------------------------------------------------------------- the record


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
