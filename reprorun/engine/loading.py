"""Handing an image to a Docker Engine layer by layer, without a build.

While the engine stores one part, the next is already on its way: reading wheels and storing layers
are about the same work. The parts on the way are images without a name, removed at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from reprorun.engine.archive import Form, write_archive
from reprorun.engine.client import Client, Refused, path_of
from reprorun.engine.docker_errors import build_failure
from reprorun.engine.protocol import Layer, Progress
from reprorun.errors import BuildFailed
from reprorun.model import ImageSpec

PART = 64 << 20  # bytes of layers that are worth a part of their own
_LOADED = "Loaded image ID: "  # how an engine names what has no name


def load(
    client: Client,
    spec: ImageSpec,
    layers: Sequence[Layer],
    held: int,
    progress: Progress,
    form: Form,
) -> None:
    """Make an image of its parent and layers.

    Args:
        client: of the engine.
        spec: the image.
        layers: of it, on top of the parent's.
        held: how many of them the engine has; the digests of these are known.
        progress: told which layers are on their way.
        form: of archive that the engine takes.

    Raises:
        BuildFailed: the engine refuses it.
    """
    parent = client.call("GET", path_of("images", spec.parent, "json"))
    below = [*parent["RootFS"]["Layers"], *(str(layer.diff_id) for layer in layers[:held])]
    # Podman removes what has no name while others hold it: there, all goes in one part
    *parts, last = _parts(layers[held:]) if form == "docker" else [layers[held:]]
    steps: list[Future[str]] = []
    try:
        with ThreadPoolExecutor(2) as pool:
            for part in parts:
                _tell(part, progress)
                sending = _Sending(client, spec, [], steps[-1] if steps else None, form)
                steps.append(pool.submit(sending.run, parent, part, below))
                below = sending.digests.result()
            _tell(last, progress)
            sending = _Sending(client, spec, [spec.tag], steps[-1] if steps else None, form)
            sending.run(parent, last, below)
    finally:
        _forget(client, steps)


def _parts(layers: Sequence[Layer]) -> list[list[Layer]]:
    """The layers in parts of some size, the last one too; one empty part where there are none."""
    parts: list[list[Layer]] = [[]]
    left = sum(layer.size for layer in layers)
    for layer in layers:
        if left >= PART and sum(other.size for other in parts[-1]) >= PART:
            parts.append([])
        parts[-1].append(layer)
        left -= layer.size
    return parts


def _forget(client: Client, steps: Sequence[Future[str]]) -> None:
    """Remove the images on the way. Where another run uses one this moment, `reprorun gc` will."""
    for step in steps:
        if step.exception() is None:
            with suppress(Refused):
                client.call("DELETE", path_of("images", step.result()))


def _tell(layers: Sequence[Layer], progress: Progress) -> None:
    for layer in layers:
        progress(f"layer: {layer.title}")


class _Sending:
    """One part on its way.

    Args:
        client: of the engine.
        spec: of the image that all this is for.
        tags: what this part of it is called.
        before: the part below, which must be stored before this one can be.
        form: of archive.
    """

    def __init__(
        self,
        client: Client,
        spec: ImageSpec,
        tags: list[str],
        before: Future[str] | None,
        form: Form,
    ) -> None:
        self.digests: Future[list[str]] = Future()  # of all layers up to this part's, once sent
        self._client = client
        self._spec = spec
        self._tags = tags
        self._before = before
        self._form = form

    def run(self, parent: dict[str, Any], layers: Sequence[Layer], below: Sequence[str]) -> str:
        """Send it and wait until it is stored; returns the image's id where it has no name."""
        try:
            archive = write_archive(
                self._spec, self._tags, parent, layers, below, self._sent, self._form
            )
            said = ""
            for event in self._client.events("/images/load", {"quiet": True}, data=archive):
                if "error" in event:
                    raise BuildFailed(build_failure(self._spec.tag, event["error"], []))
                said += event.get("stream", "")
            return said.partition(_LOADED)[2].strip()
        except BaseException as error:
            if not self.digests.done():  # or whoever waits for them would wait for ever
                self.digests.set_exception(error)
            raise

    def _sent(self, digests: list[str]) -> None:
        self.digests.set_result(digests)
        if self._before:
            self._before.result()
