"""Giving an image to a registry, from which other engines pull it by its digest."""

from __future__ import annotations

import os

from docker import APIClient

from reprorun.engine.logins import login_for
from reprorun.engine.protocol import Progress
from reprorun.engine.references import registry_of
from reprorun.errors import EngineError


def push(client: APIClient, image: str, repository: str, progress: Progress) -> str:
    """Have the engine push an image, with the login that docker's own store has.

    Args:
        image: name or id.
        repository: `HOST/NAME`.

    Returns:
        `HOST/NAME@sha256:...`.

    Raises:
        EngineError: the registry does not take it.
    """
    registry = registry_of(repository)
    login = login_for(registry)
    tag = f"reprorun-{os.urandom(8).hex()}"  # that two who push at once don't mix
    client.tag(image, repository, tag)
    try:
        digest = None
        for event in client.push(repository, tag, auth_config=login, stream=True, decode=True):
            if "error" in event:
                raise EngineError(
                    f"{repository} could not be pushed: {' '.join(event['error'].split())}\n"
                    f"See that the name is right, and that `docker login {registry}` has been done."
                )
            if event.get("status") and not event.get("progressDetail"):
                progress(" ".join(filter(None, (event.get("id"), event["status"]))))
            digest = event.get("aux", {}).get("Digest", digest)
    finally:
        client.remove_image(f"{repository}:{tag}", noprune=True)
    if digest is None:
        raise EngineError(f"{repository} was pushed, but the engine does not say its digest.")
    return f"{repository}@{digest}"
