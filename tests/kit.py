"""Engines for tests: the fake, or real ones with everything removed at the end."""

from __future__ import annotations

import os
import uuid
from typing import Any

from reprorun.engine import Engine
from reprorun.engine.fake import FakeEngine
from reprorun.model import Image

BASE = os.environ.get("REPRORUN_TEST_BASE", "reprorun-base:3.11")
"""The base image of tests on the real engine; `scripts/test` makes it."""

LABELS = {"reprorun": "test", "reprorun.test": uuid.uuid4().hex}
"""Of containers that tests make: this process's, for others may be at work on the same engine."""

FAKE_BASE = Image(id="sha256:base", layers=("sha256:layer",), env=("PATH=/bin",), machine="x86_64")


class Kit:
    """An engine, its base image, and tags that are removed when the test is over."""

    def __init__(self, name: str, engine: Engine, base: str, address: str | None = None) -> None:
        self.name = name
        self.engine = engine
        self.base = base
        self._address = address  # of an engine that is not the one of DOCKER_HOST
        self._id = uuid.uuid4().hex[:12]

    @classmethod
    def of(cls, name: str, address: str | None = None) -> Kit:
        """The kit of that name. Where there is no such engine, that is an error.

        Args:
            name: `fake`, `docker`, or one of `tests.engines`.
            address: of the engine; None: what DOCKER_HOST names.
        """
        if name == "fake":
            return cls(name, FakeEngine(images={"base:1": FAKE_BASE}), "base:1")
        from reprorun.engine.docker import DockerEngine
        from reprorun.engine.places import Place

        if address is None:
            return cls(name, DockerEngine.connect(), BASE)
        engine = DockerEngine.reach(Place(address=address, by="the tests"))
        return cls(name, engine, BASE, address)

    def tag(self, name: str) -> str:
        """A tag of this test's own."""
        return f"reprorun-test/{name}:{self._id}"

    def __enter__(self) -> Kit:
        return self

    def __exit__(self, *_: Any) -> None:
        self.engine.close()
        if self.name != "fake":
            remove_leftovers(f":{self._id}", self._address)


def remove_leftovers(tag_ending: str, address: str | None = None) -> None:
    """Remove containers labelled by tests, and images whose tags end so."""
    import docker

    client = docker.DockerClient(base_url=address) if address else docker.from_env()
    try:
        mine = f"reprorun.test={LABELS['reprorun.test']}"
        for container in client.containers.list(all=True, filters={"label": mine}):
            container.remove(force=True)
        for image in client.api.images():  # not images.list(), which asks for each once more
            for tag in image["RepoTags"] or ():
                if tag.endswith(tag_ending):
                    client.images.remove(tag, force=True)
    finally:
        client.close()
