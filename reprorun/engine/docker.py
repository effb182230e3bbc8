"""Docker Engine behind the protocol, through docker-py. The only file that imports docker."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from typing import Any, cast

import docker
from docker.errors import APIError, NotFound
from docker.types import Mount as DockerMount
from msgspec.structs import replace

from reprorun.engine.archive import Form
from reprorun.engine.buildx import Buildx, build_with, find_buildx
from reprorun.engine.context import write_context
from reprorun.engine.docker_errors import build_failure, translated
from reprorun.engine.docker_streams import NO_DETACHING, DockerConversation, DockerOutput
from reprorun.engine.docker_values import (
    gpus_for,
    hosts_of,
    image_of,
    info_of,
    limits_for,
    moment_of,
    refuse_another,
    refuse_gpus,
)
from reprorun.engine.loading import load
from reprorun.engine.logins import check_store
from reprorun.engine.places import Kind, Place, find_place
from reprorun.engine.protocol import Layer, Progress
from reprorun.engine.pulling import cannot_pull, pull
from reprorun.engine.pushing import push
from reprorun.engine.references import own_first
from reprorun.engine.route import ANSWER_WITHIN, Route
from reprorun.engine.within import on_engine, seen_from_here
from reprorun.errors import BuildFailed, EngineError, ImageMissing
from reprorun.model import (
    Change,
    ContainerSpec,
    ContainerState,
    EngineInfo,
    Image,
    ImageSpec,
    ListedContainer,
)

COPY_CHUNK = 1 << 20  # bytes

_PARENT = "localhost/reprorun/parent"  # no other registry would ever be asked for it
_KINDS = {0: "changed", 1: "added", 2: "deleted"}


class DockerEngine:
    """A Docker Engine, reached over its API."""

    def __init__(self, client: docker.APIClient, route: Route) -> None:
        self._client = client
        self._route = route

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
        check_store()
        route = Route(place)
        try:
            engine = cls(route.client(), route)
            if kind:
                refuse_another(kind, engine.info())
        except BaseException:
            route.close()
            raise
        return engine

    def info(self) -> EngineInfo:
        return self._info

    @cached_property
    def _info(self) -> EngineInfo:
        with self._talking():
            found = info_of(self._client.info(), self._client.api_version, self._route.place)
        return seen_from_here(found, self._inspect)

    def _inspect(self, container: str) -> dict[str, Any] | None:
        with self._talking():
            try:
                return cast("dict[str, Any]", self._client.inspect_container(container))
            except NotFound:
                return None

    # ------------------------------------------------------------ images

    def image(self, ref: str) -> Image | None:
        with self._talking():
            try:
                image = image_of(self._client.inspect_image(ref))
            except NotFound:
                return None
        return replace(image, repo_digests=own_first(image.repo_digests, ref))

    def labelled_images(self, label: str) -> tuple[Image, ...]:
        with self._talking():
            listed = self._client.images(filters={"label": label})
        found = (self.image(entry["Id"]) for entry in listed)
        return tuple(image for image in found if image is not None)  # else removed meanwhile

    def tagged_images(self, repository: str) -> tuple[Image, ...]:
        with self._talking():
            listed = self._client.images(name=repository)
        found = (self.image(entry["Id"]) for entry in listed)
        return tuple(image for image in found if image is not None)

    def save(self, image: str) -> Iterator[bytes]:
        with self._talking(), self._patient():
            yield from self._client.get_image(image, chunk_size=COPY_CHUNK)

    def load_image(self, pieces: Iterable[bytes], tag: str) -> Image:
        with self._talking(), self._patient():
            # not quietly: what it tells shows that it is at work
            for event in self._client.load_image(iter(pieces), quiet=False):
                if "error" in event:
                    raise EngineError(f"the engine refuses the image {tag}: {event['error']}")
        image = self.image(tag)
        if image is None:
            raise EngineError(f"the engine took the image {tag}, but does not list it.")
        return image

    @contextmanager
    def _patient(self) -> Iterator[None]:
        """Before it answers about a whole image, an engine may be at work on it for long."""
        self._client.timeout = None
        try:
            yield
        finally:
            self._client.timeout = ANSWER_WITHIN

    def remove_image(self, ref: str) -> None:
        with self._talking(), suppress(NotFound):
            self._client.remove_image(ref, noprune=False)

    def pull(self, ref: str, progress: Progress, *, platform: str | None = None) -> Image:
        with self._talking():
            pull(self._client, ref, progress, platform)
        image = self.image(ref)
        if image is None:
            raise ImageMissing(cannot_pull(ref, "pulled, but the engine does not list it"))
        return image

    def push(self, image: str, repository: str, progress: Progress) -> str:
        with self._talking():
            return push(self._client, image, repository, progress)

    def name_image(self, image: str, tag: str) -> None:
        with self._talking():
            self._client.tag(image, *tag.rsplit(":", 1))

    def make(
        self, spec: ImageSpec, layers: Sequence[Layer], held: int, progress: Progress
    ) -> Image:
        if not self._info.takes_layers:
            return self._make_by_building(spec, layers, progress)
        with self._talking(BuildFailed):
            form: Form = "oci" if self._info.name == "podman" else "docker"
            load(self._client, spec, layers, held, progress, form)
        return self._built(spec.tag, [])

    def _make_by_building(
        self, spec: ImageSpec, layers: Sequence[Layer], progress: Progress
    ) -> Image:
        with self.named(spec.parent) as name:
            dockerfile = spec.dockerfile.replace(f"FROM {spec.parent}\n", f"FROM {name}\n", 1)
            return self.build(write_context(dockerfile, layers), spec.tag, progress)

    @contextmanager
    def named(self, image: str) -> Iterator[str]:
        if self._buildx is None:
            yield image
            return
        tag = os.urandom(12).hex()
        with self._talking():
            self._client.tag(image, _PARENT, tag)
        try:
            yield f"{_PARENT}:{tag}"
        finally:
            self._take_name(f"{_PARENT}:{tag}")

    def _take_name(self, name: str) -> None:
        """Remove a name, but never the image with its last one."""
        found = self.image(name)
        if found and (found.repo_digests or len(found.tags) > 1):
            self.remove_image(name)

    @cached_property
    def _buildx(self) -> Buildx | None:
        return find_buildx(self._route.url, self._route.place.tls, self._info)

    def build(
        self, context: Iterable[bytes], tag: str, progress: Progress, *, network: bool = False
    ) -> Image:
        mode = "default" if network else "none"
        if self._buildx is None:
            return self._build_classically(context, tag, mode, progress)
        why, lines = build_with(self._buildx, context, tag, network=mode, progress=progress)
        if why:
            raise BuildFailed(build_failure(tag, why, lines))
        return self._built(tag, lines)

    def _build_classically(
        self, context: Iterable[bytes], tag: str, mode: str, progress: Progress
    ) -> Image:
        lines: list[str] = []
        with self._talking(BuildFailed):
            events = self._client.build(
                fileobj=iter(context),
                custom_context=True,
                tag=tag,
                network_mode=mode,
                rm=True,
                forcerm=True,
                pull=False,
                decode=True,
                timeout=None,
            )
            for event in events:
                for line in event.get("stream", "").splitlines():
                    lines.append(line)
                    progress(line)
                if "error" in event:
                    raise BuildFailed(build_failure(tag, event["error"], lines))
        return self._built(tag, lines)

    def _built(self, tag: str, lines: list[str]) -> Image:
        image = self.image(tag)
        if image is None:
            raise BuildFailed(build_failure(tag, "the engine made no image", lines))
        return image

    # ------------------------------------------------------------ containers

    def create(self, spec: ContainerSpec) -> str:
        refuse_gpus(spec.gpus, self._info)
        hosts = hosts_of(spec, self._info)
        mounts = (*spec.mounts, *hosts)
        if self._info.shared is not None:
            mounts = tuple(on_engine(mount, self._info.shared) for mount in mounts)
        with self._talking():
            host_config = self._client.create_host_config(
                mounts=[
                    DockerMount(m.target, m.source, type="bind", read_only=m.read_only)
                    for m in mounts
                ],
                network_mode=spec.network,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                init=True,
                group_add=list(spec.groups),
                cpuset_cpus=spec.cpuset or None,
                **limits_for(spec.limits),
                **gpus_for(spec.gpus),
            )
            created = self._client.create_container(
                image=spec.image,
                command=list(spec.command),
                entrypoint=None if spec.entrypoint is None else list(spec.entrypoint),
                name=spec.name,
                environment=spec.env,
                user=spec.user or None,
                hostname=spec.hostname or None,
                working_dir=spec.workdir,
                labels=spec.labels,
                stdin_open=spec.interactive,
                tty=spec.tty,
                # the user's proxies may hold a password, and are of no use without network
                use_config_proxy=spec.network != "none",
                network_disabled=bool(hosts),
                stop_signal="SIGINT",  # what Ctrl-C would send: Python runs its `finally` blocks
                host_config=host_config,
            )
            return cast(str, created["Id"])

    def labelled_containers(self, label: str) -> tuple[ListedContainer, ...]:
        with self._talking():
            listed = self._client.containers(all=True, filters={"label": label})
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
        with self._talking():
            self._client.start(container)

    def attach(self, container: str) -> DockerOutput:
        # docker-py's `attach` would do, but it asks for the container first and leaks its socket
        with self._talking():
            wanted = {"stdout": 1, "stderr": 1, "stream": 1}
            socket = self._client.attach_socket(container, params=wanted)
        return DockerOutput(socket, self._route)

    def converse(self, container: str) -> DockerConversation:
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1, "detachKeys": NO_DETACHING}
        with self._talking():
            tty = self._client.inspect_container(container)["Config"]["Tty"]
            socket = self._client.attach_socket(container, params=wanted)
        return DockerConversation(socket, self._route, tty=tty)

    def resize(self, container: str, rows: int, columns: int) -> None:
        with self._talking():
            try:
                self._client.resize(container, height=rows, width=columns)
            except APIError:
                if self.state(container).running:
                    raise

    def wait(self, container: str) -> ContainerState:
        with self._talking():
            self._client.wait(container, timeout=None)
        return self.state(container)

    def state(self, container: str) -> ContainerState:
        with self._talking():
            state = self._client.inspect_container(container)["State"]
        running = bool(state["Running"])
        return ContainerState(
            running=running,
            exit_code=None if running else state["ExitCode"],
            oom_killed=bool(state["OOMKilled"]),
            error=state.get("Error") or "",
            started=moment_of(state.get("StartedAt")),
            ended=None if running else moment_of(state.get("FinishedAt")),
        )

    def logs(self, container: str) -> Iterator[bytes]:
        with self._talking():
            yield from self._client.logs(container, stream=True)

    def stop(self, container: str, grace: float) -> None:
        with self._talking():
            self._client.stop(container, timeout=int(grace))

    def kill(self, container: str) -> None:
        with self._talking():
            try:
                self._client.kill(container)
            except APIError:
                if self.state(container).running:
                    raise

    def changes(self, container: str) -> tuple[Change, ...]:
        with self._talking():
            found = self._client.diff(container) or []
        return tuple(Change(path=c["Path"], kind=cast(Any, _KINDS[c["Kind"]])) for c in found)

    def copy_in(self, container: str, pieces: Iterable[bytes]) -> None:
        with self._talking(), self._patient():
            self._client.put_archive(container, "/", iter(pieces))

    def copy_out(self, container: str, path: str) -> Iterator[bytes]:
        with self._talking():
            pieces, _ = self._client.get_archive(container, path, chunk_size=COPY_CHUNK)
            yield from pieces

    def remove(self, container: str) -> None:
        with self._talking(), suppress(NotFound):
            self._client.remove_container(container, force=True, v=True)

    def close(self) -> None:
        self._client.close()
        self._route.close()

    def _talking(self, refusal: type[EngineError] = EngineError) -> AbstractContextManager[None]:
        return translated(self._route, refusal)
