"""The images of a Docker Engine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from reprorun.engine.client import NotFound, Parameters, path_of
from reprorun.engine.docker_errors import build_failure
from reprorun.engine.docker_talk import DockerTalk
from reprorun.engine.docker_values import image_of
from reprorun.engine.protocol import Layer, Progress
from reprorun.engine.references import PARENT_REPOSITORY, own_first
from reprorun.errors import BuildFailed, EngineError, ImageMissing
from reprorun.model import Image, ImageSpec

if TYPE_CHECKING:
    from reprorun.engine.archive import Form
    from reprorun.engine.buildx import Buildx


class DockerImages(DockerTalk):
    """Finds, fetches, makes and removes images. What makes them is imported when it is needed."""

    def image(self, ref: str) -> Image | None:
        with self._talking():
            try:
                image = image_of(self._client.call("GET", path_of("images", ref, "json")))
            except NotFound:
                return None
        digests = own_first(image.repo_digests, ref)
        return msgspec.structs.replace(image, repo_digests=digests)

    def labelled_images(self, label: str) -> tuple[Image, ...]:
        return self._listed("label", label)

    def tagged_images(self, repository: str) -> tuple[Image, ...]:
        return self._listed("reference", repository)

    def _listed(self, key: str, value: str) -> tuple[Image, ...]:
        filters = msgspec.json.encode({key: [value]}).decode()
        with self._talking():
            listed = self._client.call("GET", "/images/json", {"filters": filters})
        found = (self.image(entry["Id"]) for entry in listed)
        return tuple(image for image in found if image is not None)  # else removed meanwhile

    def save(self, image: str) -> Iterator[bytes]:
        with self._talking():
            yield from self._client.stream("GET", path_of("images", image, "get"))

    def load_image(self, pieces: Iterable[bytes], tag: str) -> Image:
        with self._talking():
            # not quietly: what it tells shows that it is at work
            for event in self._client.events("/images/load", {"quiet": False}, data=pieces):
                if "error" in event:
                    raise EngineError(f"the engine refuses the image {tag}: {event['error']}")
        image = self.image(tag)
        if image is None:
            raise EngineError(f"the engine took the image {tag}, but does not list it.")
        return image

    def remove_image(self, ref: str) -> None:
        with self._talking(), suppress(NotFound):
            self._client.call("DELETE", path_of("images", ref))

    def pull(self, ref: str, progress: Progress, *, platform: str | None = None) -> Image:
        from reprorun.engine.pulling import cannot_pull, pull

        with self._talking():
            pull(self._client, ref, progress, platform)
        image = self.image(ref)
        if image is None:
            raise ImageMissing(cannot_pull(ref, "pulled, but the engine does not list it"))
        return image

    def push(self, image: str, repository: str, progress: Progress) -> str:
        from reprorun.engine.pushing import push

        with self._talking():
            return push(self._client, image, repository, progress)

    def name_image(self, image: str, tag: str) -> None:
        repository, _, version = tag.rpartition(":")
        with self._talking():
            wanted: Parameters = {"repo": repository, "tag": version}
            self._client.call("POST", path_of("images", image, "tag"), wanted)

    # ------------------------------------------------------------ making

    def make(
        self, spec: ImageSpec, layers: Sequence[Layer], held: int, progress: Progress
    ) -> Image:
        from reprorun.engine.loading import load

        if not self._info.takes_layers:
            return self._make_by_building(spec, layers, progress)
        with self._talking(BuildFailed), self._written_early(layers[held:]):
            form: Form = "oci" if self._info.name == "podman" else "docker"
            load(self._client, spec, layers, held, progress, form)
        return self._built(spec.tag, [])

    def _written_early(self, layers: Sequence[Layer]) -> AbstractContextManager[None]:
        from reprorun.engine.writeback import is_worth_it, written_early

        here = not self._info.remote and self._info.shared is None
        worth_it = here and is_worth_it(sum(layer.size for layer in layers))
        return written_early(self._info.root_dir) if worth_it else nullcontext()

    def _make_by_building(
        self, spec: ImageSpec, layers: Sequence[Layer], progress: Progress
    ) -> Image:
        from reprorun.engine.context import write_context

        with self.named(spec.parent) as name:
            dockerfile = spec.dockerfile().replace(f"FROM {spec.parent}\n", f"FROM {name}\n", 1)
            return self.build(write_context(dockerfile, layers), spec.tag, progress)

    @contextmanager
    def named(self, image: str) -> Iterator[str]:
        if self._buildx is None:
            yield image
            return
        name = f"{PARENT_REPOSITORY}:{os.urandom(12).hex()}"
        self.name_image(image, name)
        try:
            yield name
        finally:
            self._take_name(name)

    def _take_name(self, name: str) -> None:
        """Remove a name, but never the image with its last one."""
        found = self.image(name)
        if found and (found.repo_digests or len(found.tags) > 1):
            self.remove_image(name)

    @cached_property
    def _buildx(self) -> Buildx | None:
        from reprorun.engine.buildx import find_buildx

        return find_buildx(self._route.url, self._route.place.tls, self._info)

    def build(
        self, context: Iterable[bytes], tag: str, progress: Progress, *, network: bool = False
    ) -> Image:
        from reprorun.engine.buildx import build_with

        mode = "default" if network else "none"
        if self._buildx is None:
            return self._build_classically(context, tag, mode, progress)
        why, lines = build_with(self._buildx, context, tag, network=mode, progress=progress)
        if why:
            raise BuildFailed(build_failure(tag, why, lines))
        return self._built(tag, lines)

    def _build_classically(
        self, context: Iterable[bytes], tag: str, mode: str, progress: Progress
    ) -> Image:
        from reprorun.engine.logins import all_logins, header

        lines: list[str] = []
        wanted: Parameters = {"t": tag, "networkmode": mode, "rm": True, "forcerm": True}
        headers = {"X-Registry-Config": header(all_logins())}
        with self._talking(BuildFailed):
            for event in self._client.events("/build", wanted, data=context, headers=headers):
                for line in event.get("stream", "").splitlines():
                    lines.append(line)
                    progress(line)
                if "error" in event:
                    raise BuildFailed(build_failure(tag, event["error"], lines))
        return self._built(tag, lines)

    def _built(self, tag: str, lines: list[str]) -> Image:
        image = self.image(tag)
        if image is None:
            raise BuildFailed(build_failure(tag, "the engine made no image", lines))
        return image
