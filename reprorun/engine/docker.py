"""Docker Engine behind the protocol, through docker-py. The only file that imports docker."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import DeviceRequest
from docker.types import Mount as DockerMount
from docker.utils.socket import frames_iter

from reprorun.engine.protocol import Progress, Stream
from reprorun.errors import BuildFailed, EngineError, EngineUnavailable, ImageMissing
from reprorun.model import (
    Change,
    ContainerSpec,
    ContainerState,
    EngineInfo,
    GpuRequest,
    Image,
    Limits,
)

ANSWER_WITHIN = 60  # seconds that the engine may take for any answer but `wait` and the streams
BUILD_LINES_KEPT = 15  # of a build that failed, for the message
COPY_CHUNK = 1 << 20  # bytes

_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}
_KINDS = {0: "changed", 1: "added", 2: "deleted"}


class DockerEngine:
    """A Docker Engine, reached over its API."""

    def __init__(self, client: docker.APIClient, address: str) -> None:
        self._client = client
        self._address = address

    @classmethod
    def connect(cls) -> DockerEngine:
        """Reach the engine that DOCKER_HOST names, or the local one.

        Raises:
            EngineUnavailable: none answers there, or the user may not talk to it.
        """
        address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        with _translated(address):
            settings = docker.utils.kwargs_from_env()
            client = docker.APIClient(version="auto", timeout=ANSWER_WITHIN, **settings)
        return cls(client, address)

    def info(self) -> EngineInfo:
        with self._talking():
            info = self._client.info()
            options = info.get("SecurityOptions") or []
            return EngineInfo(
                name="docker",
                version=info.get("ServerVersion", ""),
                api_version=self._client.api_version,
                machine=info.get("Architecture", ""),
                runtimes=tuple(sorted(info.get("Runtimes") or {})),
                root_dir=info.get("DockerRootDir", ""),
                rootless=any("rootless" in option for option in options),
                os=info.get("OperatingSystem", ""),
            )

    # ------------------------------------------------------------ images

    def image(self, ref: str) -> Image | None:
        with self._talking():
            try:
                return _image(self._client.inspect_image(ref))
            except ImageNotFound:
                return None

    def pull(self, ref: str, progress: Progress) -> Image:
        try:
            for event in self._client.pull(_with_tag(ref), stream=True, decode=True):
                if "error" in event:
                    raise ImageMissing(_cannot_pull(ref, event["error"]))
                if event.get("status") and not event.get("progressDetail"):
                    progress(" ".join(filter(None, (event.get("id"), event["status"]))))
        except (APIError, requests.RequestException) as error:
            raise ImageMissing(_cannot_pull(ref, _explain(error))) from error
        image = self.image(ref)
        if image is None:
            raise ImageMissing(_cannot_pull(ref, "pulled, but the engine does not list it"))
        return image

    def build(self, context: Iterable[bytes], tag: str, progress: Progress) -> Image:
        lines: list[str] = []
        with self._talking(BuildFailed):
            events = self._client.build(
                fileobj=iter(context),
                custom_context=True,
                tag=tag,
                network_mode="none",
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
                    raise BuildFailed(_build_failure(tag, event["error"], lines))
            image = self.image(tag)
        if image is None:
            raise BuildFailed(_build_failure(tag, "the engine made no image", lines))
        return image

    # ------------------------------------------------------------ containers

    def create(self, spec: ContainerSpec) -> str:
        with self._talking():
            host_config = self._client.create_host_config(
                mounts=[
                    DockerMount(m.target, m.source, type="bind", read_only=m.read_only)
                    for m in spec.mounts
                ],
                network_mode=spec.network,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                init=True,
                **_limits(spec.limits),
                **_gpus(spec.gpus),
            )
            created = self._client.create_container(
                image=spec.image,
                command=list(spec.command),
                entrypoint=None if spec.entrypoint is None else list(spec.entrypoint),
                name=spec.name,
                environment=spec.env,
                user=spec.user or None,
                working_dir=spec.workdir,
                labels=spec.labels,
                stop_signal="SIGINT",  # what Ctrl-C would send: Python runs its `finally` blocks
                host_config=host_config,
            )
            return cast(str, created["Id"])

    def start(self, container: str) -> None:
        with self._talking():
            self._client.start(container)

    def attach(self, container: str) -> DockerOutput:
        # docker-py's `attach` would do, but it asks for the container first and leaks its socket
        with self._talking():
            wanted = {"stdout": 1, "stderr": 1, "stream": 1}
            socket = self._client.attach_socket(container, params=wanted)
        return DockerOutput(socket, self._address)

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
        )

    def stop(self, container: str, grace: float) -> None:
        with self._talking():
            self._client.stop(container, timeout=int(grace))

    def kill(self, container: str) -> None:
        with self._talking():
            try:
                self._client.kill(container)
            except APIError as error:
                if error.status_code != http.client.CONFLICT:  # not running
                    raise

    def changes(self, container: str) -> tuple[Change, ...]:
        with self._talking():
            found = self._client.diff(container) or []
        return tuple(Change(path=c["Path"], kind=cast(Any, _KINDS[c["Kind"]])) for c in found)

    def copy_out(self, container: str, path: str) -> Iterator[bytes]:
        with self._talking():
            pieces, _ = self._client.get_archive(container, path, chunk_size=COPY_CHUNK)
            yield from pieces

    def remove(self, container: str) -> None:
        with self._talking(), suppress(NotFound):
            self._client.remove_container(container, force=True, v=True)

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _talking(self, refusal: type[EngineError] = EngineError) -> Iterator[None]:
        with _translated(self._address, refusal):
            yield


class DockerOutput:
    """What a container prints, read from the socket that attaching to it opened."""

    def __init__(self, socket: Any, address: str) -> None:
        self._socket = socket
        self._address = address
        self._frames = frames_iter(socket, tty=False)

    def __iter__(self) -> DockerOutput:
        return self

    def __next__(self) -> tuple[Stream, bytes]:
        with _translated(self._address):
            frame = next(self._frames, None)
        if frame is None:
            self.close()
            raise StopIteration
        number, data = frame
        return _STREAMS[number], data

    def close(self) -> None:
        self._socket._response.close()
        self._socket.close()


# ---------------------------------------------------------------- docker's values and ours


def _image(found: dict[str, Any]) -> Image:
    config = found.get("Config") or {}
    return Image(
        id=found["Id"],
        layers=tuple((found.get("RootFS") or {}).get("Layers") or ()),
        labels=config.get("Labels") or {},
        env=tuple(config.get("Env") or ()),
        repo_digests=tuple(found.get("RepoDigests") or ()),
        machine=found.get("Architecture", ""),
    )


def _limits(limits: Limits) -> dict[str, Any]:
    memory = {"mem_limit": limits.memory, "memswap_limit": limits.memory} if limits.memory else {}
    cpus = {"nano_cpus": round(limits.cpus * 1e9)} if limits.cpus else {}
    return {**memory, **cpus, "shm_size": limits.shm_size, "pids_limit": limits.pids}


def _gpus(request: GpuRequest | None) -> dict[str, Any]:
    if request is None:
        return {}
    if request.runtime:
        return {"runtime": request.runtime}
    which = {"device_ids": list(request.devices)} if request.devices else {"count": request.count}
    return {"device_requests": [DeviceRequest(capabilities=[["gpu"]], **which)]}


def _with_tag(ref: str) -> str:
    """docker-py pulls every tag of a name without one; docker's own client means `latest`."""
    last = ref.rsplit("/", 1)[-1]
    return ref if ":" in last or "@" in last else f"{ref}:latest"


# ---------------------------------------------------------------- errors


@contextmanager
def _translated(address: str, refusal: type[EngineError] = EngineError) -> Iterator[None]:
    """Turn what docker-py and its transports raise into our errors."""
    try:
        yield
    except APIError as error:
        raise refusal(_refused(_explain(error))) from error
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        DockerException,
        OSError,
    ) as error:
        raise EngineUnavailable(_unreachable(address, error)) from error


def _explain(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error).strip()


def _refused(explanation: str) -> str:
    if "could not select device driver" in explanation and "gpu" in explanation:
        return (
            "GPUs were asked for, but the engine has no GPU runtime "
            f"({explanation}). Install NVIDIA's container toolkit, or run with --force-cpu."
        )
    return f"the engine refused: {explanation}"


def _unreachable(address: str, error: BaseException) -> str:
    causes = list(_chain(error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        return (
            f"the engine's socket at {address} may not be opened by this user. "
            "Add yourself to the docker group (`sudo usermod -aG docker $USER`, then log in anew)."
        )
    if any(isinstance(cause, FileNotFoundError | ConnectionRefusedError) for cause in causes):
        return (
            f"no Docker Engine answers at {address}. Start it (`sudo systemctl start docker`, or "
            "`sudo dockerd`), or name another in DOCKER_HOST; `reprorun doctor` says more."
        )
    return f"the engine at {address} does not answer: {_explain(causes[-1])[:300]}"  # type: ignore[arg-type]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes, and errors that were handed on as arguments (requests does)."""
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        current = todo.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        links = (current.__cause__, current.__context__, *current.args)
        todo += [link for link in links if isinstance(link, BaseException)]


def _cannot_pull(ref: str, why: str) -> str:
    return (
        f"the base image {ref} is not on the engine and could not be pulled: {why.strip()}\n"
        "Name one that is there with --base-image or REPRORUN_BASE_IMAGE (`docker images` lists "
        "them); scripts/base-image of the reprorun repository makes one from Debian packages."
    )


def _build_failure(tag: str, error: str, lines: list[str]) -> str:
    last = "\n".join(f"  {line}" for line in lines[-BUILD_LINES_KEPT:])
    return f"the image {tag} could not be built: {error.strip()}\n{last}".rstrip()
