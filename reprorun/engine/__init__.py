"""Container engines: the protocol, Docker and Podman over their API, and a fake for fast tests."""

from __future__ import annotations

from typing import Literal

from reprorun.engine.protocol import Engine, Layer

__all__ = ["Engine", "Layer", "connect"]


def connect(kind: Literal["docker", "podman"] | None = None) -> Engine:
    """The engine that is meant: by DOCKER_HOST, a docker context, or at the usual sockets.

    Args:
        kind: what it has to be; None: whatever answers there.

    Raises:
        UsageError: what names it can't be understood, or must not be used.
        EngineUnavailable: none answers, the user may not talk to it, or it is of another kind.
    """
    from reprorun.engine.docker import DockerEngine

    return DockerEngine.connect(kind)
