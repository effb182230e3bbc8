"""What talking to an engine raises, as our errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from reprorun.engine.client import NoJson, Refused
from reprorun.errors import EngineError, EngineUnavailable, FilesUnseen

if TYPE_CHECKING:
    import ssl

_MISSING_MOUNT = re.compile(
    r"bind source path does not exist: (/\S+)|^statfs (/\S+): no such file or directory"
)
_WANTS_TLS = "HTTP request to an HTTPS server"
BUILD_LINES_KEPT = 15  # of a build that failed, for the message


class Way(Protocol):
    """The way to an engine, as far as messages need it."""

    @property
    def address(self) -> str: ...

    def last_words(self) -> str: ...


@contextmanager
def translated(way: Way, refusal: type[EngineError] = EngineError) -> Iterator[None]:
    """Turn what talking to an engine raises into our errors."""
    try:
        yield
    except Refused as error:
        if _WANTS_TLS in error.explanation:
            raise EngineUnavailable(_without_tls(way)) from error
        unseen = FilesUnseen if _MISSING_MOUNT.search(error.explanation) else refusal
        raise unseen(_refused(way, error.explanation)) from error
    except NoJson as error:
        raise EngineUnavailable(unlike_an_engine(way.address, "it sends no JSON")) from error
    except OSError as error:
        raise EngineUnavailable(_unreachable(way, error)) from error


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


def _without_tls(way: Way) -> str:
    return (
        f"the engine at {way.address} speaks TLS, and we don't. Set DOCKER_TLS_VERIFY=1, and "
        "DOCKER_CERT_PATH to the directory that has its ca.pem, cert.pem and key.pem."
    )


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


def _unreachable(way: Way, error: OSError) -> str:
    address, said = way.address, way.last_words()
    if "open failed" in said:  # ssh stands, but not what it was to reach
        path = address.partition("://")[2].partition("/")[2]
        return (
            f"ssh is through, but no engine answers at /{path} there: "
            f"{said.splitlines()[-1][:200]}\n"
            "Start it, let that user in, or name its socket: ssh://USER@HOST/PATH/OF/docker.sock. "
            "The sshd there has to forward sockets (AllowStreamLocalForwarding)."
        )
    if isinstance(error, PermissionError):
        return (
            f"the engine's socket at {address} may not be opened by this user. "
            "Add yourself to the docker group (`sudo usermod -aG docker $USER`, then log in anew)."
        )
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return (
            f"no Docker Engine answers at {address}. Start it (`sudo systemctl start docker`, or "
            "`sudo dockerd`), or name another in DOCKER_HOST; `reprorun doctor` says more."
        )
    import ssl  # which takes as long as all the rest of this

    if isinstance(error, ssl.SSLError):
        return _no_trust(address, error)
    return f"the engine at {address} does not answer: {str(error)[:300]}"


def _no_trust(address: str, error: ssl.SSLError) -> str:
    why = getattr(error, "verify_message", "") or error.reason or str(error)
    what = "is not one to trust" if hasattr(error, "verify_message") else "don't match"
    return (
        f"the certificates of the engine at {address} {what}: {why}.\n"
        "See that ca.pem, cert.pem and key.pem (DOCKER_CERT_PATH, or the context's) are this "
        "engine's, and that it is called by the name that its certificate has."
    )


def build_failure(tag: str, error: str, lines: list[str]) -> str:
    """A build that failed, with the last of what it printed."""
    last = "\n".join(f"  {line}" for line in lines[-BUILD_LINES_KEPT:])
    return f"the image {tag} could not be built: {error.strip()}\n{last}".rstrip()
