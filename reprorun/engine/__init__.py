"""Container engines: the protocol, Docker behind docker-py, and a fake for fast tests."""

from __future__ import annotations

from reprorun.engine.protocol import Engine, Layer

__all__ = ["Engine", "Layer", "connect"]


def connect() -> Engine:
    """The engine of this machine, or the one that DOCKER_HOST names.

    Raises:
        EngineUnavailable: none answers, or the user may not talk to it.
    """
    from reprorun.engine.docker import DockerEngine

    return DockerEngine.connect()
