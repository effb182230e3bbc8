"""Ask a Docker Engine over its API, with nothing but the standard library.

The set-up scripts use it before anything is installed: a docker client may be
missing, or be of another version than the daemon.

    engine.py ping                      prints "20.10.24"; 3: permission denied, 4: no answer
    engine.py has IMAGE                 0: it is there, 1: it is not
    engine.py pull IMAGE                gives up after 30 seconds of silence
    engine.py import TAR IMAGE [CHANGE...]

DOCKER_HOST (unix:// or tcp://), DOCKER_TLS_VERIFY and DOCKER_CERT_PATH are honoured.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

SILENCE = 30.0  # seconds without a byte after which an engine, or its registry, counts as gone
DEFAULT_HOST = "unix:///var/run/docker.sock"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SILENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class EngineError(Exception):
    """The engine answered, and the answer was no."""


def connect() -> http.client.HTTPConnection:
    """Open a connection to the engine that DOCKER_HOST names."""
    url = urlsplit(os.environ.get("DOCKER_HOST") or DEFAULT_HOST)
    if url.scheme == "unix":
        return UnixConnection(url.path)
    if url.scheme not in ("tcp", "http", "https") or url.hostname is None:
        raise EngineError(f"DOCKER_HOST={url.geturl()}: only unix:// and tcp:// are understood")
    if os.environ.get("DOCKER_TLS_VERIFY"):
        certificates = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
        return http.client.HTTPSConnection(
            url.hostname, url.port or 2376, timeout=SILENCE, context=context
        )
    return http.client.HTTPConnection(url.hostname, url.port or 2375, timeout=SILENCE)


def split_reference(reference: str) -> tuple[str, str]:
    """Split a reference into repository and tag; the tag may be a digest."""
    if "@" in reference:
        repository, _, tag = reference.partition("@")
        return repository, tag
    repository, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        return reference, "latest"
    return repository, tag


def get(path: str) -> tuple[int, bytes]:
    """GET a path of the API: status and body. Answers at once, or something is wrong."""
    connection = connect()
    connection.timeout = 5.0
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()


def create_image(
    query: list[tuple[str, str]], tar: Path | None = None, *, timeout: float = SILENCE
) -> None:
    """POST /images/create, which pulls and imports; read its progress to the end."""
    connection = connect()
    connection.timeout = timeout
    path = f"/images/create?{urlencode(query)}"
    if tar is None:
        connection.request("POST", path)
    else:
        headers = {"Content-Length": str(tar.stat().st_size), "Content-Type": "application/x-tar"}
        with tar.open("rb") as body:
            connection.request("POST", path, body=body, headers=headers)
    response = connection.getresponse()
    if response.status >= 300:
        raise EngineError(json.loads(response.read() or b"{}").get("message", response.reason))
    for line in response:
        if line.strip() and "error" in (progress := json.loads(line)):
            raise EngineError(progress["error"])


def ping() -> int:
    status, body = get("/version")
    if status != 200:
        raise EngineError(f"the engine answered {status}")
    print(json.loads(body)["Version"])
    return 0


def has(reference: str) -> int:
    status, _ = get(f"/images/{quote(reference, safe='/:@')}/json")
    return 0 if status == 200 else 1


def pull(reference: str) -> int:
    repository, tag = split_reference(reference)
    create_image([("fromImage", repository), ("tag", tag)])
    return has(reference)


def import_tar(tar: str, reference: str, *changes: str) -> int:
    repository, tag = split_reference(reference)
    query = [("fromSrc", "-"), ("repo", repository), ("tag", tag)]
    query += [("changes", change) for change in changes]
    create_image(query, Path(tar), timeout=600)
    return has(reference)


COMMANDS: dict[str, Callable[..., int]] = {
    "ping": ping,
    "has": has,
    "pull": pull,
    "import": import_tar,
}


def main(arguments: list[str]) -> int:
    """Run one command; 2: the engine said no, 3: permission denied, 4: no answer."""
    try:
        return COMMANDS[arguments[0]](*arguments[1:])
    except EngineError as error:
        print(error, file=sys.stderr)
        return 2
    except PermissionError as error:
        print(error, file=sys.stderr)
        return 3
    except (OSError, http.client.HTTPException) as error:
        print(error, file=sys.stderr)
        return 4


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
