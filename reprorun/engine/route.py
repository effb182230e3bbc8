"""The way to an engine, standing open: what docker-py is given, and what is said of it."""

from __future__ import annotations

import re
from typing import Any

import docker
from docker.tls import TLSConfig

from reprorun.engine.docker_errors import translated, unlike_an_engine
from reprorun.engine.places import Place
from reprorun.engine.ssh import Tunnel
from reprorun.errors import EngineUnavailable

ANSWER_WITHIN = 60  # seconds that the engine may take for any answer but `wait` and the streams
OLDEST_API = (1, 40)  # of Docker 19.03


class Route:
    """An open way to the engine at a place.

    Raises:
        EngineUnavailable: there is none.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._tunnel = Tunnel(place.address) if place.address.startswith("ssh://") else None

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

    def client(self) -> docker.APIClient:
        """A client of docker-py, once the engine has said which version it speaks.

        Raises:
            EngineUnavailable: nothing answers, or something that is no engine, or is too old.
        """
        with translated(self):
            client = _Client(
                base_url=self.url, version="1.24", timeout=ANSWER_WITHIN, tls=self._tls()
            )
            try:
                version = self._spoken(client.version(api_version=False))
                client._version = version  # what "auto" does, with an answer that has been read
            except BaseException:
                client.close()
                raise
        return client

    def _tls(self) -> TLSConfig | bool:
        tls = self.place.tls
        if tls is None:
            return False
        pair = (tls.cert, tls.key) if tls.cert else None
        return TLSConfig(client_cert=pair, ca_cert=tls.ca, verify=tls.verify)

    def _spoken(self, told: Any) -> str:
        version = str(told.get("ApiVersion")) if isinstance(told, dict) else ""
        if not re.fullmatch(r"\d{1,4}\.\d{1,4}", version):
            why = f"its API is of version {version[:40]!r}"
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


class _Client(docker.APIClient):  # type: ignore[misc]  # docker-py has no types
    """Certificates are those that were given; requests would let a variable name others."""

    def merge_environment_settings(
        self, url: str, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        given = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, given, cert)
