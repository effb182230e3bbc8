"""Talking to a Docker Engine: what its images and its containers are both asked through."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, cast

from reprorun.engine.client import Client, NotFound, path_of
from reprorun.engine.docker_errors import translated
from reprorun.engine.docker_values import info_of
from reprorun.engine.route import Route
from reprorun.engine.within import seen_from_here
from reprorun.errors import EngineError
from reprorun.model import EngineInfo


class DockerTalk:
    """An engine that is reached."""

    def __init__(self, client: Client, route: Route) -> None:
        self._client = client
        self._route = route

    def info(self) -> EngineInfo:
        return self._info

    @cached_property
    def _info(self) -> EngineInfo:
        with self._talking():
            told = self._client.call("GET", "/info")
        found = info_of(told, self._client.version, self._route.place)
        return seen_from_here(found, self._inspect)

    def _inspect(self, container: str) -> dict[str, Any] | None:
        with self._talking():
            try:
                told = self._client.call("GET", path_of("containers", container, "json"))
            except NotFound:
                return None
        return cast("dict[str, Any]", told)

    def close(self) -> None:
        self._client.close()
        self._route.close()

    def _talking(self, refusal: type[EngineError] = EngineError) -> AbstractContextManager[None]:
        return translated(self._route, refusal)
