"""Killed commands on the real engine: `reprorun recover` makes all true that they have left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reprorun.store import read_record
from reprorun.workflow.outcome import FROM_OUTSIDE

from .bench import CHECKOUT, REPRORUN, Bench, Done, containers_of
from .complete import assert_complete, assert_valid
from .proxy import proxy

KILLS = 32
MANY_KILLS = 220
WAITS = """\
import os, sys, time
sys.stdout.write("begun\\n")
open("made.txt", "w").write("made")
while not os.path.exists("/log/go"):
    time.sleep(0.05)
os.unlink("/log/go")
sys.stdout.write("done\\n")
"""

SAVES = """\
import time
try:
    print("begun", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    open("saved.txt", "w").write("a part of it")
"""


@pytest.fixture
def own(bench: Bench, tmp_path: Path) -> Bench:
    """A bench with a state of its own: other tests have runs under way."""
    bench.env = {**bench.env, "XDG_STATE_HOME": str(tmp_path / "state")}
    bench.write({"train.py": WAITS})
    bench.commit()
    return bench


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def begun(log_dir: Path) -> Callable[[], bool]:
    """Whether the experiment has said something."""
    console = log_dir / "console.log"
    return lambda: console.exists() and console.read_bytes() == b"begun\n"


def left_running(own: Bench, *flags: str) -> tuple[Path, str]:
    """A run whose process was killed: the record, and its id."""
    process, log_dir = own.start("train.py", *flags)
    until(begun(log_dir))
    kill(process)
    return log_dir, read_record(str(log_dir)).id


def recover(own: Bench, log_dir: Path, *flags: str) -> Done:
    return own.reprorun("recover", *flags, log_dir=log_dir)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kills", [KILLS, pytest.param(MANY_KILLS, marks=pytest.mark.long)])
def test_commands_killed_at_their_steps(kills: int, tmp_path: Path) -> None:
    figures = tmp_path / "kills.json"
    words = ("kills", "--kills", str(kills), "--json", str(figures))
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *words],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    commands = json.loads(figures.read_text())["commands"]
    assert sum(each["kills"] for each in commands.values()) >= kills * 0.9  # some have few steps
    assert all(each["lost"] + each["false"] + each["left"] == 0 for each in commands.values())


def test_a_run_that_goes_on_is_finished_as_if_nothing_had_been(own: Bench) -> None:
    log_dir, _ = left_running(own)
    waiting = subprocess.Popen(
        [REPRORUN, "recover"], cwd=own.root, env=own.env, stdout=subprocess.PIPE
    )
    time.sleep(0.5)
    (log_dir / "go").touch()
    out, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, out.split()[0]) == (0, b"finished")
    record = assert_complete(Done(0, "", "", log_dir), own, "train.py")
    assert (log_dir / "console.log").read_bytes() == b"begun\ndone\n"
    assert [output.path for output in record.outputs] == ["outputs/made.txt"]
    assert record.seconds
    assert record.seconds > 0.5  # the guest's own measure
    assert recover(own, log_dir).out == "nothing to recover\n"


def test_ctrl_c_leaves_it_running(own: Bench) -> None:
    log_dir, run_id = left_running(own)
    waiting = subprocess.Popen(
        [REPRORUN, "recover"], cwd=own.root, env=own.env, stderr=subprocess.PIPE
    )
    assert waiting.stderr
    assert b"waiting" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert read_record(str(log_dir)).status == "running"
    assert [container.status for container in containers_of(run_id)] == ["running"]
    (log_dir / "go").touch()
    assert recover(own, log_dir).code == 0
    assert read_record(str(log_dir)).status == "finished"


def test_its_time_limit_counts_from_its_start(own: Bench) -> None:
    log_dir, run_id = left_running(own, "--timeout", "3")
    done = recover(own, log_dir)
    assert (done.code, done.record.status, done.record.exit_code) == (0, "failed", 124)
    assert done.record.reason == "exceeded its time limit of 3 s (--timeout)"
    assert done.record.seconds
    assert 1.5 < done.record.seconds < 8  # the engine's time to start it counts, too
    assert_valid(log_dir)
    assert containers_of(run_id) == []


def test_who_is_stopped_from_outside_and_saves_what_there_is_was_interrupted(own: Bench) -> None:
    own.write({"train.py": SAVES})
    log_dir, run_id = left_running(own)
    for container in containers_of(run_id):
        container.stop(timeout=30)
    done = recover(own, log_dir)
    assert (done.code, done.record.status, done.record.exit_code) == (0, "interrupted", 130)
    assert done.record.reason == FROM_OUTSIDE
    assert [output.path for output in done.record.outputs] == ["outputs/saved.txt"]
    assert_valid(log_dir)


def test_the_next_command_finishes_what_has_ended(own: Bench) -> None:
    log_dir, run_id = left_running(own)
    own.write({"other.py": "print('other')\n"})
    first = own.exec("other.py")
    assert first.code == 0
    assert "running (its container runs on without us" in first.err
    assert read_record(str(log_dir)).status == "running"
    (log_dir / "go").touch()
    until(lambda: [each.status for each in containers_of(run_id)] == ["exited"])
    second = own.exec("other.py")
    assert f"{log_dir}: finished (exit code 0)" in second.err
    assert read_record(str(log_dir)).status == "finished"
    third = own.exec("other.py")
    assert "left from before" not in third.err


def test_an_engine_that_stopped_answering(own: Bench, tmp_path: Path) -> None:
    with proxy(tmp_path) as between:
        own.env = {**own.env, "DOCKER_HOST": between.address}
        process, log_dir = own.start("train.py")
        until(begun(log_dir))
        between.close()
        process.communicate(timeout=60)
        assert process.returncode == 125
    record = read_record(str(log_dir))
    assert record.status == "lost"
    there = own.env.pop("DOCKER_HOST")
    (log_dir / "go").touch()
    until(lambda: [each.status for each in containers_of(record.id)] == ["exited"])
    assert recover(own, log_dir).code == 0, there  # found by its label, whatever led to the engine
    record = read_record(str(log_dir))
    assert (record.status, record.exit_code, record.reason) == ("finished", 0, None)
    assert (log_dir / "console.log").read_bytes() == b"begun\ndone\n"


def test_a_container_that_was_removed(own: Bench) -> None:
    log_dir, run_id = left_running(own)
    for container in containers_of(run_id):
        container.remove(force=True)
    done = recover(own, log_dir, "--json")
    assert done.code == 1
    [told] = json.loads(done.out)
    assert (told["what"], told["name"], told["id"]) == ("lost", str(log_dir), run_id)
    assert "its container is gone" in told["text"]
    assert done.record.status == "lost"
    assert_valid(log_dir)


def test_a_run_in_the_hands_of_a_process_is_left_alone(own: Bench) -> None:
    process, log_dir = own.start("train.py")
    until(begun(log_dir))
    assert recover(own, log_dir).out == "nothing to recover\n"
    assert recover(own, log_dir, str(log_dir.parent)).out == "nothing to recover\n"
    (log_dir / "go").touch()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert read_record(str(log_dir)).status == "finished"


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_after_a_power_failure_records_are_found_by_their_place(
    spoil: Callable[[Path], object], own: Bench
) -> None:
    log_dir, _ = left_running(own)
    for path in Path(own.env["XDG_STATE_HOME"], "reprorun/held").iterdir():
        spoil(path)
    (log_dir / "go").touch()
    assert recover(own, log_dir, str(log_dir.parent)).code == 0
    assert read_record(str(log_dir)).status == "finished"
    assert os.listdir(Path(own.env["XDG_STATE_HOME"], "reprorun/held")) == []
