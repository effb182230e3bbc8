"""A package of a lab's own, offered by an index on this machine."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import docker

from ..index import Index, Served, make_wheel
from .lab import Lab, record_of

USES = "import tool\nprint(tool.VERSION)\n"


@contextmanager
def offered(made: Lab, *, size: int = 0, pause: float = 0.0) -> Iterator[Served]:
    """Let the lab's script need a package that nobody else has; its index answers meanwhile.

    Args:
        made: the lab.
        size: bytes that the package has beside its module.
        pause: seconds that the index waits after each 64 KiB of it.
    """
    with Index() as index:
        text = f"VERSION = '1.0'  # {uuid.uuid4()}\n".encode()
        files = {"tool.py": text, "tool.bin": os.urandom(size)}
        served = index.add(*make_wheel("tool", "1.0", files=files))
        served.faults.pause = pause
        made.env.update(UV_DEFAULT_INDEX=index.url, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
        made.write({"requirements.txt": "tool\n"})
        made.script(USES)
        yield served


def forget(made: Lab) -> None:
    """Make it as if the package had never been used: nothing in caches, no image on the engine."""
    for directory in (made.cache, made.place / "uv"):
        shutil.rmtree(directory, ignore_errors=True)
    made.cache.mkdir()
    forget_images(made)


def forget_images(made: Lab) -> None:
    """Remove the images of the lab's runs, whose packages nobody else has."""
    records = [record for record in map(record_of, made.log_dirs()) if record]
    digests = {record.environment_digest.removeprefix("sha256:")[:24] for record in records}
    client = made.client()
    try:
        for tags in (
            {record.image for record in records},
            {f"reprorun/environment:{digest}" for digest in digests},
        ):
            for tag in sorted(tags - {""}):
                with suppress(docker.errors.ImageNotFound):
                    client.images.remove(tag)
    finally:
        client.close()
