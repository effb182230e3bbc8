"""The streams of a container, over the connection that attaching to it opened."""

from __future__ import annotations

import socket as sockets
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from reprorun.engine.docker_errors import Way, translated
from reprorun.engine.protocol import Stream
from reprorun.errors import EngineError

NO_DETACHING = ",".join(["ctrl-@"] * 16)
"""Keys that would detach from a terminal; the engine's own are ones that shells use (Ctrl-P)."""

_STREAMS: dict[int, Stream] = {0: "stdout", 1: "stdout", 2: "stderr"}
_HEADER = 8  # bytes: which stream, three of no use, the length
_PIECE = 1 << 16


class DockerOutput:
    """What a container prints."""

    def __init__(self, socket: Any, way: Way, *, tty: bool = False) -> None:
        self._socket = socket
        self._way = way
        # what docker-py hands out may be the reading half of a socket
        self._whole: sockets.socket = getattr(socket, "_sock", socket)
        self._whole.settimeout(None)  # an experiment may be silent for as long as it likes
        self._pieces = self._plain() if tty else self._frames()

    def __iter__(self) -> DockerOutput:
        return self

    def __next__(self) -> tuple[Stream, bytes]:
        with translated(self._way):
            piece = next(self._pieces, None)
        if piece is None:
            self.close()
            raise StopIteration
        return piece

    def close(self) -> None:
        with suppress(OSError):  # not connected any more; else another thread may still use it
            self._whole.shutdown(sockets.SHUT_RDWR)
        self._socket._response.close()
        self._socket.close()

    def _plain(self) -> Iterator[tuple[Stream, bytes]]:
        while piece := self._whole.recv(_PIECE):
            yield "stdout", piece

    def _frames(self) -> Iterator[tuple[Stream, bytes]]:
        """Both streams, taken apart. docker-py overlooks what TLS has taken in already."""
        while start := self._whole.recv(_HEADER):
            header = start + self._exactly(_HEADER - len(start))
            size = int.from_bytes(header[4:], "big")
            if size:
                yield _STREAMS[header[0]], self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            piece = self._whole.recv(min(size, _PIECE))
            if not piece:
                raise ConnectionError("the output breaks off")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


class DockerConversation(DockerOutput):
    """What a container prints and reads."""

    def send(self, data: bytes) -> None:
        with translated(self._way):
            self._whole.sendall(data)

    def send_end(self) -> None:
        if isinstance(self._whole, ssl.SSLSocket):
            raise EngineError(
                f"the engine at {self._way.address} is reached over TLS, which can't pass on that "
                "the input has ended. Run the shell from a terminal, or reach the engine over ssh."
            )
        with translated(self._way):
            self._whole.shutdown(sockets.SHUT_WR)
