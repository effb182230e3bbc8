"""The streams of a container, over the connection that attaching to it opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial

from reprorun.engine.connection import Connection, NoHttp
from reprorun.engine.docker_errors import Way, translated
from reprorun.engine.protocol import Stream
from reprorun.errors import EngineError

NO_DETACHING = ",".join(["ctrl-@"] * 16)
"""Keys that would detach from a terminal; the engine's own are ones that shells use (Ctrl-P)."""

_STREAMS: dict[int, Stream] = {0: "stdout", 1: "stdout", 2: "stderr"}
_FAILED = 3  # the engine's own words: it can't read the log that it kept
_LONGEST_WORDS = 300  # bytes
_HEADER = 8  # bytes: which stream, three of no use, the length
_PIECE = 1 << 16


def frames(pieces: Iterable[bytes]) -> Iterator[tuple[Stream, bytes]]:
    """Both streams, taken apart.

    Raises:
        EngineError: the engine can't read on in the log that it kept.
        NoHttp: they break off, or are no streams.
    """
    left = bytearray()
    for piece in pieces:
        left += piece
        while len(left) >= _HEADER:
            if left[0] not in _STREAMS and left[0] != _FAILED:
                raise NoHttp(f"the output is of a stream {left[0]}, which there is not")
            end = _HEADER + int.from_bytes(left[4:_HEADER], "big")
            if len(left) < end:
                break
            if left[0] == _FAILED:
                words = bytes(left[_HEADER:end][:_LONGEST_WORDS]).decode(errors="replace").strip()
                raise EngineError(f"the engine can't read the log that it kept: {words}")
            if end > _HEADER:
                yield _STREAMS[left[0]], bytes(left[_HEADER:end])
            del left[:end]
    if left:
        raise NoHttp("the output breaks off")


class DockerOutput:
    """What a container prints."""

    def __init__(self, connection: Connection, way: Way, *, tty: bool = False) -> None:
        self._connection = connection
        self._way = way
        received = iter(partial(connection.receive, _PIECE), b"")
        self._pieces = _plain(received) if tty else frames(received)

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
            self._connection.break_off()
        self._connection.close()


def _plain(received: Iterable[bytes]) -> Iterator[tuple[Stream, bytes]]:
    for piece in received:
        yield "stdout", piece


class DockerConversation(DockerOutput):
    """What a container prints and reads."""

    def send(self, data: bytes) -> None:
        with translated(self._way):
            self._connection.send(data)

    def send_end(self) -> None:
        with translated(self._way):
            self._connection.send_end()
