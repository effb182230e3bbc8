"""A Docker image as `docker load` takes it, with only the layers that the engine lacks. Pure.

The engine takes layers that it has from its own store and checks the digest of each that it is
sent. So an image comes out as it was decided, its id included: it is the digest of the settings
that are written here.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from reprorun.engine.protocol import Layer
from reprorun.model import ImageSpec

CREATED = "1980-01-01T00:00:00Z"  # as the files in our layers; no two builds differ by the clock
_INHERITED = ("Env", "WorkingDir", "Entrypoint", "Cmd", "Labels")
_ABSENT = "absent.tar"  # stands for a layer that the engine has; it is never opened


def write_archive(
    spec: ImageSpec,
    tags: Sequence[str],
    parent: dict[str, Any],
    layers: Sequence[Layer],
    below: Sequence[str],
    sent: Callable[[list[str]], None],
) -> Iterator[bytes]:
    """The image as a tar, in pieces.

    Args:
        spec: the image.
        tags: what it is called; an image without a name can be a step on the way to another.
        parent: what the engine says of its parent (`docker inspect`).
        layers: to be sent, on top of what is below.
        below: the digests of the layers that the engine has, the parent's among them.
        sent: called with all digests before the last is written: settings, which end it.
    """
    own: list[str] = []
    names = []
    for number, layer in enumerate(layers):
        names.append(f"layer-{number}.tar")
        digest = hashlib.sha256()
        yield tar_header(names[-1], layer.size)
        for piece in layer.pieces():
            digest.update(piece)
            yield piece
        yield b"\0" * (-layer.size % tarfile.BLOCKSIZE)
        own.append(f"sha256:{digest.hexdigest()}")
        layer.made(own[-1])
    sent([*below, *own])
    config = json.dumps(_config(spec, parent, [*below, *own]), sort_keys=True).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = {
        "Config": config_name,
        "RepoTags": list(tags),
        "Layers": [_ABSENT] * len(below) + names,
    }
    yield from tar_file(config_name, config)
    yield from tar_file("manifest.json", json.dumps([manifest]).encode())
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _config(spec: ImageSpec, parent: dict[str, Any], diff_ids: list[str]) -> dict[str, Any]:
    variant = {"variant": parent["Variant"]} if parent.get("Variant") else {}
    return {
        "architecture": parent["Architecture"],
        "os": parent["Os"],
        **variant,
        "created": CREATED,
        "config": _settings(spec, parent.get("Config") or {}),
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": CREATED, "created_by": "reprorun"} for _ in diff_ids],
    }


def _settings(spec: ImageSpec, parent: dict[str, Any]) -> dict[str, Any]:
    """The parent's settings with ours. What it would do by itself (ONBUILD, volumes, health checks,
    another user) is not taken over: nothing of that belongs to an experiment."""
    found = {key: parent[key] for key in _INHERITED if parent.get(key)}
    env = dict(entry.partition("=")[::2] for entry in found.get("Env", ()))
    found["Env"] = [f"{name}={value}" for name, value in {**env, **spec.env}.items()]
    found["Labels"] = {**found.get("Labels", {}), **spec.labels}
    if spec.workdir is not None:
        found["WorkingDir"] = spec.workdir
    if spec.entrypoint is not None:
        found["Entrypoint"] = list(spec.entrypoint)
        found.pop("Cmd", None)
    return found


def tar_file(name: str, data: bytes) -> Iterator[bytes]:
    """A file as a member of a tar."""
    yield tar_header(name, len(data))
    yield data + b"\0" * (-len(data) % tarfile.BLOCKSIZE)


def tar_header(name: str, size: int) -> bytes:
    """What stands before a member of a tar; its content is padded to whole blocks."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)
