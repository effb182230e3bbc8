"""Engines for tests: the fake, or the real Docker Engine with everything removed at the end."""

from __future__ import annotations

import os
import uuid
from typing import Any

from reprorun.engine import Engine
from reprorun.engine.fake import FakeEngine
from reprorun.model import Image

BASE = os.environ.get("REPRORUN_TEST_BASE", "reprorun-base:3.11")
"""The base image of tests on the real engine; `scripts/test` makes it."""

FAKE_BASE = Image(id="sha256:base", layers=("sha256:layer",), env=("PATH=/bin",), machine="x86_64")


class Kit:
    """An engine, its base image, and tags that are removed when the test is over."""

    def __init__(self, name: str, engine: Engine, base: str) -> None:
        self.name = name
        self.engine = engine
        self.base = base
        self._id = uuid.uuid4().hex[:12]

    @classmethod
    def of(cls, name: str) -> Kit:
        """The kit of that name: `fake` or `docker`. Without an engine `docker` is an error."""
        if name == "fake":
            return cls(name, FakeEngine(images={"base:1": FAKE_BASE}), "base:1")
        from reprorun.engine.docker import DockerEngine

        return cls(name, DockerEngine.connect(), BASE)

    def tag(self, name: str) -> str:
        """A tag of this test's own."""
        return f"reprorun-test/{name}:{self._id}"

    def __enter__(self) -> Kit:
        return self

    def __exit__(self, *_: Any) -> None:
        self.engine.close()
        if self.name == "docker":
            remove_leftovers(f":{self._id}")


def remove_leftovers(tag_ending: str) -> None:
    """Remove containers labelled by tests, and images whose tags end so."""
    import docker

    client = docker.from_env()
    try:
        for container in client.containers.list(all=True, filters={"label": "reprorun=test"}):
            container.remove(force=True)
        for image in client.images.list():
            for tag in image.tags:
                if tag.endswith(tag_ending):
                    client.images.remove(tag, force=True)
    finally:
        client.close()
