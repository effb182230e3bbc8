"""Where the engine is: what DOCKER_HOST, docker's contexts and the usual sockets say.

The order is that of docker's own client: DOCKER_HOST, DOCKER_CONTEXT, the context in use, the
default socket. Where nothing answers at that one, a rootless engine's socket is taken.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

from reprorun.engine.contexts import Endpoint, current_context, read_context
from reprorun.errors import EngineUnavailable, UsageError
from reprorun.model import Value

Kind = Literal["docker", "podman"]

DOCKER_SOCKET: Final = "/var/run/docker.sock"
PODMAN_SOCKET: Final = "/run/podman/podman.sock"
FORCE: Final = "REPRORUN_INSECURE_ENGINE"
"""Set to 1, it lets an engine be reached over a connection that anybody may read and change."""

_PATIENCE = 5.0  # seconds; a socket of this machine takes a connection at once
_PORT, _TLS_PORT = 2375, 2376
_HOST = re.compile(r"[A-Za-z0-9_.%:][A-Za-z0-9_.%:-]*")
_USER = re.compile(r"[^-\s/@:][^\s/@:]*")


class Tls(Value, frozen=True, kw_only=True):
    """How an engine proves who it is, and we to it: paths of files in PEM."""

    ca: str | None = None  # None: what this machine trusts
    cert: str | None = None
    key: str | None = None
    verify: bool = True


class Place(Value, frozen=True, kw_only=True):
    """Where an engine is."""

    address: str  # unix://PATH, tcp://HOST:PORT or ssh://[USER@]HOST[:PORT]/PATH
    by: str  # what named it, for people
    tls: Tls | None = None

    @property
    def remote(self) -> bool:
        """Whether it may be another machine's."""
        return not self.address.startswith("unix://")


def find_place(kind: Kind | None, env: Mapping[str, str] = os.environ) -> Place:
    """Where the engine is that is meant; it is not asked, but for the usual sockets.

    Args:
        kind: what it has to be; None: whatever answers where docker's client would look.
        env: variables.

    Raises:
        UsageError: what names it can't be understood, or must not be used.
        EngineUnavailable: Podman is meant, and none answers at its usual sockets.
    """
    if kind == "podman" and env.get("CONTAINER_HOST"):
        return _named(env["CONTAINER_HOST"], "CONTAINER_HOST", _variables_tls(env), kind, env)
    if env.get("DOCKER_HOST"):
        return _named(env["DOCKER_HOST"], "DOCKER_HOST", _variables_tls(env), kind, env)
    if kind == "podman":
        return _podman_socket(env)
    context = current_context(env)
    if context is None:
        return _docker_socket(env)
    endpoint = read_context(context, env)
    if not endpoint.host:
        return _docker_socket(env)
    return _named(
        endpoint.host, f"docker context {context.name!r}", _context_tls(endpoint), kind, env
    )


# ---------------------------------------------------------------- usual sockets


def _docker_socket(env: Mapping[str, str]) -> Place:
    runtime = env.get("XDG_RUNTIME_DIR")
    rootless = f"{runtime}/docker.sock" if runtime else None
    if rootless and not _answers(DOCKER_SOCKET) and _answers(rootless):
        by = f"the rootless engine's socket; nothing answers at {DOCKER_SOCKET}"
        return Place(address=f"unix://{rootless}", by=by)
    return Place(address=f"unix://{DOCKER_SOCKET}", by="the default socket")


def _podman_socket(env: Mapping[str, str]) -> Place:
    runtime = env.get("XDG_RUNTIME_DIR")
    paths = [f"{runtime}/podman/podman.sock"] if runtime else []
    paths.append(PODMAN_SOCKET)
    for path in paths:
        if _answers(path):
            return Place(address=f"unix://{path}", by="Podman's usual socket")
    raise EngineUnavailable(
        f"no Podman answers at {' or '.join(paths)}. Start its service (`systemctl --user start "
        "podman.socket`, or `podman system service --time=0 &`), or name it in CONTAINER_HOST."
    )


def _answers(path: str) -> bool:
    """Whether somebody listens at a socket, and lets this user in."""
    with socket.socket(socket.AF_UNIX) as tried:
        tried.settimeout(_PATIENCE)
        try:
            tried.connect(path)
        except OSError:
            return False
    return True


# ---------------------------------------------------------------- addresses


def _named(text: str, by: str, tls: Tls | None, kind: Kind | None, env: Mapping[str, str]) -> Place:
    """The place of an address, if it can be used."""
    url = _split(text.strip(), by)
    if url.scheme == "unix":
        return Place(address=f"unix://{url.netloc}{url.path}", by=by)
    if url.scheme == "ssh":
        return Place(address=_ssh_address(url, kind), by=by)
    if url.scheme == "https":
        tls = tls or Tls()
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    port = url.port or (_TLS_PORT if tls else _PORT)
    place = Place(address=f"tcp://{host}:{port}", by=by, tls=tls)
    _refuse_insecure(place, url.hostname or "", env)
    return place


def _split(text: str, by: str) -> SplitResult:
    try:
        url = urlsplit(text)
        sound = _is_sound(url)
    except ValueError:  # no number for a port, half an IPv6 address
        sound = False
    if not sound:
        shown = "" if "@" in text else f" ({text})"  # a password may stand in front of it
        raise UsageError(
            f"{by} is no address of an engine{shown}. Wanted is unix:///PATH, ssh://USER@HOST, "
            "or tcp://HOST:PORT; a password can't be part of it."
        )
    return url


def _is_sound(url: SplitResult) -> bool:
    if url.password is not None or url.query or url.fragment:
        return False
    if url.scheme == "unix":
        return bool(url.netloc + url.path)
    host = url.hostname is not None and _HOST.fullmatch(url.hostname) is not None
    if url.scheme == "ssh":
        user = url.username is None or _USER.fullmatch(url.username) is not None
        return host and user and ":" not in url.path and url.port != 0
    plain = url.path in ("", "/") and url.username is None
    return url.scheme in ("tcp", "http", "https") and host and plain and url.port != 0


def _ssh_address(url: SplitResult, kind: Kind | None) -> str:
    """The same with the path of the socket there."""
    usual = PODMAN_SOCKET if kind == "podman" else DOCKER_SOCKET
    return f"ssh://{url.netloc}{url.path if len(url.path) > 1 else usual}"


def _refuse_insecure(place: Place, host: str, env: Mapping[str, str]) -> None:
    """Raise UsageError where somebody on the way could take over the engine, and so its machine."""
    verified = place.tls is not None and place.tls.verify
    if verified or is_loopback(host) or env.get(FORCE) == "1":
        return
    how = "whose certificate would not be verified" if place.tls else "without encryption"
    raise UsageError(
        f"{place.by} names {place.address}, {how}: whoever is on the way could take over that "
        f"machine.\nUse ssh://USER@HOST, or TLS (DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH); "
        f"{FORCE}=1 forces it."
    )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# ---------------------------------------------------------------- TLS


def _variables_tls(env: Mapping[str, str]) -> Tls | None:
    """As the variables of docker's client say it. What they ask for is always verified."""
    if not any(env.get(f"DOCKER_{name}") for name in ("TLS_VERIFY", "TLS", "CERT_PATH")):
        return None
    directory = env.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    ca, cert, key = (os.path.join(directory, f"{name}.pem") for name in ("ca", "cert", "key"))
    return _checked(Tls(ca=ca, cert=cert, key=key), f"DOCKER_CERT_PATH ({directory})")


def _context_tls(endpoint: Endpoint) -> Tls | None:
    if not endpoint.files and not endpoint.unverified:
        return None
    found = {os.path.splitext(os.path.basename(path))[0]: path for path in endpoint.files}
    tls = Tls(
        ca=found.get("ca"),
        cert=found.get("cert"),
        key=found.get("key"),
        verify=not endpoint.unverified,
    )
    return _checked(tls, "the docker context")


def _checked(tls: Tls, by: str) -> Tls:
    for path in filter(None, (tls.ca, tls.cert, tls.key)):
        if not os.access(path, os.R_OK):
            raise UsageError(
                f"{by} has no {os.path.basename(path)} that can be read ({path}).\n"
                "TLS to the engine needs ca.pem, cert.pem and key.pem there."
            )
    if (tls.cert is None) != (tls.key is None):
        raise UsageError(f"{by} has one of cert.pem and key.pem; TLS needs both, or neither.")
    return tls
