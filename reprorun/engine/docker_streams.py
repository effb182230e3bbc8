"""The streams of a container, over the connection that attaching to it opened."""

from __future__ import annotations

import socket as sockets
import ssl
from contextlib import suppress
from typing import Any

from docker.utils.socket import frames_iter

from reprorun.engine.docker_errors import translated
from reprorun.engine.protocol import Stream
from reprorun.errors import EngineError

NO_DETACHING = ",".join(["ctrl-@"] * 16)
"""Keys that would detach from a terminal; the engine's own are ones that shells use (Ctrl-P)."""

_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}


class DockerOutput:
    """What a container prints."""

    def __init__(self, socket: Any, address: str, *, tty: bool = False) -> None:
        self._socket = socket
        self._address = address
        self._frames = frames_iter(socket, tty=tty)

    def __iter__(self) -> DockerOutput:
        return self

    def __next__(self) -> tuple[Stream, bytes]:
        with translated(self._address):
            frame = next(self._frames, None)
        if frame is None:
            self.close()
            raise StopIteration
        number, data = frame
        return _STREAMS[number], data

    def close(self) -> None:
        self._socket._response.close()
        self._socket.close()


class DockerConversation(DockerOutput):
    """What a container prints and reads."""

    def __init__(self, socket: Any, address: str, *, tty: bool) -> None:
        super().__init__(socket, address, tty=tty)
        # what docker-py reads from may be the reading half of a socket; a channel of ssh is whole
        self._whole = getattr(socket, "_sock", socket)
        self._whole.settimeout(None)  # whoever types may think as long as they like

    def send(self, data: bytes) -> None:
        with translated(self._address):
            self._whole.sendall(data)

    def send_end(self) -> None:
        if isinstance(self._whole, ssl.SSLSocket):
            raise EngineError(
                f"the engine at {self._address} is reached over TLS, which can't pass on that the "
                "input has ended. Run the shell from a terminal, or reach the engine over ssh."
            )
        with translated(self._address):
            self._whole.shutdown(sockets.SHUT_WR)

    def close(self) -> None:
        with suppress(OSError):  # not connected any more; else another thread may still send
            self._whole.shutdown(sockets.SHUT_RDWR)
        super().close()
