"""TLS with an engine: both directions at once, and one that ends before the other."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reprorun.engine import connection as connections
from reprorun.engine.connection import Connection
from reprorun.engine.tls import TlsLink

pytestmark = pytest.mark.timeout(60)

MUCH = bytes(range(256)) * 4096 * 8  # more than sockets hold
Serve = Callable[[ssl.SSLSocket], None]
Reach = Callable[[Serve], Connection]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a server on loopback, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate with openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=engine", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", f"{path}.key", "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with path.open("ab") as both:
        both.write(Path(f"{path}.key").read_bytes())
    return path


@pytest.fixture
def reach(certificate: Path) -> Iterator[Reach]:
    """Reaches a server that does as it is told."""
    served: list[threading.Thread] = []
    reached: list[Connection] = []

    def make(serve: Serve) -> Connection:
        here, there = socket.socketpair()
        served.append(threading.Thread(target=_serve, args=(there, certificate, serve)))
        served[-1].start()
        trusting = ssl.create_default_context(cafile=str(certificate))
        reached.append(Connection(TlsLink(here, trusting, "127.0.0.1"), lambda: None))
        return reached[-1]

    yield make
    for each in reached:
        each.close()
    for thread in served:
        thread.join(30)
        assert not thread.is_alive()


def _serve(link: socket.socket, certificate: Path, serve: Serve) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    try:
        with context.wrap_socket(link, server_side=True) as secure:
            serve(secure)
    except OSError:
        return  # it was not trusted, or left


def everything(link: ssl.SSLSocket) -> bytes:
    return b"".join(iter(lambda: link.recv(1 << 16), b""))


def rest_of(connection: Connection) -> bytes:
    return b"".join(iter(lambda: connection.receive(1 << 16), b""))


def test_we_end_and_the_other_side_goes_on(reach: Reach) -> None:
    def serve(link: ssl.SSLSocket) -> None:
        heard = everything(link)
        time.sleep(0.1)
        link.sendall(b"%d " % len(heard) + MUCH)
        link.unwrap()

    connection = reach(serve)
    connection.send(MUCH)
    connection.send_end()
    assert rest_of(connection) == b"%d " % len(MUCH) + MUCH


def test_what_has_come_by_then_is_not_lost(reach: Reach) -> None:
    ended = threading.Event()

    def serve(link: ssl.SSLSocket) -> None:
        link.sendall(b"x" * 50_000)
        ended.wait(10)
        everything(link)
        link.sendall(b"y")

    connection = reach(serve)
    assert connection.receive(1) == b"x"
    time.sleep(0.1)
    connection.send_end()
    ended.set()
    assert rest_of(connection) == b"x" * 49_999 + b"y"


def test_both_directions_at_once(reach: Reach) -> None:
    def serve(link: ssl.SSLSocket) -> None:
        while piece := link.recv(1 << 16):
            link.sendall(piece)

    connection = reach(serve)

    def speak() -> None:
        for _ in range(3):
            connection.send(MUCH)
        connection.send_end()

    speaking = threading.Thread(target=speak)
    speaking.start()
    assert rest_of(connection) == MUCH * 3
    speaking.join()


def test_what_could_not_be_sent_in_time_is_sent_once(
    reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOOK_AFTER", 0.02)
    heard: list[bytes] = []

    def serve(link: ssl.SSLSocket) -> None:
        time.sleep(0.3)
        heard.append(everything(link))
        link.sendall(b"done")

    connection = reach(serve)
    connection.allow(None)
    connection.send(MUCH)
    connection.send_end()
    assert rest_of(connection) == b"done"
    assert heard == [MUCH]


def test_a_time_limit(reach: Reach) -> None:
    over = threading.Event()
    connection = reach(lambda link: over.wait(10))
    connection.allow(0.05)
    with pytest.raises(TimeoutError):
        connection.receive(1)
    over.set()


def test_an_end_without_a_word(reach: Reach) -> None:
    def serve(link: ssl.SSLSocket) -> None:
        link.sendall(b"last")
        link.shutdown(socket.SHUT_RDWR)

    connection = reach(serve)
    assert rest_of(connection) == b"last"
    assert connection.receive(1) == b""


def test_who_waits_hears_that_it_is_broken_off(reach: Reach) -> None:
    left = threading.Event()

    def serve(link: ssl.SSLSocket) -> None:
        left.wait(10)

    connection = reach(serve)
    timer = threading.Timer(0.1, connection.break_off)
    timer.start()
    assert connection.receive(1) == b""
    left.set()
    timer.join()


def test_nobody_whom_we_do_not_trust(certificate: Path) -> None:
    here, there = socket.socketpair()
    server = threading.Thread(target=_serve, args=(there, certificate, everything))
    server.start()
    with pytest.raises(ssl.SSLCertVerificationError):
        TlsLink(here, ssl.create_default_context(), "127.0.0.1")
    assert here.fileno() == -1
    server.join(10)
    assert not server.is_alive()
