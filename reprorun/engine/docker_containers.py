"""The containers of a Docker Engine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, cast

import msgspec

from reprorun.engine.client import ANSWER_WITHIN, Method, NotFound, Parameters, Refused, path_of
from reprorun.engine.contexts import proxies
from reprorun.engine.docker_streams import NO_DETACHING, DockerConversation, DockerOutput, frames
from reprorun.engine.docker_talk import DockerTalk
from reprorun.engine.docker_values import (
    container_body,
    hosts_of,
    is_networkless,
    moment_of,
    refuse_gpus,
)
from reprorun.engine.within import on_engine
from reprorun.errors import ContainerMissing
from reprorun.model import Change, ContainerSpec, ContainerState, ListedContainer

_KINDS = {0: "changed", 1: "added", 2: "deleted"}
_OUTPUT: Parameters = {"stdout": True, "stderr": True, "stream": True}


class DockerContainers(DockerTalk):
    """Creates, runs and removes containers."""

    def create(self, spec: ContainerSpec) -> str:
        refuse_gpus(spec.gpus, self._info)
        mounts = (*spec.mounts, *hosts_of(spec, self._info))
        if self._info.shared is not None:
            mounts = tuple(on_engine(mount, self._info.shared) for mount in mounts)
        # the user's proxies may hold a password, and are of no use without network
        variables = {} if spec.network == "none" else proxies(self._route.url, os.environ)
        body = container_body(spec, mounts, variables, networkless=is_networkless(spec, self._info))
        with self._talking():
            created = self._client.call(
                "POST", "/containers/create", {"name": spec.name}, json=body
            )
        return cast(str, created["Id"])

    def labelled_containers(self, label: str) -> tuple[ListedContainer, ...]:
        filters = msgspec.json.encode({"label": [label]}).decode()
        with self._talking():
            wanted: Parameters = {"all": True, "filters": filters}
            listed = self._client.call("GET", "/containers/json", wanted)
        return tuple(
            ListedContainer(
                id=entry["Id"],
                name=entry["Names"][0].lstrip("/"),
                image=entry["ImageID"],
                labels=entry.get("Labels") or {},
                running=entry["State"] in ("running", "paused", "restarting"),
            )
            for entry in listed
        )

    def start(self, container: str) -> None:
        self._do("POST", container, "start")

    def attach(self, container: str) -> DockerOutput:
        with self._talking():
            connection = self._client.take_over(_path(container, "attach"), _OUTPUT)
        return DockerOutput(connection, self._route)

    def converse(self, container: str) -> DockerConversation:
        wanted: Parameters = {**_OUTPUT, "stdin": True, "detachKeys": NO_DETACHING}
        with self._talking():
            tty = self._client.call("GET", _path(container, "json"))["Config"]["Tty"]
            connection = self._client.take_over(_path(container, "attach"), wanted)
        return DockerConversation(connection, self._route, tty=tty)

    def resize(self, container: str, rows: int, columns: int) -> None:
        self._unless_exited("POST", container, "resize", {"h": rows, "w": columns})

    def wait(self, container: str) -> ContainerState:
        self._do("POST", container, "wait", within=None)
        return self.state(container)

    def state(self, container: str) -> ContainerState:
        with self._talking():
            try:
                found = self._client.call("GET", _path(container, "json"))
            except NotFound as error:
                raise ContainerMissing(f"the engine has no container {container}") from error
        state = found["State"]
        running = bool(state["Running"])
        return ContainerState(
            running=running,
            exit_code=None if running else state["ExitCode"],
            oom_killed=bool(state["OOMKilled"]),
            error=state.get("Error") or "",
            created=moment_of(found.get("Created")),
            started=moment_of(state.get("StartedAt")),
            ended=None if running else moment_of(state.get("FinishedAt")),
        )

    def logs(self, container: str) -> Iterator[bytes]:
        wanted: Parameters = {"stdout": True, "stderr": True}
        with self._talking():
            pieces = self._client.stream("GET", _path(container, "logs"), wanted)
            yield from (data for _, data in frames(pieces))

    def stop(self, container: str, grace: float) -> None:
        within = ANSWER_WITHIN + grace
        self._do("POST", container, "stop", {"t": int(grace)}, within=within)

    def kill(self, container: str) -> None:
        self._unless_exited("POST", container, "kill")

    def changes(self, container: str) -> tuple[Change, ...]:
        found = self._do("GET", container, "changes") or []
        return tuple(Change(path=c["Path"], kind=cast(Any, _KINDS[c["Kind"]])) for c in found)

    def copy_in(self, container: str, pieces: Iterable[bytes]) -> None:
        with self._talking():
            path, wanted = _path(container, "archive"), {"path": "/"}
            self._client.call("PUT", path, wanted, data=pieces, within=None)

    def copy_out(self, container: str, path: str) -> Iterator[bytes]:
        with self._talking():
            wanted = {"path": path}
            yield from self._client.stream(
                "GET", _path(container, "archive"), wanted, within=ANSWER_WITHIN
            )

    def remove(self, container: str) -> None:
        with self._talking(), suppress(NotFound):
            wanted: Parameters = {"force": True, "v": True}
            self._client.call("DELETE", path_of("containers", container), wanted)

    def _do(
        self,
        method: Method,
        container: str,
        what: str,
        parameters: Parameters | None = None,
        *,
        within: float | None = ANSWER_WITHIN,
    ) -> Any:
        with self._talking():
            return self._client.call(method, _path(container, what), parameters, within=within)

    def _unless_exited(
        self, method: Method, container: str, what: str, parameters: Parameters | None = None
    ) -> None:
        with self._talking():
            try:
                self._client.call(method, _path(container, what), parameters)
            except Refused:
                if self.state(container).running:
                    raise


def _path(container: str, what: str) -> str:
    return path_of("containers", container, what)
