"""Docker Engine behind the protocol, over its API. Podman speaks it, too."""

from __future__ import annotations

from reprorun.engine.docker_containers import DockerContainers
from reprorun.engine.docker_images import DockerImages
from reprorun.engine.docker_values import refuse_another
from reprorun.engine.places import Kind, Place, find_place
from reprorun.engine.route import Route


class DockerEngine(DockerImages, DockerContainers):
    """A Docker Engine, reached over its API."""

    @classmethod
    def connect(cls, kind: Kind | None = None) -> DockerEngine:
        """Reach the engine that is meant, as `places.find_place` has it.

        Args:
            kind: what it has to be; None: whatever answers there.

        Raises:
            UsageError: what names it can't be understood, or must not be used.
            EngineUnavailable: none answers there, or the user may not talk to it, or it is another.
            EngineError: docker's own configuration is damaged.
        """
        return cls.reach(find_place(kind), kind)

    @classmethod
    def reach(cls, place: Place, kind: Kind | None = None) -> DockerEngine:
        """Reach the engine at a place; otherwise as `connect`."""
        route = Route(place)
        try:
            engine = cls(route.client(), route)
        except BaseException:
            route.close()
            raise
        try:
            if kind:
                refuse_another(kind, engine.info())
        except BaseException:
            engine.close()
            raise
        return engine
