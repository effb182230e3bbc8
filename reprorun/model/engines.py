"""What an engine is, is told, and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from .asked import Limits
from .base import Network, Value
from .names import WORKSPACE


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
    node: str = ""  # its machine's name
    system: str = ""  # its machine's kernel, such as "Linux 6.1.0"
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
    dockerfile: Callable[[], str]  # the same, for engines that have to build it


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
    own_hosts: bool = False  # it is given that file as a copy
    limits: Limits = Limits()
    gpus: GpuRequest | None = None
    labels: dict[str, str] = {}
    stop_signal: str = "SIGINT"  # what `Engine.stop` and an engine that shuts down send first
    entrypoint: tuple[str, ...] | None = None  # None: the image's
    interactive: bool = False  # its stdin can be written to
    tty: bool = False  # its streams are a terminal


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
    created: str | None = None  # UTC time
    started: str | None = None  # None: never
    ended: str | None = None


class ListedContainer(Value, frozen=True, kw_only=True):
    """A container as a list of them has it."""

    id: str
    name: str
    image: str  # id
    labels: dict[str, str] = {}
    running: bool = False
