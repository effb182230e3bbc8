"""docker-py's values and ours."""

from __future__ import annotations

from typing import Any

from docker.types import DeviceRequest

from reprorun.model import EngineInfo, GpuRequest, Image, Limits


def info_of(info: dict[str, Any], api_version: str) -> EngineInfo:
    """What an engine says of itself."""
    options = info.get("SecurityOptions") or []
    # Podman wants images whole; so do image stores that know layers by their packed form
    podman = "BuildahVersion" in info
    containerd = ["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or [])
    return EngineInfo(
        name="docker",
        version=info.get("ServerVersion", ""),
        api_version=api_version,
        machine=info.get("Architecture", ""),
        runtimes=tuple(sorted(info.get("Runtimes") or {})),
        root_dir=info.get("DockerRootDir", ""),
        rootless=any("rootless" in option for option in options),
        os=info.get("OperatingSystem", ""),
        takes_layers=not podman and not containerd,
    )


def image_of(found: dict[str, Any]) -> Image:
    """An image as the engine inspects it."""
    config = found.get("Config") or {}
    return Image(
        id=found["Id"],
        layers=tuple((found.get("RootFS") or {}).get("Layers") or ()),
        labels=config.get("Labels") or {},
        env=tuple(config.get("Env") or ()),
        repo_digests=tuple(found.get("RepoDigests") or ()),
        machine=found.get("Architecture", ""),
        tags=tuple(found.get("RepoTags") or ()),
        size=found.get("Size") or 0,
    )


def limits_for(limits: Limits) -> dict[str, Any]:
    """Limits of a container."""
    memory = {"mem_limit": limits.memory, "memswap_limit": limits.memory} if limits.memory else {}
    cpus = {"nano_cpus": round(limits.cpus * 1e9)} if limits.cpus else {}
    return {**memory, **cpus, "shm_size": limits.shm_size, "pids_limit": limits.pids}


def gpus_for(request: GpuRequest | None) -> dict[str, Any]:
    """How GPUs are asked for."""
    if request is None:
        return {}
    if request.runtime:
        return {"runtime": request.runtime}
    which = {"device_ids": list(request.devices)} if request.devices else {"count": request.count}
    return {"device_requests": [DeviceRequest(capabilities=[["gpu"]], **which)]}


def with_tag(ref: str) -> str:
    """docker-py pulls every tag of a name without one; docker's own client means `latest`."""
    last = ref.rsplit("/", 1)[-1]
    return ref if ":" in last or "@" in last else f"{ref}:latest"
