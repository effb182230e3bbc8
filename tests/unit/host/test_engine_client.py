"""HTTP with an engine: what is sent, what is made of the answer, and which connections are kept."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from reprorun.engine import connection
from reprorun.engine.client import Client, NoJson, NotFound, Refused, path_of
from reprorun.engine.connection import NoHttp
from reprorun.engine.docker_streams import frames
from reprorun.errors import EngineError

EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


class Engine:
    """Says what it was told to, connection by connection, and keeps what it heard."""

    def __init__(self, *connections: tuple[bytes, ...]) -> None:
        self.heard: list[bytes] = []
        self.opened = 0
        self._answers = [list(answers) for answers in connections]
        self.threads: list[threading.Thread] = []

    def connect(self) -> socket.socket:
        here, there = socket.socketpair()
        answers = self._answers[self.opened]
        self.opened += 1
        thread = threading.Thread(target=self._serve, args=(there, answers), daemon=True)
        thread.start()
        self.threads.append(thread)
        return here

    def _serve(self, link: socket.socket, answers: list[bytes]) -> None:
        with link, suppress(BrokenPipeError):  # whom nobody listens to any more
            for answer in answers:
                self.heard.append(_request(link))
                link.sendall(answer)

    def told(self) -> str:
        """The last request."""
        return self.heard[-1].decode()


def _request(link: socket.socket) -> bytes:
    """One request; what there is of it, where the rest does not come."""
    heard = b""
    while not _is_whole(heard) and (piece := link.recv(1 << 16)):
        heard += piece
    return heard


def _is_whole(heard: bytes) -> bool:
    head, end, _ = heard.partition(b"\r\n\r\n")
    chunked = b"transfer-encoding: chunked" in head.lower()
    return bool(end) and (not chunked or heard.endswith(b"\r\n0\r\n\r\n"))


def ok(body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *headers))
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + body


def chunked(*pieces: bytes) -> bytes:
    chunks = b"".join(b"%X;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nA: b\r\n\r\n"


def refusal(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


Made = Callable[..., tuple[Client, Engine]]


@pytest.fixture
def made() -> Iterator[Made]:
    clients = []

    def make(*connections: tuple[bytes, ...]) -> tuple[Client, Engine]:
        engine = Engine(*connections)
        clients.append(Client(engine.connect))
        return clients[-1], engine

    yield make
    for client in clients:
        client.close()


# ---------------------------------------------------------------- calls


def test_a_call_and_its_answer(made: Made) -> None:
    client, engine = made((ok(b'{"a": [1]}'),))
    client.version = "1.41"
    path = path_of("images", "host:5000/a b?c:1@x", "json")
    assert client.call("GET", path, {"force": True, "filters": '{"a":["b&c"]}'}) == {"a": [1]}
    first = engine.told().splitlines()[0]
    assert first == (
        "GET /v1.41/images/host:5000/a%20b%3Fc:1@x/json"
        "?force=1&filters=%7B%22a%22%3A%5B%22b%26c%22%5D%7D HTTP/1.1"
    )


def test_json_goes_with_its_length(made: Made) -> None:
    client, engine = made((ok(b"{}"),))
    client.call("POST", "/containers/create", json={"Image": "é"})
    assert "content-length: 14\r\n" in engine.told().lower()
    assert engine.told().endswith('{"Image":"é"}')


def test_one_connection_serves_one_call_after_the_other(made: Made) -> None:
    client, engine = made((ok(b"1"), chunked(b"[", b"2]"), EMPTY, refusal(404, b"{}"), ok(b"5")))
    assert client.call("GET", "/a") == 1
    assert client.call("GET", "/b") == [2]
    assert client.call("POST", "/c") is None
    with pytest.raises(NotFound):
        client.call("GET", "/d")
    assert client.call("GET", "/e") == 5
    assert engine.opened == 1


def test_a_connection_that_was_closed_meanwhile_is_not_taken(made: Made) -> None:
    client, engine = made((ok(b"1"),), (ok(b"2"),))
    client.call("GET", "/a")
    engine.threads[0].join()
    assert client.call("POST", "/b") == 2
    assert engine.opened == 2


@pytest.mark.parametrize(
    "answers",
    [
        (ok(b"1", "Connection: close"), EMPTY),
        (ok(b"1").replace(b"HTTP/1.1", b"HTTP/1.0"), EMPTY),
        (b"HTTP/1.1 200 OK\r\n\r\n1",),
    ],
)
def test_a_connection_that_is_to_be_closed_is_not_kept(
    made: Made, answers: tuple[bytes, ...]
) -> None:
    client, engine = made(answers, (ok(b"2"),))
    assert (client.call("GET", "/a"), client.call("GET", "/b")) == (1, 2)
    assert engine.opened == 2


def test_a_header_is_found_whatever_its_case(made: Made) -> None:
    client, _ = made((ok(b"OK", "API-version:  1.41 "), ok(b"OK")))
    assert client.header("/_ping", "Api-Version") == "1.41"
    assert client.header("/_ping", "Api-Version") == ""


# ---------------------------------------------------------------- bodies


def test_a_tar_is_sent_in_pieces(made: Made) -> None:
    client, engine = made((EMPTY,))
    client.call("PUT", "/archive", data=iter([b"one", b"", b"two"]))
    assert engine.told().endswith("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


def test_an_error_in_what_is_sent_is_the_callers(made: Made) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise LookupError("no more")

    client, engine = made((EMPTY,), (ok(b"2"),))
    with pytest.raises(LookupError):
        client.call("PUT", "/archive", data=broken())
    assert client.call("GET", "/b") == 2, "half a request is on the other connection"
    assert engine.opened == 2


def test_what_is_refused_half_way_says_why() -> None:
    here, there = socket.socketpair()
    client = Client(lambda: here)

    def endless() -> Iterator[bytes]:
        yield b"x"
        there.recv(1 << 16)
        there.sendall(refusal(400, b'{"message": "no tar"}'))
        there.shutdown(socket.SHUT_RD)
        while True:
            yield b"x" * (1 << 16)

    with there, pytest.raises(Refused, match="no tar"):
        client.call("PUT", "/archive", data=endless())
    assert here.fileno() == -1, "what was sent on it is not a whole request"


def test_a_stream_comes_piece_by_piece(made: Made) -> None:
    client, _ = made((chunked(b"one", b"two"), ok(b"three")))
    assert list(client.stream("GET", "/a")) == [b"one", b"two"]
    assert b"".join(client.stream("GET", "/a")) == b"three"


def test_a_stream_that_is_left_takes_its_connection_with_it(made: Made) -> None:
    client, engine = made((chunked(b"one", b"two"),), (ok(b"2"),))
    pieces = client.stream("GET", "/a")
    assert next(pieces) == b"one"
    pieces.close()  # type: ignore[attr-defined]
    assert client.call("GET", "/b") == 2
    assert engine.opened == 2


def test_what_is_under_way_when_the_client_is_closed_ends_and_leaves_nothing(made: Made) -> None:
    client, engine = made((chunked(b"a", b"b"), EMPTY))
    pieces = client.stream("GET", "/a")
    next(pieces)
    client.close()
    assert list(pieces) == [b"b"]
    engine.threads[0].join(5)
    assert not engine.threads[0].is_alive()  # it has seen the end of the connection


def test_events_are_lines_however_they_are_cut(made: Made) -> None:
    client, _ = made((chunked(b'{"a": 1}\r\n{"b"', b': 2}\r\n\r\n{"c": ', b'"\\n"}'),))
    assert list(client.events("/build")) == [{"a": 1}, {"b": 2}, {"c": "\n"}]


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("body", "said"),
    [(b'{"message": "no such image: x"}\n', "no such image: x"), (b"plain\n", "plain"),
     (b"", "status 500"), (b"[1]", "[1]")],
)  # fmt: skip
def test_why_it_is_refused(made: Made, body: bytes, said: str) -> None:
    client, _ = made((refusal(500, body),))
    with pytest.raises(Refused) as error:
        client.call("GET", "/a")
    assert (error.value.status, error.value.explanation) == (500, said)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 9 + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(300)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nshort\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ],
)
def test_what_does_not_speak_http_or_breaks_off(made: Made, answer: bytes) -> None:
    client, _ = made((answer,))
    with pytest.raises(NoHttp):
        client.call("GET", "/a")


def test_what_is_no_json(made: Made) -> None:
    client, _ = made((ok(b"<html>"),))
    with pytest.raises(NoJson):
        client.call("GET", "/a")


def test_a_time_limit_holds_for_one_call(made: Made) -> None:
    here, there = socket.socketpair()
    client = Client(lambda: here)
    there.sendall(ok(b"1"))
    client.call("GET", "/a", within=0.01)
    late = threading.Timer(0.1, there.sendall, [ok(b"2")])
    late.start()
    assert client.call("GET", "/b", within=None) == 2
    late.join()
    with there, pytest.raises(TimeoutError):
        client.call("GET", "/c", within=0.01)


def test_a_silence_without_end_is_no_matter_while_the_engine_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "LOOK_AFTER", 0.02)
    waiting, there = socket.socketpair()
    asked = Engine((EMPTY,) * 100)
    links = iter([waiting])
    client = Client(lambda: next(links, None) or asked.connect())

    def answer_late() -> None:
        while len(asked.heard) < 3:
            time.sleep(0.01)
        there.sendall(ok(b"1"))

    late = threading.Thread(target=answer_late, daemon=True)
    late.start()
    with there:
        assert client.call("POST", "/wait", within=None) == 1
        late.join()
    assert asked.told().startswith("GET /_ping ")
    assert asked.opened == 1
    client.close()


class GivenUp:
    """A link that the kernel gives up, and then says has ended."""

    def __init__(self) -> None:
        gone = OSError(errno.ETIMEDOUT, "timed out")
        self.told: Iterator[bytes | OSError] = iter([b"HTTP/1.1 200 OK\r\n\r\nhalf", gone, b""])

    def recv_into(self, buffer: memoryview) -> int:
        said = next(self.told)
        if isinstance(said, OSError):
            raise said
        buffer[: len(said)] = said
        return len(said)

    def send(self, data: memoryview) -> int:
        return len(data)

    def settimeout(self, seconds: float | None) -> None:
        pass


def test_a_connection_that_the_kernel_gave_up_has_not_come_to_its_end() -> None:
    link: Any = GivenUp()
    made = connection.Connection(link, lambda: pytest.fail("it is gone, and was looked for"))
    made.allow(None)
    answer = made.ask("GET", "/logs", {}, None)
    with pytest.raises(TimeoutError):
        list(answer.pieces())


@pytest.mark.parametrize("body", [None, [b"x" * (1 << 22)]])
def test_an_engine_that_stands_still_is_not_waited_for(
    body: list[bytes] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for its answer nor until it takes what is sent."""
    monkeypatch.setattr(connection, "LOOK_AFTER", 0.02)
    monkeypatch.setattr("reprorun.engine.client.ANSWER_WITHIN", 0.02)
    pairs = [socket.socketpair() for _ in range(2)]
    links = iter([here for here, _ in pairs])
    client = Client(lambda: next(links))
    with pytest.raises(TimeoutError):
        client.call("POST", "/x", data=body, within=None)
    assert [here.fileno() for here, _ in pairs] == [-1, -1]
    for _, there in pairs:
        there.close()


def test_an_interim_answer_is_passed_over(made: Made) -> None:
    client, _ = made((b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"1"),))
    assert client.call("GET", "/a") == 1


# ---------------------------------------------------------------- taken over


def test_what_comes_with_the_head_of_the_answer_is_heard(made: Made) -> None:
    head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    client, engine = made((head + b"first",))
    taken = client.take_over("/containers/x/attach", {"stream": True})
    assert taken.receive(100) == b"first"
    assert taken.receive(100) == b""
    taken.close()
    assert "connection: upgrade" in engine.told().lower()


def frame(stream: int, data: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize("size", [1, 3, 8, 1000])
def test_frames_however_they_are_cut(size: int) -> None:
    data = frame(1, b"out") + frame(2, b"") + frame(2, b"err") + frame(1, b"x" * 300)
    pieces = [data[n : n + size] for n in range(0, len(data), size)]
    wanted: list[Any] = [("stdout", b"out"), ("stderr", b"err"), ("stdout", b"x" * 300)]
    assert list(frames(pieces)) == wanted


def test_a_log_that_the_engine_can_not_read_on() -> None:
    words = b"Error grabbing logs: unexpected EOF\n"
    found = frames([frame(1, b"out") + frame(3, words) + frame(1, b"never")])
    assert next(found) == ("stdout", b"out")
    with pytest.raises(EngineError, match=r"can't read the log that it kept: Error .* EOF$"):
        next(found)


@pytest.mark.parametrize("number", [4, 72, 255])
def test_what_is_of_no_stream_is_refused_before_it_is_waited_for(number: int) -> None:
    with pytest.raises(NoHttp, match=f"a stream {number}, which"):
        next(frames([bytes((number, 0, 0, 0, 255, 255, 255, 255))]))


def test_frames_that_break_off() -> None:
    found = frames([frame(1, b"out") + frame(1, b"more")[:-1]])
    assert next(found) == ("stdout", b"out")
    with pytest.raises(NoHttp):
        next(found)
