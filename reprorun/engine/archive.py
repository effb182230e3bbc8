"""An image as an engine loads it, with only the layers that the engine lacks. Pure.

The engine takes layers that it has from its own store and checks the digest of each that it is
sent. So an image comes out as it was decided, its id included: it is the digest of the settings
that are written here. Docker takes its own form of archive so, Podman that of OCI.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Literal

from reprorun.engine.protocol import Layer
from reprorun.engine.references import in_full
from reprorun.model import ImageSpec

CREATED = "1980-01-01T00:00:00Z"  # as the files in our layers; no two builds differ by the clock
_INHERITED = ("Env", "WorkingDir", "Entrypoint", "Cmd", "Labels")
Form = Literal["docker", "oci"]
_OCI = "application/vnd.oci.image"
_ABSENT = "absent.tar"  # stands for a layer that the engine has; it is never opened


def write_archive(
    spec: ImageSpec,
    tags: Sequence[str],
    parent: dict[str, Any],
    layers: Sequence[Layer],
    below: Sequence[str],
    sent: Callable[[list[str]], None],
    form: Form = "docker",
) -> Iterator[bytes]:
    """The image as a tar, in pieces.

    Args:
        spec: the image.
        tags: what it is called; an image without a name can be a step on the way to another.
        parent: what the engine says of its parent (`docker inspect`).
        layers: to be sent, on top of what is below.
        below: the digests of the layers that the engine has, the parent's among them.
        sent: called with all digests before the last is written: settings, which end it.
        form: that the engine takes.
    """
    own: list[str] = []
    names = []
    for number, layer in enumerate(layers):
        names.append(f"layer-{number}.tar")
        yield tar_header(names[-1], layer.size)
        own.append((yield from _content(layer)))
        yield b"\0" * (-layer.size % tarfile.BLOCKSIZE)
    sent([*below, *own])
    config = json.dumps(_config(spec, parent, [*below, *own]), sort_keys=True).encode()
    if form == "docker":
        yield from _docker_end(config, tags, [_ABSENT] * len(below) + names)
    else:
        sizes = [0] * len(below) + [layer.size for layer in layers]
        yield from _oci_end(config, tags, list(zip([*below, *own], sizes, strict=True)), names)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _content(layer: Layer) -> Generator[bytes, None, str]:
    """The tar of a layer; returns its digest, which is not taken twice: the engine does that."""
    if layer.is_kept:
        yield from layer.pieces()
        return str(layer.diff_id)
    digest = hashlib.sha256()
    for piece in layer.pieces():
        digest.update(piece)
        yield piece
    diff_id = f"sha256:{digest.hexdigest()}"
    layer.made(diff_id)
    return diff_id


def _docker_end(config: bytes, tags: Sequence[str], names: list[str]) -> Iterator[bytes]:
    """What makes an image of the files that hold its layers."""
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = {"Config": config_name, "RepoTags": list(tags), "Layers": names}
    yield from tar_file(config_name, config)
    yield from tar_file("manifest.json", json.dumps([manifest]).encode())


def _oci_end(
    config: bytes, tags: Sequence[str], layers: list[tuple[str, int]], names: list[str]
) -> Iterator[bytes]:
    """The same for an OCI layout. Its files are called by their digests: the layers get links.

    Args:
        config: settings.
        tags: what it is called.
        layers: the digests of all, with the sizes of those that are in the archive.
        names: of these files, the uppermost ones.
    """
    for (digest, _), name in zip(layers[len(layers) - len(names) :], names, strict=True):
        yield _tar_link(_blob(digest), name)
    settings = _described(config, "config.v1+json")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": settings,
            "layers": [
                {"mediaType": f"{_OCI}.layer.v1.tar", "digest": digest, "size": size}
                for digest, size in layers
            ],
        }
    ).encode()
    named = [
        {
            **_described(manifest, "manifest.v1+json"),
            "annotations": {"org.opencontainers.image.ref.name": in_full(tag)},
        }
        for tag in tags
    ] or [_described(manifest, "manifest.v1+json")]
    yield from tar_file(_blob(settings["digest"]), config)
    yield from tar_file(_blob(named[0]["digest"]), manifest)
    yield from tar_file("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "manifests": named}
    yield from tar_file("index.json", json.dumps(index).encode())


def _described(data: bytes, kind: str) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return {"mediaType": f"{_OCI}.{kind}", "digest": digest, "size": len(data)}


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _tar_link(name: str, target: str) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.LNKTYPE, target
    return member.tobuf(tarfile.GNU_FORMAT)


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
