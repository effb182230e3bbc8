"""The way to an engine, standing open: connections to it, and what is said of it."""

from __future__ import annotations

import re
import socket
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reprorun.engine.client import ANSWER_WITHIN, Client
from reprorun.engine.connection import Link
from reprorun.engine.docker_errors import translated, unlike_an_engine
from reprorun.engine.places import Place
from reprorun.errors import EngineUnavailable

if TYPE_CHECKING:
    import ssl

    from reprorun.engine.ssh import Tunnel

OLDEST_API = (1, 40)  # of Docker 19.03
_TCP_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # what waits for a run would wait for ever for a machine that has gone, or a network
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),  # seconds
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),  # milliseconds
)


class Route:
    """An open way to the engine at a place.

    Raises:
        EngineUnavailable: there is none.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._tunnel = _tunnel(place.address) if place.address.startswith("ssh://") else None

    @property
    def url(self) -> str:
        """The address to connect to."""
        return self._tunnel.address if self._tunnel else self.place.address

    @property
    def address(self) -> str:
        """The address to tell of."""
        return self.place.address

    def last_words(self) -> str:
        """What was heard on the way, where that may explain a failure."""
        return self._tunnel.last_words() if self._tunnel else ""

    def client(self) -> Client:
        """A client, once the engine has said which version of the API it speaks.

        Raises:
            EngineUnavailable: nothing answers, or something that is no engine, or is too old.
        """
        client = Client(self._connect)
        try:
            with translated(self):
                told = client.header("/_ping", "Api-Version")
            client.version = self._spoken(told)
        except BaseException:
            client.close()
            raise
        return client

    def _connect(self) -> Link:
        url = urlsplit(self.url)
        if url.scheme == "unix":
            link = socket.socket(socket.AF_UNIX)
            link.settimeout(ANSWER_WITHIN)
            link.connect(self.url.removeprefix("unix://"))
            return link
        host, tls = url.hostname or "", self._tls  # which may not be had: no link is opened then
        link = socket.create_connection((host, url.port or 0), ANSWER_WITHIN)
        for level, option, value in _TCP_OPTIONS:
            link.setsockopt(level, option, value)
        if tls is None:
            return link
        from reprorun.engine.tls import TlsLink

        return TlsLink(link, tls, host)

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        """Certificates are those that were given, whatever variables name others."""
        tls = self.place.tls
        if tls is None:
            return None
        import ssl

        context = ssl.create_default_context(cafile=tls.ca)
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
        return context

    def _spoken(self, version: str) -> str:
        if not re.fullmatch(r"\d{1,4}\.\d{1,4}", version):
            why = f"its API is of version {version[:40]!r}" if version else "it names no API"
            raise EngineUnavailable(unlike_an_engine(self.address, why))
        spoken = tuple(int(part) for part in version.split("."))
        if spoken < OLDEST_API:
            oldest = ".".join(str(part) for part in OLDEST_API)
            raise EngineUnavailable(
                f"the engine at {self.address} speaks version {version} of the API; {oldest} is "
                "the oldest that will do (Docker 19.03). Update it, or name another in DOCKER_HOST."
            )
        return version

    def close(self) -> None:
        """Close it."""
        if self._tunnel:
            self._tunnel.close()


def _tunnel(address: str) -> Tunnel:
    from reprorun.engine.ssh import Tunnel

    return Tunnel(address)
