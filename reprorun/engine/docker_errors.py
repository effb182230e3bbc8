"""What docker-py and its transports raise, as our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3
from docker.errors import APIError, DockerException

from reprorun.errors import EngineError, EngineUnavailable

BUILD_LINES_KEPT = 15  # of a build that failed, for the message


@contextmanager
def translated(address: str, refusal: type[EngineError] = EngineError) -> Iterator[None]:
    """Turn what docker-py and its transports raise into our errors."""
    try:
        yield
    except APIError as error:
        raise refusal(_refused(explain(error))) from error
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        DockerException,
        OSError,
    ) as error:
        raise EngineUnavailable(_unreachable(address, error)) from error


def explain(error: Exception) -> str:
    """What the engine said."""
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
    return f"the engine at {address} does not answer: {explain(causes[-1])[:300]}"  # type: ignore[arg-type]


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
