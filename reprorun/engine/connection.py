"""HTTP/1.1 on one connection, as engines speak it: requests, answers, and what is taken over.

Engines answer to attaching by leaving the connection to the container's streams, which no client of
the standard library foresees; and `http.client` takes as long to import as Python to start.
"""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from io import BufferedReader, RawIOBase
from typing import Protocol, TypeVar

LOOK_AFTER = 60.0  # seconds of silence after which it is seen whether anybody is there
_LONGEST_LINE = 1 << 16  # bytes of a header
_MOST_HEADERS = 200
_PIECE = 1 << 20  # bytes that are read at once, at most
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]{1,15}")
_BODILESS = (204, 304)

Body = bytes | Iterable[bytes] | None
T = TypeVar("T")


class NoHttp(ConnectionError):
    """What answers does not speak HTTP, or breaks off."""


class Link(Protocol):
    """A socket, or what behaves like one."""

    def recv_into(self, buffer: memoryview, /) -> int: ...

    def send(self, data: memoryview, /) -> int: ...

    def settimeout(self, seconds: float | None, /) -> None: ...

    def shutdown(self, how: int, /) -> None: ...

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Connection:
    """A connection to an engine, for one request after the other.

    All of it raises OSError, of which NoHttp is one, when the other side is gone.

    Args:
        link: to it.
        look: raises OSError where nobody is there any more. Called now and then while the engine
            is silent and may be so for as long as it likes.
    """

    def __init__(self, link: Link, look: Callable[[], object]) -> None:
        self._link = link
        self._look = look
        self._patient = False
        self._reader: BufferedReader = BufferedReader(_Raw(self._receive))

    def allow(self, seconds: float | None) -> None:
        """How long anything may take from now on; None: for ever, while somebody is there."""
        self._patient = seconds is None
        self._link.settimeout(LOOK_AFTER if seconds is None else seconds)

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> Answer:
        """Send a request and read the head of its answer.

        Args:
            target: path and query.
            headers: beside those that every request has.
            body: pieces are sent as they come.
        """
        told = {"Host": "engine", "User-Agent": "reprorun", **headers}
        if isinstance(body, bytes):
            told["Content-Length"] = str(len(body))
        elif body is not None:
            told["Transfer-Encoding"] = "chunked"
        elif method != "GET":
            told["Content-Length"] = "0"
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        head = f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
        if body is None or isinstance(body, bytes):
            self.send(head + (body or b""))
            return Answer(self._reader)
        self.send(head)
        return self._send_pieces(body)

    def _send_pieces(self, pieces: Iterable[bytes]) -> Answer:
        for piece in pieces:
            if piece and not self._sent(b"%x\r\n%b\r\n" % (len(piece), piece)):
                break  # it refuses what comes, and may have said why
        else:
            self._sent(b"0\r\n\r\n")
            return Answer(self._reader)
        answer = Answer(self._reader)
        answer.closes = True  # the rest of the body is missing
        return answer

    def _sent(self, data: bytes) -> bool:
        try:
            self.send(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    @property
    def is_usable(self) -> bool:
        """Whether it still stands while nothing is under way: then there is nothing to be read."""
        poll = select.poll()
        poll.register(self._link.fileno(), select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close it."""
        self._reader.close()
        self._link.close()

    # ------------------------------------------------------------ taken over

    def receive(self, most: int) -> bytes:
        """What comes next; empty at the end."""
        return self._reader.read1(most)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._patiently(partial(self._link.send, rest)) :]

    def send_end(self) -> None:
        """Tell the other side that nothing more will come. It may still speak."""
        self._patiently(partial(self._link.shutdown, socket.SHUT_WR))

    def break_off(self) -> None:
        """End both directions; who waits in another thread finds the end."""
        self._link.shutdown(socket.SHUT_RDWR)

    def _receive(self, buffer: memoryview) -> int:
        return self._patiently(partial(self._link.recv_into, buffer))

    def _patiently(self, act: Callable[[], T]) -> T:
        while True:
            try:
                return act()
            except TimeoutError as error:
                if error.errno or not self._patient:  # with a number, the kernel has given it up
                    raise
                self._look()


class _Raw(RawIOBase):
    """What comes over a link, for a reader with a buffer."""

    def __init__(self, receive: Callable[[memoryview], int]) -> None:
        self._receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._receive(buffer)


class Answer:
    """An answer of which the head has been read."""

    def __init__(self, reader: BufferedReader) -> None:
        self._reader = reader
        self.status = self._read_status()
        self.headers = self._read_headers()
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length", "")
        self._length = int(length) if length.isdecimal() and not self._chunked else None
        if self.status in _BODILESS:
            self._length, self._chunked = 0, False
        endless = self._length is None and not self._chunked  # but for the connection's end
        asked = "close" in self.headers.get("connection", "").lower()
        self.closes = endless or asked or self._is_old

    def pieces(self) -> Iterator[bytes]:
        """Its body, as it comes."""
        if self._chunked:
            while size := self._chunk_size():
                yield from self._read(size)
                self._line()
            while self._line():
                pass  # trailers
        elif self._length is not None:
            yield from self._read(self._length)
        else:
            while piece := self._reader.read1(_PIECE):
                yield piece

    def _read(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._reader.read1(min(size, _PIECE))
            if not piece:
                raise NoHttp("the answer breaks off")
            size -= len(piece)
            yield piece

    def _chunk_size(self) -> int:
        digits = self._line().partition(b";")[0].strip()
        if not _HEXADECIMAL.fullmatch(digits):
            raise NoHttp("the answer breaks off")
        return int(digits, 16)

    def _read_status(self) -> int:
        """The status; one that only says that there will be another is passed over."""
        while True:
            words = self._line().split(None, 2)
            sound = len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit()
            if not sound:
                raise NoHttp("it does not speak HTTP" if words else "it hung up")
            if words[1] != b"100":
                self._is_old = words[0] == b"HTTP/1.0"  # which knew one request a connection
                return int(words[1])
            self._read_headers()

    def _read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
            if len(headers) > _MOST_HEADERS:
                raise NoHttp("it does not speak HTTP")
        return headers

    def _line(self) -> bytes:
        line = self._reader.readline(_LONGEST_LINE)
        if len(line) == _LONGEST_LINE:
            raise NoHttp("it does not speak HTTP")
        return line.rstrip(b"\r\n")
