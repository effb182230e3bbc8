"""In what a re-run differs from its original: two records, and what was asked for. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from reprorun.gpus import in_words
from reprorun.model import BaseImage, Difference, GpuRequest, Limits, Package, Record

NOTHING = "-"
Pair = tuple[str, str, str]  # what, originally, now


def find_differences(
    original: Record, now: Record, wanted: Collection[str] = ()
) -> tuple[Difference, ...]:
    """Everything that a re-run does not have in common with its original.

    What the original does not say (garage's records say little) is no difference.

    Args:
        original: as it was kept.
        now: the re-run's record before it starts, with the host measured.
        wanted: what was asked for with flags: the first words of what differs.
    """
    pairs = [
        *_asked(original, now),
        *_environment(original, now),
        *_container(original, now),
        *_host(original, now),
    ]
    return tuple(
        Difference(what=what, original=before, now=after, wanted=what.split(":")[0] in wanted)
        for what, before, after in pairs
        if before != after
    )


def _asked(original: Record, now: Record) -> Iterator[Pair]:
    yield "arguments", shlex.join(original.argv), shlex.join(now.argv)
    if original.argv == now.argv:
        yield "command", shlex.join(original.command), shlex.join(now.command)
    yield from _entries("parameters", _json(original.params), _json(now.params))
    if original.engine is None:  # garage's records say nothing of these
        return
    yield from _entries("variables", original.environment, now.environment)
    yield from _entries("secrets", _given(original.secrets), _given(now.secrets))
    yield from _entries("inputs", _inputs(original), _inputs(now))


def _inputs(record: Record) -> dict[str, str]:
    return {entry.target: f"sha256 {entry.sha256[:12]}" for entry in record.inputs}


def _given(names: Collection[str]) -> dict[str, str]:
    return dict.fromkeys(names, "given")


def _json(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value, sort_keys=True) for name, value in values.items()}


def _entries(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Pair]:
    for name in sorted({*before, *after}):
        yield f"{what}: {name}", before.get(name, NOTHING), after.get(name, NOTHING)


# ---------------------------------------------------------------- the environment


def _environment(original: Record, now: Record) -> Iterator[Pair]:
    if original.base_image is None:
        return
    found = list(_what_is_in_it(original, now))
    yield from found
    if all(before == after for _, before, after in found):  # else they are the reason
        yield "environment", original.environment_digest[:19], now.environment_digest[:19]


def _what_is_in_it(original: Record, now: Record) -> Iterator[Pair]:
    assert original.base_image
    before, after = original.base_image, now.base_image or BaseImage(ref="none", id="", digest="")
    if before.digest != after.digest:
        yield "base image", _image(before), _image(after)
    yield "python", before.python, after.python
    yield from _entries("system packages", _versions(before), _versions(after))
    yield from _entries("packages", _packages(original), _packages(now))
    yield "reprorun", original.reprorun.version, now.reprorun.version


def _image(base: BaseImage) -> str:
    return f"{base.ref} ({base.digest.removeprefix('sha256:')[:12]})"


def _versions(base: BaseImage) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in base.installed)


def _packages(record: Record) -> dict[str, str]:
    """Name -> version; with the wheel's digest, so that another wheel of one version counts."""
    return {package.name: _package(package) for package in record.packages}


def _package(package: Package) -> str:
    built = ", built from source" if package.source else ""
    return f"{package.version} (wheel {package.wheel.sha256[:12]}{built})"


# ---------------------------------------------------------------- the container


def _container(original: Record, now: Record) -> Iterator[Pair]:
    if original.engine is None or now.engine is None:
        return
    yield "network", original.network, now.network
    yield "numerics", original.numerics, now.numerics
    yield from _entries("limits", _limits(original.limits), _limits(now.limits))
    yield "runtime", original.runtime.upper(), now.runtime.upper()
    yield "gpus", _gpus(original.gpus), _gpus(now.gpus)
    before, after = original.engine, now.engine
    yield "engine", f"{before.name} {before.version}", f"{after.name} {after.version}"


def _limits(limits: Limits) -> dict[str, str]:
    found = {
        "memory": limits.memory,
        "processors": limits.cpus,
        "shared memory": limits.shm_size,
        "processes": limits.pids,
        "seconds": limits.timeout,
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _gpus(request: GpuRequest | None) -> str:
    return in_words(request) if request else NOTHING


# ---------------------------------------------------------------- the host


def _host(original: Record, now: Record) -> Iterator[Pair]:
    before, after = original.host, now.host
    if not before.machine:  # never measured
        return
    yield "host: name", before.node, after.node
    yield "host: system", before.system, after.system
    if _knows_processor(original) and _knows_processor(now):
        yield "host: processor", before.cpu_model, after.cpu_model
        yield "host: instructions", " ".join(before.cpu_features), " ".join(after.cpu_features)
    yield "host: processors", str(before.cpu_count), str(after.cpu_count)
    yield "host: memory", str(before.memory), str(after.memory)
    if not (_is_remote(original) or _is_remote(now)):  # of those there, containers see some
        yield "host: gpus", ", ".join(before.gpus) or NOTHING, ", ".join(after.gpus) or NOTHING
        yield "host: gpu driver", before.gpu_driver or NOTHING, after.gpu_driver or NOTHING


def _is_remote(record: Record) -> bool:
    return record.engine is not None and record.engine.remote


def _knows_processor(record: Record) -> bool:
    """Another machine's is measured in a container, and there may have been none."""
    return not _is_remote(record) or bool(record.host.cpu_model or record.host.cpu_features)
