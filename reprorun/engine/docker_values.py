"""The API's values and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from reprorun.engine.abilities import Trait, lacks
from reprorun.engine.docker_errors import no_gpu_runtime
from reprorun.engine.places import Kind, Place
from reprorun.engine.references import familiar
from reprorun.errors import EngineError, EngineUnavailable
from reprorun.model import (
    HOSTS_PATH,
    ContainerSpec,
    EngineInfo,
    GpuRequest,
    Image,
    Limits,
    Mount,
)

_MOMENT = re.compile(
    r"(?P<seconds>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.(?P<fraction>\d+))?(?P<zone>Z|[+-]\d\d:\d\d)"
)


def info_of(info: dict[str, Any], api_version: str, place: Place) -> EngineInfo:
    """What an engine says of itself, and where it is."""
    options = info.get("SecurityOptions") or []
    name, version = (
        "podman" if "BuildahVersion" in info else "docker",
        info.get("ServerVersion", ""),
    )
    lacking = tuple(lack.ability for lack in lacks(name, version, _traits(info, place)))
    machine = info.get("Architecture", "")
    return EngineInfo(
        name=name,
        version=version,
        api_version=api_version,
        machine=_MACHINES.get(machine, machine),
        runtimes=tuple(sorted(info.get("Runtimes") or {})),
        root_dir=info.get("DockerRootDir", ""),
        rootless=info.get("Rootless") is True or any("rootless" in option for option in options),
        os=info.get("OperatingSystem", ""),
        takes_layers="layers" not in lacking,
        node=info.get("Name") or "",
        system=f"{(info.get('OSType') or '').title()} {info.get('KernelVersion') or ''}".strip(),
        cpus=info.get("NCPU") or 0,
        memory=info.get("MemTotal") or 0,
        address=place.address,
        named_by=place.by,
        remote=place.remote,
        lacks=lacking,
        cdi=_cdi(info),
    )


def _cdi(info: dict[str, Any]) -> tuple[str, ...]:
    """The names of devices that it has found; engines before 28.2 don't tell."""
    found = info.get("DiscoveredDevices") or []
    return tuple(sorted(entry["ID"] for entry in found if entry.get("Source") == "cdi"))


_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # Podman has Go's names for them
_LIMITS: dict[str, Trait] = {
    "MemoryLimit": "no-memory-limit",
    "CpuCfsQuota": "no-cpu-limit",
    "PidsLimit": "no-pids-limit",
}


def _traits(info: dict[str, Any], place: Place) -> frozenset[Trait]:
    found: set[Trait] = {trait for key, trait in _LIMITS.items() if info.get(key) is False}
    if ["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or []):
        found.add("containerd-images")
    if place.remote:
        found.add("remote")
    return frozenset(found)


def refuse_another(kind: Kind, info: EngineInfo) -> None:
    """Raise EngineUnavailable where an engine of one kind is wanted, and it is of another."""
    if kind != info.name:
        raise EngineUnavailable(
            f"--engine {kind} is wanted, but at {info.address} ({info.named_by}) there is "
            f"{info.name} {info.version}.\nName another address in DOCKER_HOST"
            f"{', or CONTAINER_HOST' * (kind == 'podman')}, or leave out --engine."
        )


def image_of(found: dict[str, Any]) -> Image:
    """An image as the engine inspects it."""
    config = found.get("Config") or {}
    return Image(
        id=found["Id"],
        layers=tuple((found.get("RootFS") or {}).get("Layers") or ()),
        labels=config.get("Labels") or {},
        env=tuple(config.get("Env") or ()),
        repo_digests=tuple(familiar(digest) for digest in found.get("RepoDigests") or ()),
        machine=found.get("Architecture", ""),
        tags=tuple(familiar(tag) for tag in found.get("RepoTags") or ()),
        size=found.get("Size") or 0,
    )


def moment_of(text: str | None) -> str | None:
    """A time as records hold it; None where the engine means never, which it gives as the year 1.

    Engines give nanoseconds without the zeros at their end; Podman gives its own time zone.
    """
    found = _MOMENT.fullmatch(text or "")
    if found is None or found["seconds"].startswith("0001-"):
        return None
    micro = (found["fraction"] or "")[:6].ljust(6, "0")
    zone = "+00:00" if found["zone"] == "Z" else found["zone"]
    moment = datetime.fromisoformat(f"{found['seconds']}.{micro}{zone}")
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def container_body(
    spec: ContainerSpec, mounts: Sequence[Mount], proxies: Mapping[str, str], *, networkless: bool
) -> dict[str, Any]:
    """A container as the API wants it.

    Args:
        spec: what it is to be.
        mounts: all of them, with paths as the engine's machine has them.
        proxies: variables that come before the spec's.
        networkless: see `is_networkless`.
    """
    body: dict[str, Any] = {
        "Image": spec.image,
        "Cmd": spec.command,
        "Env": [f"{name}={value}" for name, value in {**proxies, **spec.env}.items()],
        "WorkingDir": spec.workdir,
        "Labels": spec.labels,
        "Tty": spec.tty,
        "OpenStdin": spec.interactive,
        "StdinOnce": spec.interactive,
        "AttachStdin": spec.interactive,
        "AttachStdout": True,
        "AttachStderr": True,
        "NetworkDisabled": networkless,
        "StopSignal": spec.stop_signal,
        "HostConfig": {
            "Mounts": [_bind(mount) for mount in mounts],
            "NetworkMode": spec.network,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "Init": True,
            "GroupAdd": spec.groups,
            "CpusetCpus": spec.cpuset,
            **limits_for(spec.limits),
            **gpus_for(spec.gpus),
        },
    }
    if spec.entrypoint is not None:
        body["Entrypoint"] = spec.entrypoint
    if spec.user:
        body["User"] = spec.user
    if spec.hostname:
        body["Hostname"] = spec.hostname
    return body


def _bind(mount: Mount) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }


def limits_for(limits: Limits) -> dict[str, Any]:
    """Limits of a container."""
    memory = {"Memory": limits.memory, "MemorySwap": limits.memory} if limits.memory else {}
    cpus = {"NanoCpus": round(limits.cpus * 1e9)} if limits.cpus else {}
    return {**memory, **cpus, "ShmSize": limits.shm_size, "PidsLimit": limits.pids}


def hosts_of(spec: ContainerSpec, info: EngineInfo) -> tuple[Mount, ...]:
    """The file of host names for a container whose network Docker leaves to its runtime.

    The runtime makes a namespace with a loopback and nothing else. Docker would have the same from
    its own network of the name `none`, but setting that up takes it longer than all the rest.
    """
    if not spec.hosts or not is_networkless(spec, info):
        return ()
    return (Mount(source=spec.hosts, target=HOSTS_PATH),)


def is_networkless(spec: ContainerSpec, info: EngineInfo) -> bool:
    """Whether Docker leaves a container's network to its runtime: see `hosts_of`."""
    has_hosts = spec.own_hosts or bool(spec.hosts)
    return spec.network == "none" and has_hosts and info.name == "docker"


def gpus_for(request: GpuRequest | None) -> dict[str, Any]:
    """How GPUs are asked for."""
    if request is None:
        return {}
    if request.runtime:
        return {"Runtime": request.runtime}  # a variable says which: see `gpus.gpu_variables`
    if request.nodes:
        return {"Devices": [_device(node) for node in request.nodes]}
    if request.driver == "cdi":
        return {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": request.devices}]}
    which = {"DeviceIDs": request.devices} if request.devices else {"Count": request.count}
    return {"DeviceRequests": [{"Capabilities": [["gpu"]], **which}]}


def _device(node: str) -> dict[str, str]:
    return {"PathOnHost": node, "PathInContainer": node, "CgroupPermissions": "rwm"}


def refuse_gpus(request: GpuRequest | None, info: EngineInfo) -> None:
    """Raise EngineError for a request that the engine would pass over without a word."""
    if request is None or request.runtime or request.nodes or request.driver:
        return
    if "gpu-requests" in info.lacks:
        raise EngineError(no_gpu_runtime(f"{info.name} takes no requests for them"))
