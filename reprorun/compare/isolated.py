"""Comparing in a process of its own: libraries in C crash on files that are made to crash them.

One child is kept for all: it is asked, answers, and is started anew when it has died. Requests and
answers are messages in msgpack, each behind its length; nothing of an answer is ever loaded.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import selectors
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from importlib import import_module
from typing import BinaryIO

import msgspec

from reprorun.compare.content import file_content, read_full
from reprorun.compare.rich import on_disk
from reprorun.compare.values import Content, Finding, Settings, Unreadable
from reprorun.model import Value

_MEMORY = 4 << 30  # bytes that the child may have
_SECONDS = 60  # that an answer may take, and one more for each MB
_PREFIX = 8  # bytes of a length
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]);"
    "from reprorun.compare.isolated import serve; serve()"
)


class Request(Value, frozen=True, kw_only=True):
    """Two files to be compared; names and paths as bytes, for not all are UTF-8."""

    comparator: str
    names: tuple[bytes, bytes]
    paths: tuple[bytes, bytes]
    settings: Settings


class Answer(Value, frozen=True, kw_only=True):
    """What is said of them."""

    finding: Finding | None = None
    unreadable: str = ""  # in place of a finding


def compare_isolated(comparator: str, a: Content, b: Content, settings: Settings) -> Finding:
    """Have two outputs compared by the function `compare_here` of a comparator, in the child.

    Args:
        comparator: name of its module.
        a: the original.
        b: the other.
        settings: how strictly.

    Raises:
        Unreadable: one is damaged, or the library has crashed on it.
    """
    with ExitStack() as opened:
        paths = [os.fsencode(opened.enter_context(on_disk(content))) for content in (a, b)]
        request = Request(
            comparator=comparator,
            names=(_as_bytes(a.name), _as_bytes(b.name)),
            paths=(paths[0], paths[1]),
            settings=settings,
        )
        answer = _child.ask(request, _SECONDS + (a.size + b.size) / 1e6)
    if answer.finding is None:
        raise Unreadable(answer.unreadable)
    return answer.finding


def _as_bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


class _Child:
    """The child, from the parent's side."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, request: Request, seconds: float) -> Answer:
        """Its answer; one of its own making where the child has died or takes too long."""
        with self._lock:
            process = self._running()
            try:
                _send(_pipe(process.stdin), msgspec.msgpack.encode(request))
                if not _comes(_pipe(process.stdout), seconds):
                    raise EOFError
                data = _receive(_pipe(process.stdout))
                return msgspec.msgpack.decode(data, type=Answer)
            except (OSError, EOFError, msgspec.DecodeError):
                self.stop()
                crashed = f"the library that reads {request.comparator} has crashed on it"
                return Answer(unreadable=crashed)
            except BaseException:
                self.stop()  # else its answer would be taken for that to the next request
                raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            path = [os.path.abspath(place) for place in sys.path]
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _BOOT, json.dumps(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                _pipe(pipe).close()


_child = _Child()
atexit.register(_child.stop)


def _pipe(pipe: object) -> BinaryIO:
    return pipe  # type: ignore[return-value]  # they are there, as they were asked for


def _comes(pipe: BinaryIO, seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(seconds))


def _send(pipe: BinaryIO, data: bytes) -> None:
    pipe.write(len(data).to_bytes(_PREFIX, "big") + data)
    pipe.flush()


def _receive(pipe: BinaryIO) -> bytes:
    """A message.

    Raises:
        EOFError: none comes.
    """
    length = int.from_bytes(read_full(pipe, _PREFIX), "big")
    data = read_full(pipe, length)
    if not data or len(data) < length:
        raise EOFError
    return data


# ---------------------------------------------------------------- in the child


def serve() -> None:
    """Answer requests on stdin until it is closed."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while True:
        try:
            request = msgspec.msgpack.decode(_receive(requests), type=Request)
        except EOFError:
            return
        _send(answers, _encoded(_answer(request)))


def _answer(request: Request) -> Answer:
    files = (
        file_content(os.fsdecode(path), name.decode(errors="surrogateescape"))
        for path, name in zip(request.paths, request.names, strict=True)
    )
    compare = import_module(f"reprorun.compare.{request.comparator}").compare_here
    try:
        return Answer(finding=compare(*files, request.settings))
    except Unreadable as error:
        return Answer(unreadable=str(error))
    except (MemoryError, RecursionError):
        return Answer(unreadable=f"it is too large or too deeply nested for {request.comparator}")


def _encoded(answer: Answer) -> bytes:
    try:
        return msgspec.msgpack.encode(answer)
    except UnicodeEncodeError:
        return msgspec.msgpack.encode(Answer(unreadable="it has names that are no text"))
