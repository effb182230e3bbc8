"""docker-py's values and ours."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

from docker.types import DeviceRequest

from reprorun.engine.abilities import Trait, lacks
from reprorun.engine.docker_errors import no_gpu_runtime
from reprorun.engine.places import Kind, Place
from reprorun.engine.references import familiar
from reprorun.errors import EngineError, EngineUnavailable
from reprorun.model import ContainerSpec, EngineInfo, GpuRequest, Image, Limits, Mount

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


def limits_for(limits: Limits) -> dict[str, Any]:
    """Limits of a container."""
    memory = {"mem_limit": limits.memory, "memswap_limit": limits.memory} if limits.memory else {}
    cpus = {"nano_cpus": round(limits.cpus * 1e9)} if limits.cpus else {}
    return {**memory, **cpus, "shm_size": limits.shm_size, "pids_limit": limits.pids}


def hosts_of(spec: ContainerSpec, info: EngineInfo) -> tuple[Mount, ...]:
    """The file of host names for a container whose network Docker leaves to its runtime.

    The runtime makes a namespace with a loopback and nothing else. Docker would have the same from
    its own network of the name `none`, but setting that up takes it longer than all the rest.
    """
    if spec.network != "none" or not spec.hosts or info.name != "docker":
        return ()
    return (Mount(source=spec.hosts, target="/etc/hosts"),)


def gpus_for(request: GpuRequest | None) -> dict[str, Any]:
    """How GPUs are asked for."""
    if request is None:
        return {}
    if request.runtime:
        return {"runtime": request.runtime}  # a variable says which: see `gpus.gpu_variables`
    if request.nodes:
        return {"devices": [f"{node}:{node}:rwm" for node in request.nodes]}
    if request.driver == "cdi":
        return {"device_requests": [DeviceRequest(driver="cdi", device_ids=list(request.devices))]}
    which = {"device_ids": list(request.devices)} if request.devices else {"count": request.count}
    return {"device_requests": [DeviceRequest(capabilities=[["gpu"]], **which)]}


def refuse_gpus(request: GpuRequest | None, info: EngineInfo) -> None:
    """Raise EngineError for a request that the engine would pass over without a word."""
    if request is None or request.runtime or request.nodes or request.driver:
        return
    if "gpu-requests" in info.lacks:
        raise EngineError(no_gpu_runtime(f"{info.name} takes no requests for them"))


def with_tag(ref: str) -> str:
    """docker-py pulls every tag of a name without one; docker's own client means `latest`."""
    last = ref.rsplit("/", 1)[-1]
    return ref if ":" in last or "@" in last else f"{ref}:latest"
