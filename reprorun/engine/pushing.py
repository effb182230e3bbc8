"""Giving an image to a registry, from which other engines pull it by its digest."""

from __future__ import annotations

import os

from reprorun.engine.client import Client, path_of
from reprorun.engine.protocol import Progress
from reprorun.engine.references import registry_of
from reprorun.errors import EngineError


def push(client: Client, image: str, repository: str, progress: Progress) -> str:
    """Have the engine push an image, with the login that docker's own store has.

    Args:
        image: name or id.
        repository: `HOST/NAME`.

    Returns:
        `HOST/NAME@sha256:...`.

    Raises:
        EngineError: the registry does not take it.
    """
    from reprorun.engine import logins  # brings docker-py, which takes its time

    registry = registry_of(repository)
    headers = {"X-Registry-Auth": logins.header(logins.login_for(registry))}
    tag = f"reprorun-{os.urandom(8).hex()}"  # that two who push at once don't mix
    named = {"repo": repository, "tag": tag}
    client.call("POST", path_of("images", image, "tag"), named)
    try:
        digest = None
        path = path_of("images", repository, "push")
        for event in client.events(path, {"tag": tag}, headers=headers):
            if "error" in event:
                raise EngineError(
                    f"{repository} could not be pushed: {' '.join(event['error'].split())}\n"
                    f"See that the name is right, and that `docker login {registry}` has been done."
                )
            if event.get("status") and not event.get("progressDetail"):
                progress(" ".join(filter(None, (event.get("id"), event["status"]))))
            digest = event.get("aux", {}).get("Digest", digest)
    finally:
        name = path_of("images", f"{repository}:{tag}")
        client.call("DELETE", name, {"noprune": True})
    if digest is None:
        raise EngineError(f"{repository} was pushed, but the engine does not say its digest.")
    return f"{repository}@{digest}"
