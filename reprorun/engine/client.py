"""The API of an engine: calls, streams and events, over connections that are kept."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from reprorun.engine.connection import Answer, Body, Connection, Link

ANSWER_WITHIN = 60.0  # seconds that the engine may take for any answer but `wait` and the streams
_TAR, _JSON = "application/x-tar", "application/json"

Method = Literal["GET", "POST", "PUT", "DELETE"]
Parameters = Mapping[str, "str | int | bool"]


class Refused(Exception):
    """The engine answers, and says no."""

    def __init__(self, status: int, explanation: str) -> None:
        super().__init__(explanation)
        self.status = status
        self.explanation = explanation


class NotFound(Refused):
    """It has nothing of that name."""


class NoJson(Exception):
    """It answers something else than JSON."""


class Client:
    """Calls an engine. Several threads may do so at once.

    All of it raises `Refused` where the engine refuses, OSError where it does not answer, and
    `NoJson` where it answers as no engine does. What may take for ever ends so, too, when the
    engine stands still: while it is silent, it is asked now and then on another connection.

    Args:
        connect: opens a connection.
    """

    def __init__(self, connect: Callable[[], Link]) -> None:
        self.version = ""  # of the API, once it is known; empty: the engine's newest
        self._connect = connect
        self._idle: list[Connection] = []
        self._closed = False

    def call(
        self,
        method: Method,
        path: str,
        parameters: Parameters | None = None,
        *,
        json: object = None,
        data: Body = None,
        within: float | None = ANSWER_WITHIN,
    ) -> Any:
        """Ask, and return the answer: what its JSON says, or None where it is empty.

        Args:
            path: below the version, with names quoted by `path_of`.
            parameters: of the query.
            json: sent with it.
            data: sent with it, a tar.
            within: seconds that any piece of the answer may take; None: for ever, while the engine
                is there.
        """
        headers, body = _content(json, data)
        with self._asked(method, path, parameters, headers, body, within) as answer:
            text = b"".join(answer.pieces())
        return _decoded(text) if text.strip() else None

    def stream(
        self,
        method: Method,
        path: str,
        parameters: Parameters | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: Body = None,
        within: float | None = None,
    ) -> Iterator[bytes]:
        """Ask, and return the answer in pieces; the arguments are those of `call`."""
        told, body = _content(None, data)
        told.update(headers or {})
        with self._asked(method, path, parameters, told, body, within) as answer:
            yield from answer.pieces()

    def events(
        self, path: str, parameters: Parameters | None = None, **more: Any
    ) -> Iterator[dict[str, Any]]:
        """Post something that takes long, and return what the engine tells of it, line by line."""
        left = b""
        for piece in self.stream("POST", path, parameters, **more):
            *lines, left = (left + piece).split(b"\n")
            yield from (_decoded(line) for line in lines if line.strip())
        if left.strip():
            yield _decoded(left)

    def take_over(self, path: str, parameters: Parameters) -> Connection:
        """Post something after which the connection is the caller's, for what they agree on."""
        connection = self._connection(ANSWER_WITHIN)
        try:
            upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
            answer = connection.ask("POST", self._target(path, parameters), upgrade, None)
            if refusal := _refusal(answer):
                raise refusal
            connection.allow(None)  # a container may be silent for as long as it likes
        except BaseException:
            connection.close()
            raise
        return connection

    def header(self, path: str, name: str) -> str:
        """A header of the answer; empty where it has none."""
        with self._asked("GET", path, None, {}, None, ANSWER_WITHIN) as answer:
            for _ in answer.pieces():
                pass
        return answer.headers.get(name.lower(), "")

    def close(self) -> None:
        """Close the connections; one that another thread is still at goes when that is through."""
        self._closed = True
        self._close_idle()

    def _keep(self, connection: Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self._close_idle()

    def _close_idle(self) -> None:
        for connection in self._taken():
            connection.close()

    def _taken(self) -> Iterator[Connection]:
        """Those that are idle; each is the caller's alone from then on."""
        while self._idle:
            with suppress(IndexError):  # another thread was quicker
                yield self._idle.pop()

    @contextmanager
    def _asked(
        self,
        method: Method,
        path: str,
        parameters: Parameters | None,
        headers: Mapping[str, str],
        body: Body,
        within: float | None,
    ) -> Generator[Answer, None, None]:
        """The answer while the block lasts; if that reads it to its end, the connection is kept."""
        connection = self._connection(within)
        try:
            answer = connection.ask(method, self._target(path, parameters), headers, body)
            refusal = _refusal(answer)
            if refusal is None:
                yield answer
        except BaseException:
            connection.close()
            raise
        if answer.closes:
            connection.close()
        else:
            self._keep(connection)
        if refusal:
            raise refusal

    def _connection(self, within: float | None) -> Connection:
        """One that stands, else a new one."""
        for connection in self._taken():
            if connection.is_usable:
                connection.allow(within)
                return connection
            connection.close()
        connection = Connection(self._connect(), self._look)
        connection.allow(within)
        return connection

    def _look(self) -> None:
        """See that the engine is there."""
        self.header("/_ping", "Api-Version")

    def _target(self, path: str, parameters: Parameters | None) -> str:
        prefix = f"/v{self.version}" if self.version else ""
        told = {n: int(v) if isinstance(v, bool) else v for n, v in (parameters or {}).items()}
        return f"{prefix}{path}{'?' if told else ''}{urlencode(told)}"


def path_of(*parts: str) -> str:
    """A path with names in it that may hold anything, such as an image's."""
    return "/" + "/".join(quote(part, safe="/:@") for part in parts)


def _content(json: object, data: Body) -> tuple[dict[str, str], Body]:
    if json is not None:
        return {"Content-Type": _JSON}, msgspec.json.encode(json)
    return ({"Content-Type": _TAR} if data is not None else {}), data


def _refusal(answer: Answer) -> Refused | None:
    """What an answer says, if it is no."""
    if answer.status < 400:
        return None
    text = b"".join(answer.pieces())
    try:
        explanation = msgspec.json.decode(text)["message"]
    except (msgspec.DecodeError, TypeError, KeyError):
        explanation = text.decode(errors="replace")
    kind = NotFound if answer.status == 404 else Refused
    return kind(answer.status, str(explanation).strip() or f"status {answer.status}")


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoJson(text[:80].decode(errors="replace")) from error
