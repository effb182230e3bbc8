"""`reprorun shell`: what is there is what the run had, on pipes and on a terminal."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from .bench import REPRORUN, Bench, chown_all, client, one_message

pytestmark = pytest.mark.timeout(120)

PROMPT = "# " if os.getuid() == 0 else "$ "  # the end of bash's
SAME = ("ids", "groups", "pid1", "pids", "memory", "cpu", "shm", "interfaces", "connect", "sockets")


@pytest.fixture
def record(bench: Bench) -> Path:
    """A record of a run that leaves a file, with the directory for scratch empty."""
    bench.write({"train.py": "open('/log/result.txt', 'w').write('42')\n"})
    bench.commit()
    done = bench.exec("train.py")
    assert done.code == 0, done.err
    bench.env = {**bench.env, "TMPDIR": str(bench.root.parent / "scratch")}
    (bench.root.parent / "scratch").mkdir()
    return done.log_dir


def contents(directory: Path) -> dict[str, tuple[int, str]]:
    """Everything in a directory, with digests and the moments of the last change."""
    return {
        str(path.relative_to(directory)): (
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(directory.rglob("*"))
    }


def shells_of(record: Path) -> list[Any]:
    """The containers in which a record is looked at, running or not."""
    wanted = {"label": "reprorun"}
    with client() as engine:
        return [
            container
            for container in engine.containers.list(all=True, filters=wanted, ignore_removed=True)
            if str(record) in [mount["Source"] for mount in container.attrs["Mounts"]]
        ]


def wait_for_shell(record: Path) -> None:
    deadline = time.monotonic() + 60
    while not any(container.status == "running" for container in shells_of(record)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_until_gone(record: Path) -> None:
    deadline = time.monotonic() + 30
    while shells_of(record):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def scratch(bench: Bench) -> list[str]:
    return os.listdir(bench.env["TMPDIR"])


# ---------------------------------------------------------------- pipes


_GIVEN = json.dumps({
    "inputs": ["/workspace/data/large.txt"],
    "setuid": "/usr/bin/su",
    "hosts": ["127.0.0.1"],
    "port": 9,
    "abstract": "nobody",
})  # fmt: skip


def test_it_is_where_the_run_was(user_bench: Bench) -> None:
    """As somebody who is not root, with an input and limits: the probe finds the same again."""
    bench = user_bench
    bench.take("isolation")
    bench.write({"data/large.txt": "ignored", ".gitignore": "data/\n"})
    bench.commit()
    chown_all(bench.root.parent, bench.user)
    flags = ["--input", "data", "--memory", "96m", "--cpus", "0.5", "-e", "COLOUR=blue"]
    done = bench.exec("probe.py", _GIVEN, flags=flags)
    ran, before = done.said(), contents(done.log_dir)
    command = ("python", "probe.py", _GIVEN)
    now = bench.reprorun("shell", str(done.log_dir), "--", *command).said()
    for what in SAME:
        assert now[what] == ran[what], what
    for kind in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"):
        assert now["status"][kind] == ran["status"][kind], kind
    places, before_places = ([mount["at"] for mount in each["mounts"]] for each in (now, ran))
    assert sorted(places) == sorted([*before_places, "/record"])
    for found in (now, ran):
        del found["environment"]["HOSTNAME"]
    assert now["environment"] == ran["environment"]
    assert now["environment"]["COLOUR"] == "blue"
    assert contents(done.log_dir) == before
    assert shells_of(done.log_dir) == []


def test_a_script_on_stdin(bench: Bench, record: Path) -> None:
    before = contents(record)
    script = bench.root.parent / "script"
    script.write_text(
        "echo to stdout; echo to stderr >&2; cat /record/result.txt; ls /log\n"
        "cat train.py; echo changed >train.py; echo mine >/log/mine; echo no >/record/result.txt\n"
        "exit 7\n"
    )
    with script.open() as stdin:
        done = bench.reprorun("shell", "-q", str(record), stdin=stdin.fileno())
    assert done.code == 7
    assert done.out.startswith("to stdout\n42")
    assert "result.txt\n" not in done.out  # the log directory is a scratch one
    assert "open('/log/result.txt', 'w')" in done.out
    assert done.err.startswith("to stderr\n")
    assert "Read-only file system" in done.err
    assert contents(record) == before
    assert shells_of(record) == []
    assert scratch(bench) == []
    again = bench.reprorun("shell", "-q", str(record), "--", "cat", "train.py", "/log/mine")
    assert "changed" not in again.out
    assert (again.code, "No such file" in again.err) == (1, True)


def test_much_goes_in_and_out(bench: Bench, record: Path) -> None:
    data = os.urandom(20 << 20)
    path = bench.root.parent / "data"
    path.write_bytes(data)
    command = [REPRORUN, "shell", "-q", str(record), "--", "cat"]
    with path.open("rb") as stdin:
        out = subprocess.check_output(command, stdin=stdin, env=bench.env, timeout=120)
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()


def test_commands_that_cannot_be_run(bench: Bench, record: Path) -> None:
    done = bench.reprorun("shell", "-q", str(record), "--", "no-such-command")
    assert (done.code, "no-such-command: not found" in done.err) == (127, True)
    done = bench.reprorun("shell", str(bench.root))
    assert done.code == 2
    assert "is no record" in one_message(done.err)
    assert shells_of(record) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it(bench: Bench, record: Path, number: int) -> None:
    command = [REPRORUN, "shell", "-q", str(record), "--", "sleep", "600"]
    process = subprocess.Popen(command, env=bench.env, stdin=subprocess.PIPE)
    wait_for_shell(record)
    process.send_signal(number)
    assert process.wait(30) == 130
    assert process.stdin is not None
    process.stdin.close()
    assert shells_of(record) == []
    assert scratch(bench) == []


def test_a_kill_lets_the_shell_read_the_end(bench: Bench, record: Path) -> None:
    """What can't be caught leaves a container, but none that runs."""
    command = [REPRORUN, "shell", "-q", str(record)]
    process = subprocess.Popen(command, env=bench.env, stdin=subprocess.PIPE)
    wait_for_shell(record)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(container.status == "running" for container in shells_of(record)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for container in shells_of(record):
        container.remove()


# ---------------------------------------------------------------- a terminal


class Terminal:
    """A terminal with a program that it controls, as a window on a screen has it."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.keys, own = pty.openpty()
        self.size(40, 100)
        self.before = termios.tcgetattr(self.keys)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], env=env, stdin=own, stdout=own, stderr=own
        )
        os.close(own)
        self.seen = ""

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.keys, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self.keys, text.encode())

    @property
    def plain(self) -> str:
        """What it has said, without what moves the cursor and the like."""
        return re.sub(r"\x1b\[[?\d;]*[A-Za-z]\r?", "", self.seen)

    def until(self, text: str) -> None:
        while text not in self.plain:
            assert select.select([self.keys], [], [], 30)[0], f"{text!r} is not in {self.seen!r}"
            self.seen += os.read(self.keys, 4096).decode(errors="replace")

    def answer(self, typed: str, text: str) -> None:
        """Type a line until it is answered so: a shell that is just starting may miss something."""
        self.type(typed + "\r")
        self.until(text)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        with suppress(OSError):  # hung up by the test
            os.close(self.keys)


@pytest.fixture
def terminal(bench: Bench, record: Path) -> Iterator[Terminal]:
    env = {**bench.env, "TERM": "xterm"}
    made = Terminal([REPRORUN, "shell", "-q", str(record)], env)
    made.until(PROMPT)
    yield made
    made.close()


def test_a_terminal(bench: Bench, record: Path, terminal: Terminal) -> None:
    before = contents(record)
    assert f"/workspace{PROMPT}" in terminal.plain
    during = termios.tcgetattr(terminal.keys)
    assert not during[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    terminal.answer("echo $0 $((40 + 2)) $(id -u)", f"\r\nbash 42 {os.getuid()}\r\n")
    assert "echo $0 $((40 + 2)) $(id -u)\r\n" in terminal.plain  # its echo comes from inside
    terminal.answer("stty size", "\r\n40 100\r\n")
    terminal.size(50, 132)
    time.sleep(1)
    terminal.answer("stty size", "\r\n50 132\r\n")
    terminal.answer("echo up", "\r\nup\r\n")
    terminal.type("\x10\r")  # Ctrl-P, the line before: the engine's own would detach with it
    terminal.until("\r\nup\r\n")
    terminal.type("sleep 600\r")
    terminal.until("sleep 600\r\n")
    time.sleep(0.5)
    terminal.type("\x03")
    terminal.until(PROMPT)
    terminal.answer("echo status $?", "\r\nstatus 130\r\n")
    terminal.answer("test -t 0 && test -t 1 && tty", "\r\n/dev/pts/0\r\n")
    terminal.type("exit 5\r")
    assert terminal.process.wait(30) == 5
    assert termios.tcgetattr(terminal.keys) == terminal.before
    assert shells_of(record) == []
    assert scratch(bench) == []
    assert contents(record) == before


def test_a_terminal_whose_shell_is_killed(record: Path, terminal: Terminal) -> None:
    [container] = shells_of(record)
    container.kill()
    assert terminal.process.wait(30) == 137
    assert termios.tcgetattr(terminal.keys) == terminal.before
    assert shells_of(record) == []


def test_a_terminal_when_we_are_terminated(bench: Bench, record: Path, terminal: Terminal) -> None:
    terminal.process.terminate()
    terminal.until("interrupted")
    assert terminal.process.wait(30) == 130
    assert termios.tcgetattr(terminal.keys) == terminal.before
    assert shells_of(record) == []
    assert scratch(bench) == []


def test_a_terminal_that_is_closed(bench: Bench, record: Path, terminal: Terminal) -> None:
    os.close(terminal.keys)
    assert terminal.process.wait(30) != 0
    wait_until_gone(record)
    assert scratch(bench) == []
