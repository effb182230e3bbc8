"""An engine that stands still, and does not come back: nothing waits for it without end.

Its process is stopped (SIGSTOP), so that it takes connections and answers none. What takes a minute
or two to be noticed is made to take seconds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from reprorun import store
from reprorun.engine.docker import DockerEngine
from reprorun.engine.places import Place
from reprorun.errors import EngineUnavailable
from reprorun.model import ContainerSpec

from ..kit import BASE
from .bench import Bench, one_message
from .daemon import Daemon, daemon, hand_over

pytestmark = pytest.mark.timeout(240)

LOOK_AFTER, ANSWER_WITHIN = 1.0, 6.0
SOON = 40  # seconds
# the command, less patient
IMPATIENT = f"""
from reprorun.engine import client, connection
connection.LOOK_AFTER, client.ANSWER_WITHIN = {LOOK_AFTER}, {ANSWER_WITHIN}
client.Client.call.__kwdefaults__["within"] = {ANSWER_WITHIN}
from reprorun.cli import main
main()
"""
WAITS = """\
import os, time
print("begun", flush=True)
while not os.path.exists("/log/go"):
    time.sleep(0.05)
open("made.txt", "w").write("made")
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Daemon]:
    with daemon() as started:
        hand_over(BASE, started.address)
        yield started


@contextmanager
def still(engine: Daemon) -> Iterator[None]:
    """While the block lasts, it does nothing."""
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(engine.pid, signal.SIGCONT)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---------------------------------------------------------------- calls


@pytest.fixture
def engine(made: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerEngine]:
    monkeypatch.setattr("reprorun.engine.connection.LOOK_AFTER", LOOK_AFTER)
    monkeypatch.setattr("reprorun.engine.client.ANSWER_WITHIN", ANSWER_WITHIN)
    with closing(DockerEngine.reach(Place(address=made.address, by="the tests"))) as reached:
        yield reached


@pytest.fixture
def container(engine: DockerEngine) -> Iterator[str]:
    """One that runs, and reads nothing of what it is sent."""
    name = f"reprorun-test-{os.urandom(6).hex()}"
    spec = ContainerSpec(
        image=BASE, command=("sleep", "600"), name=name, workdir="/tmp",
        labels={"reprorun": "test"}, interactive=True,
    )  # fmt: skip
    created = engine.create(spec)
    engine.start(created)
    yield created
    engine.remove(created)


def copy_in(engine: DockerEngine, container: str) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"\0" * (1 << 20)
        time.sleep(1)  # by now it stands still
        yield b"\0" * (64 << 20)

    engine.copy_in(container, pieces())


def listen(engine: DockerEngine, container: str) -> None:
    with closing(engine.attach(container)) as output:
        next(output)


def speak(engine: DockerEngine, container: str) -> None:
    with closing(engine.converse(container)) as conversation:
        conversation.send(b"x" * (64 << 20))


@pytest.mark.parametrize("call", [DockerEngine.wait, copy_in, listen, speak])
def test_what_may_take_for_ever(
    made: Daemon, engine: DockerEngine, container: str, call: Callable[[DockerEngine, str], object]
) -> None:
    timer = threading.Timer(0.5, os.kill, (made.pid, signal.SIGSTOP))
    timer.start()
    began = time.monotonic()
    try:
        with pytest.raises(EngineUnavailable, match="does not answer"):
            call(engine, container)
    finally:
        timer.join()
        os.kill(made.pid, signal.SIGCONT)
    assert time.monotonic() - began < SOON


def test_a_container_may_be_silent(engine: DockerEngine, container: str) -> None:
    """For longer than it takes until the engine is asked whether it is there."""
    timer = threading.Timer(3 * LOOK_AFTER, engine.kill, (container,))
    timer.start()
    with closing(engine.attach(container)) as output:
        assert list(output) == []
    timer.join()
    assert engine.wait(container).exit_code == 137


# ---------------------------------------------------------------- commands


@pytest.fixture
def own(bench: Bench, made: Daemon, tmp_path: Path) -> Bench:
    bench.env |= {"DOCKER_HOST": made.address, "XDG_STATE_HOME": str(tmp_path / "state")}
    bench.write({"train.py": WAITS})
    bench.commit()
    return bench


def started(bench: Bench, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, *words], cwd=bench.root, env=bench.env,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def end_of(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, err = process.communicate(timeout=SOON)
    return process.returncode, err.decode()


def test_a_run_and_its_recovery(own: Bench, made: Daemon) -> None:
    log_dir = own.new_log_dir()
    console = log_dir / store.CONSOLE_FILE
    process = started(own, "exec", "--log-dir", str(log_dir), "train.py")
    until(lambda: console.exists() and console.read_bytes() == b"begun\n")
    with still(made):
        code, err = end_of(process)
        assert (code, "does not answer" in one_message(err)) == (125, True)
        assert store.read_record(str(log_dir)).status == "lost"
        code, err = end_of(started(own, "recover"))
        assert (code, "does not answer" in one_message(err)) == (125, True)
    process = started(own, "recover")
    time.sleep(2)
    assert process.poll() is None, "its container runs on, and is waited for"
    with still(made):
        code, err = end_of(process)
        assert (code, "does not answer" in one_message(err)) == (125, True)
    (log_dir / "go").touch()
    assert own.reprorun("recover").code == 0
    record = store.read_record(str(log_dir))
    assert (record.status, record.exit_code) == ("finished", 0)
    assert [output.path for output in record.outputs] == ["go", "outputs/made.txt"]


def test_a_shell(own: Bench, made: Daemon) -> None:
    own.write({"train.py": "print('hello')\n"})
    done = own.exec("train.py")
    assert done.code == 0, done.err
    process = started(own, "shell", "-q", str(done.log_dir), "--", "sh", "-c", "echo x; sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == b"x\n"
    with still(made):
        code, err = end_of(process)
        assert (code, "does not answer" in one_message(err)) == (125, True)
    assert own.reprorun("recover").code == 0
