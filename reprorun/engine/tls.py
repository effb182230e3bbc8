"""TLS over a socket, of which each direction ends by itself.

`ssl.SSLSocket` can't say that we send no more and go on listening: it waits for the other side to
end, and drops what that still says. Nor was it made for one thread that sends while another one
listens. Here OpenSSL sees no socket: nobody waits while they hold it.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress

_PIECE = 1 << 16  # bytes that are received at once
_RECORD = 1 << 14  # bytes that TLS sends at once, at most


class TlsLink:
    """A socket with TLS. One thread may send while another one receives.

    Args:
        link: connected; closed where this fails.
        context: whom it trusts, and who it is.
        host: whom the other side has to be.

    Raises:
        ssl.SSLError: the other side is not to be trusted, or does not trust us.
        OSError: it hung up, or did not answer in time.
    """

    def __init__(self, link: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._link = link
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._lock = threading.Lock()  # held by who uses these three, and never for long
        self._sending = threading.Lock()  # held by who sends
        self._ahead = bytearray()  # has come, and nobody has taken it yet
        self._unsent = b""  # encrypted
        self._taken = 0  # bytes that `_unsent` is made of
        try:
            self._shake_hands()
        except BaseException:
            link.close()
            raise

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
            else:
                self._flush()
                return

    # ------------------------------------------------------------ as sockets have it

    def recv_into(self, buffer: memoryview) -> int:
        """Receive something; 0 at the end."""
        while True:
            with self._lock, suppress(ssl.SSLWantReadError):
                return self._decrypt(buffer)
            self._receive()

    def send(self, data: memoryview) -> int:
        """Send some of it; after a TimeoutError it has to be called with the same once more."""
        with self._sending:
            if not self._taken:
                with self._lock:
                    self._taken = self._tls.write(data[:_RECORD])
            self._flush()
            taken, self._taken = self._taken, 0
            return taken

    def shutdown(self, how: int) -> None:
        """End one direction, or both without a word."""
        if how != socket.SHUT_WR:
            self._link.shutdown(how)
            return
        with self._sending:
            with self._lock:
                self._take_all()  # what OpenSSL finds there when it is told the end, it drops
                with suppress(ssl.SSLWantReadError):  # the other side's end has not come
                    self._tls.unwrap()
            self._flush()

    def settimeout(self, seconds: float | None) -> None:
        """How long receiving, and sending, may take."""
        self._link.settimeout(seconds)

    def fileno(self) -> int:
        """Of the socket below."""
        return self._link.fileno()

    def close(self) -> None:
        """Close it."""
        self._link.close()

    # ------------------------------------------------------------ between OpenSSL and the socket

    def _decrypt(self, buffer: memoryview) -> int:
        if self._ahead:
            count = min(len(buffer), len(self._ahead))
            buffer[:count] = self._ahead[:count]
            del self._ahead[:count]
            return count
        try:
            return self._tls.read(len(buffer), buffer)  # type: ignore[return-value]
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return 0

    def _take_all(self) -> None:
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            while piece := self._tls.read(_RECORD):
                self._ahead += piece

    def _receive(self) -> None:
        piece = self._link.recv(_PIECE)
        with self._lock:
            if piece:
                self._incoming.write(piece)
            else:
                self._incoming.write_eof()

    def _flush(self) -> None:
        """Send what is encrypted; what can't be sent now is kept."""
        with self._lock:
            self._unsent += self._outgoing.read()
        while self._unsent:
            self._unsent = self._unsent[self._link.send(self._unsent) :]
