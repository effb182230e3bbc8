"""The container's main process, run as the container runs it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import reprorun.experiment
from reprorun.experiment import supervise
from reprorun.model import STOP_SIGNAL as STOP_NAME

STOP_SIGNAL = signal.Signals[STOP_NAME]
SCRIPT = str(Path(reprorun.experiment.__file__).with_name("supervise.py"))
COMMAND = [sys.executable, "-I", "-S", SCRIPT]


@pytest.fixture
def environment(tmp_path):
    for name in ("log", "workspace"):
        (tmp_path / name).mkdir()
    told = {"log_dir": str(tmp_path / "log"), "root": str(tmp_path / "workspace")}
    return {**os.environ, "REPRORUN_GUEST": json.dumps(told)}


def run(*command: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*COMMAND, *command], capture_output=True, text=True, timeout=30, **options
    )


def report(tmp_path: Path) -> dict:
    assert [path.name for path in (tmp_path / "log").iterdir()] == [".reprorun-guest.json"]
    return json.loads((tmp_path / "log" / ".reprorun-guest.json").read_text())


@pytest.mark.parametrize("code", [0, 1, 3, 125, 255])
def test_the_exit_code_is_the_commands(environment, tmp_path, code):
    done = run("sh", "-c", f"echo out; echo err >&2; exit {code}", env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (code, "out\n", "err\n")
    assert report(tmp_path)["exit_code"] == code
    assert report(tmp_path)["signal"] is None


def test_ended_by_a_signal(environment, tmp_path):
    assert run("sh", "-c", "kill -9 $$", env=environment).returncode == 137
    assert report(tmp_path)["signal"] == "SIGKILL"
    assert report(tmp_path)["exit_code"] == 137


def test_the_report(environment, tmp_path):
    before = datetime.datetime.now(datetime.timezone.utc)
    run(
        sys.executable, "-c", "import time; x = b'x' * 50_000_000; time.sleep(0.2)", env=environment
    )
    after = datetime.datetime.now(datetime.timezone.utc)
    facts = report(tmp_path)
    started, ended = (datetime.datetime.fromisoformat(facts[key]) for key in ("started", "ended"))
    assert before <= started < ended <= after
    assert len(facts["started"]) == len("2026-01-01T00:00:00.000000+00:00")
    assert 0.2 <= facts["seconds"] <= (after - before).total_seconds()
    assert 50_000_000 < facts["peak_memory"] < 500_000_000
    assert facts["oom_killed"] is False
    assert facts["python"] == platform.python_version()
    assert {*facts} == {
        *("started", "ended", "seconds", "exit_code", "signal", "interrupted"),
        *("peak_memory", "oom_killed", "python", "outputs_kept", "not_kept"),
        *("cpu_model", "cpu_flags"),
    }
    with open("/proc/cpuinfo") as file:
        cpuinfo = file.read()
    assert facts["cpu_model"] in cpuinfo
    assert facts["cpu_flags"] + "\n" in cpuinfo
    assert "\n" not in facts["cpu_flags"]


SET_BACK = """
import runpy, sys, time
ahead = iter([86400])
wall, coarse = time.time, time.clock_gettime_ns
time.time = lambda: wall() + next(ahead, 0)
time.clock_gettime_ns = lambda clock: coarse(clock) + 86400 * 10**9
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_clock_that_is_set_back_hides_no_outputs(environment, tmp_path):
    """Files are older then than the moment from which on changes count: the host looks itself."""
    shell = ["sh", "-c", f"echo made > {tmp_path}/workspace/made.txt"]
    command = [sys.executable, "-I", "-S", "-c", SET_BACK, SCRIPT, *shell]
    assert subprocess.run(command, env=environment, check=False, timeout=30).returncode == 0
    facts = report(tmp_path)
    assert facts["ended"] < facts["started"]
    assert 0 < facts["seconds"] < 20
    assert facts["outputs_kept"] is False


def test_not_found_and_not_executable(tmp_path):
    done = run("no-such-command")
    assert done.returncode == 127
    assert done.stderr.startswith("reprorun: error: no-such-command: not found")
    (tmp_path / "plain").write_text("x")
    done = run(str(tmp_path / "plain"))
    assert done.returncode == 126
    assert done.stderr.count("\n") == 1
    assert "Permission denied" in done.stderr
    assert run(str(tmp_path)).returncode == 126
    assert run().returncode == 2


def started(*command: str, **options) -> subprocess.Popen:
    """Starts a command that says `ready`, and waits until it does."""
    process = subprocess.Popen([*COMMAND, *command], stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout.readline() == "ready\n"
    return process


def test_interrupt_reaches_python_once(environment, tmp_path):
    code = """
import time
for _ in range(2):
    try:
        if _ == 0:
            print("ready", flush=True)
        time.sleep(30 if _ == 0 else 0.3)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
raise SystemExit(7)
"""
    process = started(sys.executable, "-c", code, env=environment, start_new_session=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the whole group
    assert process.communicate(timeout=20)[0] == "interrupted\n"
    assert process.returncode == 7
    assert report(tmp_path)["exit_code"] == 7
    assert report(tmp_path)["interrupted"] is True


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
def test_signals_are_passed_on(environment, tmp_path, name):
    process = started("sh", "-c", "ulimit -c 0; echo ready; exec sleep 30", env=environment)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=20)
    assert process.returncode == 128 + getattr(signal, name)
    assert report(tmp_path)["signal"] == name
    assert report(tmp_path)["interrupted"] is (name == "SIGINT")


def test_to_stop_is_to_interrupt(environment, tmp_path):
    process = started("sh", "-c", "echo ready; exec sleep 30", env=environment)
    process.send_signal(STOP_SIGNAL)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert report(tmp_path)["signal"] == "SIGINT"
    assert report(tmp_path)["interrupted"] is True


def test_stopped_at_any_moment_of_its_start(environment, tmp_path):
    """It dies of the signal before the command is there, or interrupts that; it says nothing."""
    endings = set()
    for milliseconds in (*range(0, 100, 4), *range(100, 5000, 100)):
        if milliseconds >= 100 and len(endings) == 2:
            break  # on a busy machine it takes longer until the command is there
        process = subprocess.Popen(
            [*COMMAND, "sleep", "30"], env=environment, stderr=subprocess.PIPE
        )
        time.sleep(milliseconds / 1000)
        process.send_signal(STOP_SIGNAL)
        assert process.communicate(timeout=20)[1] == b""
        endings.add(process.returncode)
        if process.returncode == 130:
            assert report(tmp_path)["interrupted"] is True
    assert endings == {-STOP_SIGNAL, 130}


def test_a_stop_after_the_end_of_the_command_has_not_ended_it(environment, tmp_path):
    many = "for n in range(20_000): open(f'{n}.txt', 'w').close()\nraise SystemExit(3)"
    process = subprocess.Popen(
        [*COMMAND, sys.executable, "-c", many], env=environment, cwd=tmp_path / "workspace"
    )
    while not (tmp_path / "log/outputs").exists():
        time.sleep(0.001)
    process.send_signal(STOP_SIGNAL)
    assert process.wait(20) == 3
    told = json.loads((tmp_path / "log/.reprorun-guest.json").read_text())
    assert told["interrupted"] is False


def test_who_is_stopped_and_ends_well_was_stopped(environment, tmp_path):
    code = "trap 'exit 0' INT; echo ready; while :; do sleep 0.05; done"
    process = started("sh", "-c", code, env=environment)
    process.send_signal(STOP_SIGNAL)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert report(tmp_path)["interrupted"] is True


def test_a_stop_counts_while_the_command_lives(monkeypatch):
    """Also between its end and the moment in which that is noticed."""
    passed_on = set()
    monkeypatch.setattr(supervise, "_PASSED_ON", passed_on)
    child = subprocess.Popen(["true"], start_new_session=True)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    supervise._pass_on(child.pid, signal.SIGINT)
    assert not passed_on
    child.wait(20)
    supervise._pass_on(child.pid, signal.SIGINT)
    assert not passed_on
    with subprocess.Popen(["sleep", "30"], start_new_session=True) as child:
        supervise._pass_on(child.pid, STOP_SIGNAL)
    assert passed_on == {signal.SIGINT}


def test_signals_are_default_in_the_command():
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "signal.pthread_sigmask(signal.SIG_BLOCK, []);"
        f"import os; os.execv({sys.executable!r}, {[*COMMAND, 'cat', '/proc/self/status']!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    masks = dict(line.split(":\t") for line in done.stdout.splitlines() if line.startswith("Sig"))
    assert int(masks["SigIgn"], 16) & 0x7FFFFFFF == 0
    assert int(masks["SigBlk"], 16) & 0x7FFFFFFF == 0


def test_orphans_are_reaped(environment):
    # A subreaper gets orphans as process 1 does. The grandchild ends before its grandparent.
    code = (
        "import ctypes, os; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0);"
        f"os.execv({sys.executable!r}, {[*COMMAND, 'sh', '-c']!r} + "
        "['(sleep 0.1 &); sleep 0.5;"
        " for p in $(cat /proc/$PPID/task/$PPID/children); do grep State /proc/$p/status; done'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "State:" in done.stdout
    assert "zombie" not in done.stdout


def test_no_report_outside_a_container(tmp_path):
    assert run("true", cwd=tmp_path).returncode == 0
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("told", ["{", "[]", '{"log_dir": "/no/such/place"}', "{}"])
def test_a_guest_variable_that_makes_no_sense_changes_nothing_else(told):
    done = run("sh", "-c", "exit 5", env={**os.environ, "REPRORUN_GUEST": told})
    assert done.returncode == 5
    assert done.stderr.startswith("reprorun: error: REPRORUN_GUEST can't be understood")
    assert done.stderr.count("\n") == 1


def test_a_report_that_cannot_be_written_changes_nothing_else(tmp_path):
    told = json.dumps({"log_dir": "/no/such/place", "root": str(tmp_path)})
    done = run("sh", "-c", "exit 5", env={**os.environ, "REPRORUN_GUEST": told})
    assert done.returncode == 5
    assert done.stderr.startswith("reprorun: error: can't write .reprorun-guest.json")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("root", ["/no/such/place", 7])
def test_a_working_tree_that_cannot_be_read_changes_nothing_else(tmp_path, root):
    (tmp_path / "log").mkdir()
    told = json.dumps({"log_dir": str(tmp_path / "log"), "root": root})
    done = run("sh", "-c", "exit 5", env={**os.environ, "REPRORUN_GUEST": told})
    assert done.returncode == 5
    assert "left to the host" in done.stderr
    assert report(tmp_path)["outputs_kept"] is False


def test_outputs_are_brought_out(environment, tmp_path):
    (tmp_path / "workspace" / "old.txt").write_text("old")
    time.sleep(0.02)
    script = "echo new >new.txt; mkdir -p a/b; echo deep >a/b/deep.txt; mkfifo pipe; exit 4"
    done = run("sh", "-c", script, env=environment, cwd=tmp_path / "workspace")
    assert done.returncode == 4
    outputs = tmp_path / "log" / "outputs"
    assert (outputs / "new.txt").read_text() == "new\n"
    assert (outputs / "a" / "b" / "deep.txt").read_text() == "deep\n"
    assert not (outputs / "old.txt").exists()
    facts = json.loads((tmp_path / "log" / ".reprorun-guest.json").read_text())
    assert facts["outputs_kept"] is True
    assert facts["not_kept"] == [{"path": "pipe", "reason": "not a regular file"}]


def test_a_full_disk_changes_nothing_else(environment, tmp_path):
    # A limit on the size of files fails as a full disk does, without needing one.
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *COMMAND, "sh", "-c", "exit 5"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 5
    assert done.stderr.startswith("reprorun: error: can't write .reprorun-guest.json")
    assert [*(tmp_path / "log").iterdir()] == []


@pytest.mark.parametrize(
    "text", ["low 0\nhigh 0\noom 2\noom_kill 2\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"]
)
def test_kills_for_want_of_memory_are_counted(monkeypatch, tmp_path, text):
    (tmp_path / "counter").write_text(text)
    monkeypatch.setattr(supervise, "_OOM_COUNTERS", ("/no/such/file", str(tmp_path / "counter")))
    assert supervise._oom_kills() == 2
    monkeypatch.setattr(supervise, "_OOM_COUNTERS", ("/no/such/file",))
    assert supervise._oom_kills() == 0


def test_only_kills_during_the_run_count(monkeypatch, environment, tmp_path):
    told = []
    monkeypatch.setattr(supervise, "_start", lambda command: 1)
    monkeypatch.setattr(supervise, "_wait_for", lambda child: (9, 4096))
    monkeypatch.setattr(supervise, "_report", lambda guest, **facts: told.append(facts))
    for counts in ([3, 3], [3, 4]):
        monkeypatch.setattr(supervise, "_oom_kills", lambda counts=counts: counts.pop(0))
        assert supervise.main(["x"]) == 137
    assert [facts["oom_killed"] for facts in told] == [False, True]


def test_it_costs_little():
    def best(*command: str) -> float:
        times = []
        for _ in range(7):
            clock = time.perf_counter()
            subprocess.run(command, check=True)
            times.append(time.perf_counter() - clock)
        return min(times)

    python = [sys.executable, "-I", "-S"]
    assert best(*python, SCRIPT, "true") < best(*python, "-c", "pass") + best("true") + 0.1


@pytest.fixture
def two_cards(environment, tmp_path):
    """A stand-in for nvidia-smi that tells of two cards."""
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text('#!/bin/sh\necho \'<gpu id="0"></gpu><gpu id="1"></gpu>\'\n')
    smi.chmod(0o755)
    return {**environment, "PATH": f"{smi.parent}:{environment['PATH']}"}


def test_gpus_are_measured_where_the_run_has_some(two_cards, tmp_path):
    for expected in ("0", "2"):
        assert run("true", env={**two_cards, "REPRORUN_GPUS": expected}).returncode == 0
        facts = report(tmp_path)
        assert (facts["gpus"]["by"], len(facts["gpus"]["gpus"])) == ("nvidia-smi", 2)
    assert run("true", env=two_cards).returncode == 0
    assert "gpus" not in report(tmp_path)


def test_nothing_is_run_with_fewer_gpus_than_were_asked_for(two_cards, tmp_path):
    done = run("touch", str(tmp_path / "ran"), env={**two_cards, "REPRORUN_GPUS": "4"})
    assert (done.returncode, done.stdout) == (125, "")
    assert "4 GPUs were asked for, but the container sees 2" in done.stderr
    facts = report(tmp_path)
    assert facts["exit_code"] == 125
    assert facts["refused"] in done.stderr
    assert len(facts["gpus"]["gpus"]) == 2
    assert not (tmp_path / "ran").exists()
