"""A socket between reprorun and the engine: it notes what is asked, and may refuse or hold it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .bench import socket_path

_REQUEST = re.compile(rb"^(GET|HEAD|POST|PUT|DELETE) (\S+) HTTP/1\.1\r$", re.MULTILINE)
_PIECE = 1 << 16
_REFUSAL = b'{"message": "no space left on device: the engine refuses on purpose"}'
_ANSWER = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_REFUSAL), _REFUSAL)
)


class Proxy:
    """Passes requests on to the engine.

    Args:
        path: where it listens.
        refuse: requests whose path holds this are answered with an error of the engine.
        hold: requests whose path holds this are never answered.
        cut: after a request whose path holds this, every connection breaks and no new one is taken.
    """

    def __init__(self, path: Path, *, refuse: str = "", hold: str = "", cut: str = "") -> None:
        self.requests: list[str] = []
        self.held = threading.Event()
        self.address = f"unix://{path}"
        self._refuse, self._hold, self._cut = refuse, hold, cut
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def writing(self) -> list[str]:
        """The requests that change something."""
        return [line for line in self.requests if not line.startswith(("GET ", "HEAD "))]

    def close(self) -> None:
        """Break all connections and take no more."""
        for each in [self._listener, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(socket_path()))
            self._open += [near, far]
            threading.Thread(target=self._to_engine, args=(near, far), daemon=True).start()
            threading.Thread(target=_copy, args=(far, near), daemon=True).start()

    def _to_engine(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while piece := near.recv(_PIECE):
                asked = [f"{m[1].decode()} {m[2].decode()}" for m in _REQUEST.finditer(piece)]
                self.requests += asked
                if self._held_back(near, " ".join(asked)):
                    return
                far.sendall(piece)
                if self._cut and self._cut in " ".join(asked):
                    self.close()
            far.shutdown(socket.SHUT_WR)

    def _held_back(self, near: socket.socket, asked: str) -> bool:
        if self._refuse and self._refuse in asked:
            near.sendall(_ANSWER)
            near.shutdown(socket.SHUT_RDWR)
            return True
        if self._hold and self._hold in asked:
            self.held.set()
            return True
        return False


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(place: Path, *, refuse: str = "", hold: str = "", cut: str = "") -> Iterator[Proxy]:
    """A proxy that listens in a directory; see `Proxy`."""
    made = Proxy(place / "engine.sock", refuse=refuse, hold=hold, cut=cut)
    try:
        yield made
    finally:
        made.close()
