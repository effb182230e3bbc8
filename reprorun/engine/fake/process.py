"""What runs in a fake container: a Python function, in a thread, that sees a `FakeProcess`."""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterable
from datetime import datetime, timezone

from reprorun.engine.protocol import Stream
from reprorun.model import Change, ContainerSpec

Program = Callable[["FakeProcess"], int]
"""Runs in place of a program and returns its exit code."""

INTERRUPTED = 130
KILLED = 137


class Killed(BaseException):
    """Unwinds a program that was interrupted or killed."""


class FakeProcess:
    """What a program sees of its container."""

    def __init__(self, spec: ContainerSpec, base: Iterable[str]) -> None:
        self.spec = spec
        self.output: queue.Queue[tuple[Stream, bytes] | None] = queue.Queue()
        self.input: queue.Queue[bytes | None] = queue.Queue()
        self.printed = b""
        self.size = (0, 0)  # rows and columns of its terminal
        self.interrupted = threading.Event()
        self.killed = threading.Event()
        self.ignores_interrupts = False
        self.changes: dict[str, Change] = {}
        self.files: dict[str, bytes] = {}
        self._base = frozenset(base)

    def say(self, text: str, stream: Stream = "stdout") -> None:
        """Print."""
        if self.spec.tty:
            stream, text = "stdout", text.replace("\n", "\r\n")
        self.printed += text.encode()
        self.output.put((stream, text.encode()))

    def read(self) -> bytes:
        """A piece of its input as it was sent; empty at the end, as where nothing can be sent."""
        piece = self.input.get() if self.spec.interactive else None
        if self.killed.is_set():
            raise Killed
        return piece or b""

    def write(self, path: str, data: bytes) -> None:
        """Write a file, in a mounted directory or in the container's own file system."""
        target = os.path.join(self.spec.workdir, path)
        for mount in sorted(self.spec.mounts, key=lambda mount: -len(mount.target)):
            inside = os.path.relpath(target, mount.target)
            if not inside.startswith(".."):
                if mount.read_only:
                    raise OSError(f"{path}: read-only file system")
                destination = os.path.normpath(os.path.join(mount.source, inside))
                os.makedirs(os.path.dirname(destination), exist_ok=True)
                with open(destination, "wb") as file:
                    file.write(data)
                return
        known = target in self._base or target in self.files
        self.files[target] = data
        self.changes[target] = Change(path=target, kind="changed" if known else "added")

    def remove(self, path: str) -> None:
        """Remove a file of the container's own file system."""
        target = os.path.join(self.spec.workdir, path)
        self.files.pop(target, None)
        self.changes.pop(target, None)
        if target in self._base:
            self.changes[target] = Change(path=target, kind="deleted")

    def kill(self) -> None:
        """End the program, whatever it waits for."""
        self.killed.set()
        self.interrupted.set()
        self.input.put(None)

    def sleep(self, seconds: float) -> None:
        """Sleep; ends early, and the program with it, when the container is stopped."""
        waiting_for = self.killed if self.ignores_interrupts else self.interrupted
        if waiting_for.wait(seconds):
            raise Killed


class FakeOutput:
    """What a program says, from its queue."""

    def __init__(self, pieces: queue.Queue[tuple[Stream, bytes] | None]) -> None:
        self._pieces = pieces

    def __iter__(self) -> FakeOutput:
        return self

    def __next__(self) -> tuple[Stream, bytes]:
        piece = self._pieces.get()
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        pass


class FakeConversation(FakeOutput):
    """The same, and what it reads."""

    def __init__(self, process: FakeProcess) -> None:
        super().__init__(process.output)
        self._input = process.input

    def send(self, data: bytes) -> None:
        self._input.put(data)

    def send_end(self) -> None:
        self._input.put(None)

    def close(self) -> None:
        self.send_end()
        self._pieces.put(None)


class Container:
    """A program with its process, and how it ended."""

    def __init__(self, spec: ContainerSpec, program: Program, base: Iterable[str]) -> None:
        self.process = FakeProcess(spec, base)
        self.program = program
        self.created = now()
        self.started: str | None = None
        self.ended: str | None = None
        self.exit_code: int | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            code = self.program(self.process)
        except Killed:
            code = KILLED if self.process.killed.is_set() else INTERRUPTED
        except Exception:  # noqa: BLE001  a program ends by what it does not catch
            self.process.say(traceback.format_exc(), "stderr")
            code = 1
        self.ended = now()
        self.exit_code = code
        self.process.output.put(None)


def now() -> str:
    """The time, as engines tell it."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")
