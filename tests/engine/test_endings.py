"""Every way a run can end: what the command returns, what the record says, what is kept.

Of memory that runs out and children that stay, see tests/faults/container.py.
"""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reprorun.model import Record
from reprorun.store import RUN_FILE, read_record
from reprorun.workflow.outcome import FROM_OUTSIDE

from .bench import CHECKOUT, OLD_BASE, REPRORUN, Bench, Done, client, containers_of, one_message
from .complete import assert_valid
from .proxy import proxy

WAITS = """
import sys, time
print("ready", flush=True)
try:
    for _ in range(1000):  # a signal that comes just before Python sleeps is seen only afterwards
        time.sleep(0.1)
finally:
    open("left.txt", "w").write("cleaned up")
    print("cleaned", flush=True)
"""
SLOW = 6  # seconds
# An old one: this module is imported when signals are taken already, and newer ones have no file.
SLOW_PYTHON = f"""\
FROM {OLD_BASE}
RUN sed -i '1i import time; time.sleep({SLOW})' "$(python3 -c 'import io; print(io.__file__)')"
"""
IGNORES = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
open("left.txt", "w").write("half done")
print("ready", flush=True)
time.sleep(100)
"""


@pytest.fixture
def script(bench: Bench) -> Callable[[str], Bench]:
    """Makes a repository with one script in it."""

    def make(text: str) -> Bench:
        bench.write({"train.py": text})
        bench.commit()
        return bench

    return make


Script = Callable[[str], Bench]


def ended(done: Done, code: int, status: str) -> Record:
    """The record of a run that did not finish; its container is gone."""
    assert done.code == code, done.err
    assert str(CHECKOUT / "reprorun") not in done.err  # no traceback of ours
    record = done.record
    assert (record.status, record.exit_code) == (status, code)
    assert record.reason
    assert f"{record.reason} (exit code {code})" in done.err
    assert record.ended is not None
    assert_valid(done.log_dir)
    assert containers_of(record.id) == []
    return record


# ---------------------------------------------------------------- by itself


def test_the_exit_code_is_the_experiments(script: Script) -> None:
    text = "import sys\nopen('left.txt', 'w').write('kept')\nprint('before')\nsys.exit(3)\n"
    done = script(text).exec("train.py")
    record = ended(done, 3, "failed")
    assert record.reason == "ended with exit code 3"
    assert done.out == "before\n"
    assert (done.log_dir / "outputs/left.txt").read_text() == "kept"


def test_an_exception_is_shown_as_python_shows_it(script: Script) -> None:
    done = script("def f():\n    raise ValueError('no such luck')\nf()\n").exec(
        "train.py", flags=["-q"]
    )
    assert done.code == 1
    assert done.err.endswith("ValueError: no such luck\n")
    assert 'File "/workspace/train.py", line 2, in f' in done.err
    assert done.console == done.err.encode()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGSEGV, 139), (signal.SIGKILL, 137), (signal.SIGABRT, 134), (signal.SIGTERM, 143)],
)
def test_a_script_that_a_signal_kills(script: Script, number: signal.Signals, code: int) -> None:
    text = (
        "import os\nopen('left.txt', 'w').write('kept')\n"
        f"print('before', flush=True)\nos.kill(os.getpid(), {int(number)})\n"
    )
    done = script(text).exec("train.py")
    record = ended(done, code, "failed")
    assert record.reason == f"was killed by {number.name}"
    assert done.console == b"before\n"
    assert (done.log_dir / "outputs/left.txt").read_text() == "kept"


def test_a_script_that_kills_everything_it_can(script: Script) -> None:
    text = "import os, time\nopen('left.txt', 'w').write('kept')\nos.kill(-1, 9)\ntime.sleep(9)\n"
    done = script(text).exec("train.py")
    record = ended(done, 137, "failed")
    assert record.reason == "was killed by SIGKILL"
    assert (done.log_dir / "outputs/left.txt").read_text() == "kept"  # brought out by the host


def test_a_time_limit(script: Script) -> None:
    began = time.monotonic()
    done = script(WAITS).exec("train.py", flags=["--timeout", "1s"])
    assert time.monotonic() - began < 10
    record = ended(done, 124, "failed")
    assert record.reason == "exceeded its time limit of 1 s (--timeout)"
    assert done.out == "ready\ncleaned\n"
    assert b"KeyboardInterrupt" in done.console
    assert (done.log_dir / "outputs/left.txt").read_text() == "cleaned up"
    assert record.seconds is not None
    assert 0.3 < record.seconds < 5  # the clock runs from before the engine starts it


# ---------------------------------------------------------------- by the user


def until_ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


def finish(process: subprocess.Popen[bytes], log_dir: Path) -> Done:
    out, err = process.communicate(timeout=60)
    return Done(process.returncode, out.decode(), err.decode(), log_dir)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_lets_the_script_clean_up(script: Script, number: signal.Signals) -> None:
    process, log_dir = script(WAITS).start("train.py")
    until_ready(process)
    began = time.monotonic()
    process.send_signal(number)
    done = finish(process, log_dir)
    assert time.monotonic() - began < 8
    record = ended(done, 130, "interrupted")
    assert "interrupted" in (record.reason or "")
    assert done.out == "cleaned\n"
    assert done.console.startswith(b"ready\n")
    for text in (b"cleaned", b"KeyboardInterrupt"):  # of two streams: their lines may mix
        assert text in done.console
    assert (log_dir / "outputs/left.txt").read_text() == "cleaned up"
    assert "Ctrl-C again kills it" in done.err


def test_a_second_interrupt_kills(script: Script) -> None:
    process, log_dir = script(IGNORES).start("train.py")
    until_ready(process)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    assert store_status(log_dir) == "running"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    done = finish(process, log_dir)
    assert time.monotonic() - began < 5
    ended(done, 130, "interrupted")
    assert "killing it" in done.err
    assert (log_dir / "outputs/left.txt").read_text() == "half done"


@pytest.fixture
def slow_python() -> Iterator[str]:
    """A base image whose Python waits while it starts, when it takes signals already."""
    tag = f"reprorun-test/slow-python:{uuid.uuid4().hex[:12]}"
    with client() as engine:
        engine.images.build(fileobj=io.BytesIO(SLOW_PYTHON.encode()), tag=tag, rm=True)
        yield tag
        engine.images.remove(tag, force=True)


def test_stopped_from_outside_while_python_starts(script: Script, slow_python: str) -> None:
    """As by `docker stop`, or by an engine that shuts down: the experiment has not begun."""
    process, log_dir = script(WAITS).start("train.py", "--base-image", slow_python)
    while not (log_dir / RUN_FILE).exists() or store_status(log_dir) != "running":
        assert process.poll() is None
        time.sleep(0.05)
    with client() as engine:
        name = f"reprorun-{read_record(str(log_dir)).id}"
        while not engine.api.inspect_container(name)["State"]["Running"]:
            assert process.poll() is None
        time.sleep(1)
        engine.api.stop(name, 30)
    done = finish(process, log_dir)
    assert ended(done, 130, "interrupted").reason == FROM_OUTSIDE
    assert done.console == b""


def store_status(log_dir: Path) -> str:
    return read_record(str(log_dir)).status


def test_ctrl_c_on_a_terminal(script: Script) -> None:
    bench = script(WAITS)
    log_dir = bench.new_log_dir()
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(bench.root)
        words = [REPRORUN, "exec", "--log-dir", str(log_dir), "train.py"]
        os.execve(REPRORUN, words, {**bench.env, "TERM": "xterm", "COLUMNS": "200"})
    shown = read_terminal(terminal, until=b"ready")
    os.write(terminal, b"\x03")
    shown += read_terminal(terminal)
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    text = shown.decode(errors="replace")
    assert "\x1b[" in text  # live, in colour
    for step in ("code", "running", "interrupted", "record"):
        assert step in text, step
    assert store_status(log_dir) == "interrupted"
    assert (log_dir / "outputs/left.txt").read_text() == "cleaned up"


def read_terminal(terminal: int, until: bytes | None = None) -> bytes:
    """What a terminal shows until some text, or until nobody writes to it any more."""
    shown = b""
    while until is None or until not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # the other side is closed
            piece = b""
        if not piece:
            assert until is None, shown
            break
        shown += piece
    return shown


def test_an_interrupt_while_the_image_is_built(script: Script, tmp_path: Path) -> None:
    bench = script(f"print('never')  # {uuid.uuid4()}: no image of it is there yet\n")
    with proxy(tmp_path, hold="/images/load") as engine:
        bench.env["DOCKER_HOST"] = engine.address
        process, log_dir = bench.start("train.py")
        assert engine.held.wait(60)
        process.send_signal(signal.SIGINT)
        done = finish(process, log_dir)
    assert (done.code, done.out) == (130, "")
    assert "Traceback" not in done.err
    assert done.record.status == "interrupted"
    assert done.record.ended is not None
    assert containers_of(done.record.id) == []


@pytest.fixture
def own_state(bench: Bench, tmp_path: Path) -> None:
    """What other tests have under way is not looked at."""
    bench.env = {**bench.env, "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.mark.usefixtures("own_state")
def test_an_interrupt_about_the_start_leaves_no_container(script: Script) -> None:
    bench = script("open('left.txt', 'w').write('kept')\n")
    assert bench.exec("train.py").code == 0  # the image is there now
    for number in range(8):
        process, log_dir = bench.start("train.py")
        assert process.stderr is not None
        assert any(b"running" in line for line in process.stderr)
        time.sleep(number * 0.003)  # its container is created, attached to, started
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode in (0, 130)  # it may have ended just before
        assert bench.reprorun("recover").code == 0
        record = read_record(str(log_dir))
        assert record.status in ("interrupted", "finished")
        assert containers_of(record.id) == []


@pytest.mark.usefixtures("own_state")
def test_an_interrupt_while_outputs_are_brought_out(script: Script, tmp_path: Path) -> None:
    """The host does that where the container's main process could not."""
    text = "import os, time\nopen('left.txt', 'w').write('kept')\nos.kill(-1, 9)\ntime.sleep(9)\n"
    bench = script(text)
    with proxy(tmp_path, hold="/changes") as engine:
        bench.env["DOCKER_HOST"] = engine.address
        process, log_dir = bench.start("train.py")
        assert engine.held.wait(60)
        process.send_signal(signal.SIGINT)
        done = finish(process, log_dir)
    assert done.code == 130
    assert "brings home what it made" in done.err
    assert done.record.status == "running"
    assert len(containers_of(done.record.id)) == 1
    del bench.env["DOCKER_HOST"]
    assert bench.reprorun("recover").code == 0
    assert (done.record.status, done.record.exit_code) == ("failed", 137)
    assert (log_dir / "outputs/left.txt").read_text() == "kept"
    assert_valid(log_dir)
    assert containers_of(done.record.id) == []


# ---------------------------------------------------------------- by the engine


def test_a_build_that_the_engine_refuses(script: Script, tmp_path: Path) -> None:
    bench = script("print('first')\n")
    assert bench.exec("train.py").code == 0  # an older image is there now
    bench.write({"train.py": f"print('second')  # {uuid.uuid4()}\n"})
    with proxy(tmp_path, refuse="/images/load") as engine:
        done = bench.exec("train.py", env={"DOCKER_HOST": engine.address})
    assert (done.code, done.out) == (125, "")
    assert "the engine refuses on purpose" in one_message(done.err)
    asked = [line for line in engine.requests if "/containers/" in line]
    assert not [line for line in asked if not line.startswith("GET ")]  # recover may look
    record = done.record
    assert record.status == "failed"
    assert "the engine refuses on purpose" in (record.reason or "")
    assert record.exit_code is None
    assert_valid(done.log_dir)


def test_a_container_that_the_engine_refuses(script: Script, tmp_path: Path) -> None:
    bench = script("print('never')\n")
    with proxy(tmp_path, refuse="/start") as engine:
        done = bench.exec("train.py", env={"DOCKER_HOST": engine.address})
    assert (done.code, done.out) == (125, "")
    assert "the engine refuses on purpose" in one_message(done.err)
    assert done.record.status == "failed"
    assert containers_of(done.record.id) == []


def test_an_engine_that_goes_away(script: Script, tmp_path: Path) -> None:
    bench = script("import time\nprint('ready', flush=True)\ntime.sleep(3)\n")
    with proxy(tmp_path, cut="/wait") as engine:
        done = bench.exec("train.py", env={"DOCKER_HOST": engine.address})
    try:
        assert done.code == 125
        one_message(done.err)
        record = done.record
        assert record.status == "lost"
        assert record.reason
        assert_valid(done.log_dir)
    finally:
        for container in containers_of(done.record.id):
            container.remove(force=True)
