"""What docker-py and its transports raise, as our errors."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import requests
import urllib3
from docker.errors import APIError, DockerException

from reprorun.errors import EngineError, EngineUnavailable, FilesUnseen

_MISSING_MOUNT = re.compile(
    r"bind source path does not exist: (/\S+)|^statfs (/\S+): no such file or directory"
)
BUILD_LINES_KEPT = 15  # of a build that failed, for the message


class Way(Protocol):
    """The way to an engine, as far as messages need it."""

    @property
    def address(self) -> str: ...

    def last_words(self) -> str: ...


@contextmanager
def translated(way: Way, refusal: type[EngineError] = EngineError) -> Iterator[None]:
    """Turn what docker-py and its transports raise into our errors."""
    try:
        yield
    except APIError as error:
        said = explain(error)
        unseen = FilesUnseen if _MISSING_MOUNT.search(said) else refusal
        raise unseen(_refused(way, said)) from error
    except json.JSONDecodeError as error:
        raise EngineUnavailable(unlike_an_engine(way.address, "it sends no JSON")) from error
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        DockerException,
        OSError,
    ) as error:
        raise EngineUnavailable(_unreachable(way, error)) from error


def explain(error: Exception) -> str:
    """What the engine said."""
    return str(getattr(error, "explanation", None) or error).strip()


def _refused(way: Way, explanation: str) -> str:
    missing = _MISSING_MOUNT.search(explanation)
    if missing:
        return (
            f"the engine at {way.address} does not see {missing[1] or missing[2]}, which is to be "
            "mounted: it is on another machine, or in another container.\n"
            "Run it there, or keep it on a disk that both have at the same path."
        )
    if "could not select device driver" in explanation and "gpu" in explanation:
        return no_gpu_runtime(explanation)
    return f"the engine refused: {explanation}"


def no_gpu_runtime(why: str) -> str:
    """GPUs that can't be had."""
    return (
        f"GPUs were asked for, but the engine has no GPU runtime ({why}). "
        "Install NVIDIA's container toolkit, or run with --force-cpu."
    )


def unlike_an_engine(address: str, why: str) -> str:
    """What answers, but not as engines do."""
    return (
        f"what answers at {address} is no Docker Engine: {why}. "
        "Correct the address; `reprorun doctor` says what named it."
    )


def _unreachable(way: Way, error: BaseException) -> str:
    address, causes = way.address, list(_chain(error))
    said = way.last_words()
    if "open failed" in said:  # ssh stands, but not what it was to reach
        path = address.partition("://")[2].partition("/")[2]
        return (
            f"ssh is through, but no engine answers at /{path} there: "
            f"{said.splitlines()[-1][:200]}\n"
            "Start it, let that user in, or name its socket: ssh://USER@HOST/PATH/OF/docker.sock. "
            "The sshd there has to forward sockets (AllowStreamLocalForwarding)."
        )
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
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return _no_trust(
            address, next(cause for cause in causes if isinstance(cause, ssl.SSLError))
        )
    return f"the engine at {address} does not answer: {explain(causes[-1])[:300]}"  # type: ignore[arg-type]


def _no_trust(address: str, error: ssl.SSLError) -> str:
    why = getattr(error, "verify_message", "") or error.reason or str(error)
    what = (
        "is not one to trust" if isinstance(error, ssl.SSLCertVerificationError) else "don't match"
    )
    return (
        f"the certificates of the engine at {address} {what}: {why}.\n"
        "See that ca.pem, cert.pem and key.pem (DOCKER_CERT_PATH, or the context's) are this "
        "engine's, and that it is called by the name that its certificate has."
    )


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


def build_failure(tag: str, error: str, lines: list[str]) -> str:
    """A build that failed, with the last of what it printed."""
    last = "\n".join(f"  {line}" for line in lines[-BUILD_LINES_KEPT:])
    return f"the image {tag} could not be built: {error.strip()}\n{last}".rstrip()
