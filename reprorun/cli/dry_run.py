"""Showing a plan: its Dockerfile, and its container as a `docker run` that one could type."""

from __future__ import annotations

import json
import shlex

import msgspec

from reprorun.model import ContainerSpec, GpuRequest, Limits, Plan
from reprorun.plan import REDACTED, redact
from reprorun.render import whole_dockerfile

IMAGE = "IMAGE"  # the tag is known only when the packages are locked and the code is archived


def plan_as_text(plan: Plan) -> str:
    """The Dockerfile, then the command."""
    return f"{whole_dockerfile(plan)}\n# then\n{docker_command(plan.container, IMAGE)}\n"


def plan_as_json(plan: Plan) -> str:
    """The same for machines."""
    env = redact(plan.container.env, plan.container.passed)
    shown = msgspec.structs.replace(plan.container, image=IMAGE, env=env)
    container = msgspec.to_builtins(shown)
    return (
        json.dumps({"dockerfile": whole_dockerfile(plan), "container": container}, indent=2) + "\n"
    )


def docker_command(spec: ContainerSpec, image: str) -> str:
    """The container as a shell command."""
    words = ["docker", "run", "--rm", "--init", "--cap-drop", "ALL"]
    words += ["--security-opt", "no-new-privileges", "--stop-signal", spec.stop_signal]
    words += ["--name", spec.name, "--network", spec.network, "--user", spec.user]
    words += ["--workdir", spec.workdir, *_limits(spec.limits), *_gpus(spec.gpus)]
    words += [word for group in spec.groups for word in ("--group-add", group)]
    for mount in spec.mounts:
        options = {"type": "bind", "source": mount.source, "target": mount.target}
        text = ",".join(f"{key}={value}" for key, value in options.items())
        words += ["--mount", text + (",readonly" if mount.read_only else "")]
    for name, value in redact(spec.env, spec.passed).items():
        # docker takes a bare name from its own environment: no secret is printed
        words += ["--env", name if value == REDACTED else f"{name}={value}"]
    for name, value in spec.labels.items():
        words += ["--label", f"{name}={value}"]
    return shlex.join([*words, image, *spec.command])


def _limits(limits: Limits) -> list[str]:
    words = ["--shm-size", str(limits.shm_size), "--pids-limit", str(limits.pids)]
    if limits.memory:
        words += ["--memory", str(limits.memory), "--memory-swap", str(limits.memory)]
    if limits.cpus:
        words += ["--cpus", f"{limits.cpus:g}"]
    return words


def _gpus(request: GpuRequest | None) -> list[str]:
    if request is None:
        return []
    if request.runtime:
        return ["--runtime", request.runtime]
    if request.nodes or request.driver == "cdi":
        return [f"--device={name}" for name in request.nodes or request.devices]
    if request.devices:
        return ["--gpus", '"device=' + ",".join(request.devices) + '"']
    return ["--gpus", "all" if request.count == -1 else str(request.count)]
