"""A shell in a container: its streams, the terminal before and after, and what is left behind."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reprorun.engine.fake import FakeEngine, FakeProcess, Program
from reprorun.errors import EngineError, EngineUnavailable, UsageError
from reprorun.model import ContainerSpec, Mount
from reprorun.probe.inputs import describe_input
from reprorun.workflow import shell
from reprorun.workflow.report import Silent
from reprorun.workflow.shell import RECORD_DIR, shell_container
from reprorun.workflow.terminal import PATIENCE, Streams, connect_streams

from ...kit import FAKE_BASE

pytestmark = pytest.mark.timeout(60)

RUN = ContainerSpec(
    image="base:1",
    command=("python", "train.py"),
    name="reprorun-abc",
    env={"HELLO": "1"},
    mounts=(Mount(source="/tmp/scratch", target="/log", read_only=False),),
    user="1000:1001",
    labels={"reprorun": "test"},
)


def with_program(program: Program) -> FakeEngine:
    return FakeEngine(images={"base:1": FAKE_BASE}, programs={"/bin/sh": program})


def run_shell(container: ContainerSpec, engine: FakeEngine, streams: Streams) -> int:
    return shell.run_shell(container, (), "/tmp/scratch", engine, streams, Silent())


# ---------------------------------------------------------------- the container


def test_the_container_of_a_shell() -> None:
    made = shell_container(RUN, (), "/records/one", terminal=True)
    assert made.entrypoint is not None
    assert made.entrypoint[:2] == ("/bin/sh", "-c")
    assert "bash" in made.entrypoint[2]
    assert (made.command, made.interactive, made.tty) == ((), True, True)
    assert made.mounts == (*RUN.mounts, Mount(source="/records/one", target=RECORD_DIR))
    assert made.mounts[-1].read_only
    for same in ("image", "env", "user", "workdir", "network", "limits", "gpus", "labels"):
        assert getattr(made, same) == getattr(RUN, same)


def test_the_container_of_a_command() -> None:
    made = shell_container(RUN, ("ls", "a b; rm $HOME"), "/records/one", terminal=False)
    assert made.command == ("ls", "a b; rm $HOME")  # arguments, which no shell reads
    assert not made.tty
    assert made.entrypoint is not None
    printed = subprocess.check_output([*made.entrypoint, "printf", "%s.", "a b", "$HOME", "*"])
    assert printed == b"a b.$HOME.*."


@pytest.mark.parametrize("there", ["bash", "sh"])
def test_which_shell_it_is(tmp_path: Path, there: str) -> None:
    for name in ("sh", there):
        (tmp_path / name).write_text(f"#!/bin/sh\necho this is {name}\n")
        (tmp_path / name).chmod(0o755)
    made = shell_container(RUN, (), "/records/one", terminal=False)
    assert made.entrypoint is not None
    printed = subprocess.check_output(made.entrypoint, env={"PATH": str(tmp_path)}, text=True)
    assert printed == f"this is {there}\n"


# ---------------------------------------------------------------- files and pipes


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Callable[[bytes], Streams]]:
    opened: list[Any] = []

    def make(given: bytes) -> Streams:
        (tmp_path / "stdin").write_bytes(given)
        opened.append((tmp_path / "stdin").open("rb"))
        opened.extend((tmp_path / name).open("wb") for name in ("stdout", "stderr"))
        return Streams(
            **dict(zip(("stdin", "stdout", "stderr"), [f.fileno() for f in opened], strict=True))
        )

    yield make
    for file in opened:
        file.close()


def in_pipes() -> ContainerSpec:
    return shell_container(RUN, (), "/records/one", terminal=False)


def test_files_are_passed_through(tmp_path: Path, files: Callable[[bytes], Streams]) -> None:
    def program(process: FakeProcess) -> int:
        count = 0
        while piece := process.read():
            count += len(piece)
        process.say(f"{count} bytes\n")
        process.say("that is all\n", "stderr")
        return 7

    engine = with_program(program)
    assert run_shell(in_pipes(), engine, files(b"x" * 300_000)) == 7
    assert (tmp_path / "stdout").read_bytes() == b"300000 bytes\n"
    assert (tmp_path / "stderr").read_bytes() == b"that is all\n"
    assert engine.containers == {}


def test_a_shell_that_does_not_read(files: Callable[[bytes], Streams]) -> None:
    engine = with_program(lambda process: 0)
    assert run_shell(in_pipes(), engine, files(b"exit 1\n")) == 0


def test_input_that_does_not_end_is_not_waited_for() -> None:
    read, write = os.pipe()
    began = time.monotonic()
    try:
        engine = with_program(lambda process: 4)
        assert run_shell(in_pipes(), engine, Streams(stdin=read)) == 4
    finally:
        os.close(read)
        os.close(write)
    assert time.monotonic() - began < 4


def test_no_input() -> None:
    def program(process: FakeProcess) -> int:
        return 5 if process.read() == b"" else 6

    with open("/dev/null", "rb") as null:
        streams = Streams(stdin=null.fileno())
        assert run_shell(in_pipes(), with_program(program), streams) == 5


def test_output_that_nobody_takes(files: Callable[[bytes], Streams]) -> None:
    def program(process: FakeProcess) -> int:
        process.say("hello\n")
        process.sleep(60)
        return 0

    engine = with_program(program)
    with pytest.raises(OSError, match="No space left"), open("/dev/full", "wb") as full:
        run_shell(in_pipes(), engine, Streams(stdin=files(b"").stdin, stdout=full.fileno()))
    assert engine.containers == {}


class Refusing(FakeEngine):
    def start(self, container: str) -> None:
        raise EngineError("the engine refused: no such device")


def test_a_container_that_does_not_start(files: Callable[[bytes], Streams]) -> None:
    engine = Refusing(images={"base:1": FAKE_BASE})
    with pytest.raises(EngineError, match="no such device"):
        run_shell(in_pipes(), engine, files(b""))
    assert engine.containers == {}


# ---------------------------------------------------------------- on another machine


def test_copies_where_the_engine_does_not_see_our_files(
    tmp_path: Path, files: Callable[[bytes], Streams]
) -> None:
    places = {name: tmp_path / name for name in ("scratch", "record", "data")}
    for name, place in places.items():
        place.mkdir()
        (place / "run.json").write_text(name)
    (places["record"] / "outputs").mkdir()
    (places["record"] / "outputs/result.txt").write_text("42")
    seen: dict[str, bytes] = {}

    def program(process: FakeProcess) -> int:
        seen.update(process.files)
        process.write("/log/made.txt", b"made")
        process.say(process.read().decode())
        return 7

    run = replace(RUN, mounts=(Mount(source=str(places["scratch"]), target="/log", read_only=False),
                               Mount(source=str(places["data"]), target="/data")))  # fmt: skip
    container = shell_container(run, (), str(places["record"]), terminal=False)
    inputs = (describe_input(str(places["data"]), "/data"),)
    engine, told = with_program(program), Told()
    engine.remote = True
    streams = files(b"typed")
    assert shell.run_shell(container, inputs, str(places["scratch"]), engine, streams, told) == 7
    assert seen == {
        "/log/run.json": b"scratch", "/data/run.json": b"data",
        "/record/run.json": b"record", "/record/outputs/result.txt": b"42",
    }  # fmt: skip
    assert (tmp_path / "stdout").read_bytes() == b"typed"
    assert told.notes == ["the engine does not see our files: the shell has copies of them"]
    assert (engine.specs[-1].mounts, engine.specs[-1].interactive) == ((), True)
    assert sorted(os.listdir(places["scratch"])) == ["run.json"]  # nothing comes back
    assert engine.containers == {}


def test_an_input_that_changed_is_not_taken_for_the_runs(
    tmp_path: Path, files: Callable[[bytes], Streams]
) -> None:
    for name in ("scratch", "record", "data"):
        (tmp_path / name).mkdir()
    inputs = (describe_input(str(tmp_path / "data"), "/data"),)
    (tmp_path / "data/late.csv").write_text("1")
    mount = Mount(source=str(tmp_path / "data"), target="/data")
    container = shell_container(
        replace(RUN, mounts=(mount,)), (), str(tmp_path / "record"), terminal=False
    )
    engine = with_program(lambda process: 0)
    engine.remote = True
    with pytest.raises(UsageError, match="was changed after it had been hashed"):
        shell.run_shell(container, inputs, str(tmp_path / "scratch"), engine, files(b""), Silent())
    assert engine.containers == {}


class Told(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


# ---------------------------------------------------------------- a terminal


class Terminal:
    """A terminal with somebody in front of it, who types what a function says."""

    def __init__(self) -> None:
        self.keys, self.own = pty.openpty()
        self.seen = b""

    @property
    def streams(self) -> Streams:
        return Streams(stdin=self.own, stdout=self.own, stderr=self.own)

    def type(self, text: bytes) -> None:
        os.write(self.keys, text)

    def until(self, text: bytes) -> None:
        """Read until it says something."""
        while text not in self.seen:
            self.seen += os.read(self.keys, 1024)

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.own, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self.own)

    def meanwhile(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    made.size(24, 80)
    yield made
    for descriptor in (made.keys, made.own):
        try:
            os.close(descriptor)
        except OSError:
            assert descriptor == made.keys  # hung up by the test


def in_terminal() -> ContainerSpec:
    return shell_container(RUN, (), "/records/one", terminal=True)


def prompting(process: FakeProcess) -> int:
    """A shell that says what it read and how large it is, until it reads q."""
    process.say("ready$ ")
    while (piece := process.read()) != b"q":
        process.say(f"read {piece!r} at {process.size}$ ")
    return 3


def test_it_is_a_terminal_only_at_both_ends(terminal: Terminal) -> None:
    assert terminal.streams.terminal
    with open("/dev/null", "rb") as null:
        assert not Streams(stdin=null.fileno(), stdout=terminal.own).terminal
        assert not Streams(stdin=terminal.own, stdout=null.fileno()).terminal


def test_every_key_goes_through(terminal: Terminal) -> None:
    before, during = terminal.settings(), []

    def user() -> None:
        terminal.until(b"ready$ ")
        during.append(terminal.settings())
        terminal.type(b"\x03")  # Ctrl-C
        terminal.until(b"read b'\\x03' at (24, 80)$ ")
        terminal.type(b"\x1a")  # Ctrl-Z
        terminal.until(b"read b'\\x1a'")
        terminal.type(b"q")

    engine = with_program(prompting)
    typing = terminal.meanwhile(user)
    assert run_shell(in_terminal(), engine, terminal.streams) == 3
    typing.join()
    assert not during[0][tty.LFLAG] & (termios.ICANON | termios.ECHO | termios.ISIG)
    assert terminal.settings() == before
    assert engine.containers == {}


def test_it_is_told_of_a_new_size(terminal: Terminal) -> None:
    def user() -> None:
        terminal.until(b"ready$ ")
        terminal.size(50, 132)
        os.kill(os.getpid(), signal.SIGWINCH)  # as the kernel does to who is in the foreground
        while b"at (50, 132)" not in terminal.seen:
            terminal.seen = b""
            terminal.type(b"x")
            terminal.until(b"$ ")
        terminal.type(b"q")

    before = signal.getsignal(signal.SIGWINCH)
    typing = terminal.meanwhile(user)
    assert run_shell(in_terminal(), with_program(prompting), terminal.streams) == 3
    typing.join()
    assert signal.getsignal(signal.SIGWINCH) == before


def test_the_terminal_is_as_before_after_an_error(terminal: Terminal) -> None:
    class Breaking(FakeEngine):
        def converse(self, container: str) -> Any:
            conversation = super().converse(container)
            conversation.__class__ = type("Broken", (type(conversation),), {"__next__": break_off})
            return conversation

    def break_off(conversation: Any) -> Any:
        raise EngineUnavailable("the engine does not answer")

    before = terminal.settings()
    engine = Breaking(images={"base:1": FAKE_BASE}, programs={"/bin/sh": prompting})
    with pytest.raises(EngineUnavailable):
        run_shell(in_terminal(), engine, terminal.streams)
    assert terminal.settings() == before
    assert engine.containers == {}


def test_the_terminal_is_as_before_after_a_signal(terminal: Terminal) -> None:
    def user() -> None:
        terminal.until(b"ready$ ")
        os.kill(os.getpid(), signal.SIGTERM)

    before = terminal.settings()
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    typing = terminal.meanwhile(user)
    engine = with_program(prompting)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_shell(in_terminal(), engine, terminal.streams)
    finally:
        signal.signal(signal.SIGTERM, handler)
    typing.join()
    assert terminal.settings() == before
    assert engine.containers == {}


@pytest.mark.parametrize("speaks", [True, False])
def test_a_terminal_that_is_hung_up(terminal: Terminal, speaks: bool) -> None:
    def program(process: FakeProcess) -> int:
        process.say("ready$ ")
        while True:
            process.sleep(0.01)
            if speaks:
                process.say("and on")

    def user() -> None:
        terminal.until(b"ready$ ")
        os.close(terminal.keys)

    engine = with_program(program)
    terminal.meanwhile(user)
    with pytest.raises(KeyboardInterrupt):
        run_shell(in_terminal(), engine, terminal.streams)
    assert engine.containers == {}


def test_input_that_nobody_takes_holds_nothing_up(files: Callable[[bytes], Streams]) -> None:
    class Full:
        """A container that prints something and exits, but takes no input."""

        def __init__(self) -> None:
            self.sending, self.closed = threading.Event(), threading.Event()

        def __iter__(self) -> Iterator[Any]:
            self.sending.wait()
            yield "stdout", b"bye"

        def send(self, data: bytes) -> None:
            self.sending.set()
            self.closed.wait()

        def send_end(self) -> None:
            """It may come to that, when the file is at its end before we are told to stop."""

        def close(self) -> None:
            self.closed.set()

    began = time.monotonic()
    full: Any = Full()
    connect_streams(full, files(b"hello"))
    assert time.monotonic() - began < PATIENCE / 2
