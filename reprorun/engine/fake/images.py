"""The images of the fake engine: named, made, built, saved and loaded."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from reprorun.engine.images import read_saved, write_loadable
from reprorun.engine.protocol import Layer, Progress
from reprorun.errors import BuildFailed, EngineError, ImageMissing
from reprorun.model import Image, ImageSpec

from .process import Container
from .tars import Tar, unpack


class FakeImages:
    """What an engine does with images; `images` has those that are there, by name."""

    def __init__(
        self, images: dict[str, Image], pullable: dict[str, Image], refuse_build: str | None
    ) -> None:
        self.images = images
        self.pullable = pullable
        self.refuse_build = refuse_build
        self.builds: list[str] = []
        self.containers: dict[str, Container] = {}  # whose images can't be removed
        self._files: dict[str, frozenset[str]] = {}  # of images
        self._tars: dict[str, Tar] = {}  # layers, by digest

    def image(self, ref: str) -> Image | None:
        by_id = {image.id: image for image in self.images.values()}
        return self.images.get(ref) or self.images.get(f"{ref}:latest") or by_id.get(ref)

    def pull(self, ref: str, progress: Progress, *, platform: str | None = None) -> Image:
        of_platform = f"{ref} for {platform}"  # how tests say that there is one
        found = self.pullable.get(of_platform) or self.pullable.get(ref)
        if found is None:
            raise ImageMissing(f"the base image {ref} is not on the engine: no such image")
        progress(f"pulled {ref}")
        self.images[ref] = found
        return self.images[ref]

    def push(self, image: str, repository: str, progress: Progress) -> str:
        found = self._named(image)
        ref = f"{repository}@{found.id}"
        self.pullable[ref] = found
        return ref

    def name_image(self, image: str, tag: str) -> None:
        self.images[tag] = self._named(image)

    def _named(self, image: str) -> Image:
        found = self.image(image)
        if found is None:
            raise EngineError(f"the engine refused: No such image: {image}")
        return found

    def labelled_images(self, label: str) -> tuple[Image, ...]:
        name, _, value = label.partition("=")
        return tuple(
            msgspec.structs.replace(image, tags=(tag,))
            for tag, image in self.images.items()
            if name in image.labels and value in ("", image.labels[name])
        )

    def tagged_images(self, repository: str) -> tuple[Image, ...]:
        return tuple(
            msgspec.structs.replace(image, tags=(tag,))
            for tag, image in self.images.items()
            if tag.rpartition(":")[0] == repository
        )

    def save(self, image: str) -> Iterator[bytes]:
        found = self.image(image)
        if found is None:
            raise EngineError(f"the engine refused: No such image: {image}")
        for digest in found.layers:
            if digest not in self._tars:
                raise EngineError(f"the layer {digest} of {image} was made up for a test")
        tars = [self._tars[digest] for digest in found.layers]
        yield from write_loadable([], _config(found), tars)

    def load_image(self, pieces: Iterable[bytes], tag: str) -> Image:
        config, layers = read_saved(pieces, Tar)
        told = msgspec.json.decode(config)
        self._tars.update((layer.diff_id, layer) for layer in layers)
        return self._store(
            tag,
            layers=tuple(layer.diff_id for layer in layers),
            labels=told["config"].get("Labels") or {},
            env=tuple(told["config"].get("Env") or ()),
            machine=told["architecture"],
            inside=frozenset().union(*(layer.names for layer in layers)),
        )

    def remove_image(self, ref: str) -> None:
        image = self.image(ref)
        users = [c for c in self.containers.values() if self.image(c.process.spec.image) == image]
        if image and users and sum(other == image for other in self.images.values()) == 1:
            raise EngineError(f"the engine refused: conflict: a container uses {ref}")
        self.images = {
            tag: image for tag, image in self.images.items() if ref not in (tag, image.id)
        }

    def make(
        self, spec: ImageSpec, layers: Sequence[Layer], held: int, progress: Progress
    ) -> Image:
        if self.refuse_build:
            raise BuildFailed(f"the image {spec.tag} could not be built: {self.refuse_build}")
        parent = self.image(spec.parent)
        if parent is None:
            raise BuildFailed(f"the image {spec.tag} could not be built: no image {spec.parent}")
        own, inside = [str(layer.diff_id) for layer in layers[:held]], self._inside(parent, layers)
        for layer in layers[held:]:
            data = b"".join(layer.pieces())
            if len(data) != layer.size:
                raise BuildFailed(f"{layer.title}: {len(data)} bytes came, {layer.size} were said")
            own.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
            if not layer.is_kept:
                layer.made(own[-1])
            elif layer.diff_id != own[-1]:
                raise BuildFailed(f"{layer.title}: {own[-1]} came, {layer.diff_id} was said")
            self._tars[own[-1]] = Tar([data])
            inside |= self._tars[own[-1]].names
        env = dict(entry.partition("=")[::2] for entry in parent.env)
        return self._put(
            spec.tag,
            layers=(*parent.layers, *own),
            labels={**parent.labels, **spec.labels},
            env=tuple(f"{name}={value}" for name, value in {**env, **spec.env}.items()),
            machine=parent.machine,
            inside=inside,
        )

    @contextmanager
    def named(self, image: str) -> Iterator[str]:
        yield image

    def _inside(self, parent: Image, layers: Sequence[Layer]) -> frozenset[str]:
        known = [self._tars[d].names for layer in layers if (d := str(layer.diff_id)) in self._tars]
        return self._files.get(parent.id, frozenset()).union(*known)

    def _put(self, tag: str, **fields: Any) -> Image:
        self.builds.append(tag)
        return self._store(tag, **fields)

    def _store(
        self,
        tag: str,
        *,
        layers: tuple[str, ...],
        labels: dict[str, str],
        env: tuple[str, ...],
        machine: str,
        inside: frozenset[str],
    ) -> Image:
        identity = repr((layers, sorted(labels.items()), env)).encode()
        image = Image(
            id=f"sha256:{hashlib.sha256(identity).hexdigest()}",
            layers=layers,
            labels=labels,
            env=env,
            machine=machine,
        )
        self.images[tag] = image
        self._files[image.id] = inside
        return image

    def build(
        self, context: Iterable[bytes], tag: str, progress: Progress, *, network: bool = False
    ) -> Image:
        files = unpack(b"".join(context))
        if self.refuse_build:
            raise BuildFailed(f"the image {tag} could not be built: {self.refuse_build}")
        base: Image | None = None
        layers: tuple[str, ...] = ()
        inside: frozenset[str] = frozenset()
        labels: dict[str, str] = {}
        for line in files["Dockerfile"].decode().replace("\\\n", "").splitlines():
            progress(line)
            words = shlex.split(line, comments=True)
            if words[:1] == ["FROM"]:
                base = self.image(words[1])
                if base is None:
                    raise BuildFailed(f"the image {tag} could not be built: no image {words[1]}")
                layers, inside = base.layers, self._files.get(base.id, inside)
            elif words[:1] == ["ADD"]:
                data = files[words[1]]
                layers = (*layers, f"sha256:{hashlib.sha256(data).hexdigest()}")
                inside |= {os.path.join(words[2], name) for name in unpack(data)}
            elif words[:1] == ["LABEL"]:
                labels.update(
                    (name, value) for name, _, value in (w.partition("=") for w in words[1:])
                )
        if base is None:
            raise BuildFailed(f"the image {tag} could not be built: no FROM")
        return self._put(
            tag,
            layers=layers,
            labels={**base.labels, **labels},
            env=base.env,
            machine=base.machine,
            inside=inside,
        )


def _config(image: Image) -> bytes:
    """An image's settings as engines have them."""
    return msgspec.json.encode(
        {
            "architecture": image.machine,
            "os": "linux",
            "config": {"Env": image.env, "Labels": image.labels},
            "rootfs": {"type": "layers", "diff_ids": image.layers},
        }
    )
