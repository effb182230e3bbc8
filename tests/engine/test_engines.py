"""Which engine: --engine on the command line, none at all, and one on another machine."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from reprorun import store

from .bench import REPRORUN, Bench, one_message
from .ways import SOCKET, running_sshd

TRAIN = """\
import sys
import reprorun

@reprorun.wrap_experiment
def train(ctxt, seed=1, lr=0.1):
    print("lr", lr)
    print("isolated", sys.prefix)
    with open(ctxt.snapshot_dir + "/out.txt", "w") as file:
        file.write(str(seed * lr))

train(seed=2)
"""


# ---------------------------------------------------------------- which one


@pytest.mark.parametrize("by", ["flag", "variable", "project"])
def test_an_engine_that_is_none(bench: Bench, by: str) -> None:
    bench.write({"train.py": TRAIN, "pyproject.toml": ""})
    if by == "project":
        bench.write({"pyproject.toml": '[tool.reprorun]\nengine = "rkt"\n'})
    flags = ["--engine", "rkt"] if by == "flag" else []
    done = bench.exec(
        "train.py", flags=flags, env={"REPRORUN_ENGINE": "rkt"} if by == "variable" else {}
    )
    assert done.code == 2
    assert "'rkt' is none of docker, podman, local" in one_message(done.err)


def test_podman_is_not_replaced_by_docker(bench: Bench) -> None:
    bench.write({"train.py": TRAIN})
    env = {"DOCKER_HOST": f"unix://{SOCKET}"}
    done = bench.exec("train.py", flags=["--engine", "podman"], env=env)
    assert done.code == 125
    assert "--engine podman is wanted" in one_message(done.err)


def test_docker_by_name(bench: Bench) -> None:
    bench.write({"train.py": "print('hello')\n"})
    done = bench.exec("train.py", flags=["--engine", "docker"])
    assert (done.code, done.out) == (0, "hello\n")


def test_a_command_that_needs_containers(bench: Bench) -> None:
    done = bench.reprorun("gc", "--engine", "local", "--dry-run")
    assert done.code == 2
    assert "local runs no containers" in one_message(done.err)


# ---------------------------------------------------------------- none at all


@pytest.fixture
def project(bench: Bench) -> Bench:
    bench.write({"train.py": TRAIN})
    bench.commit()
    return bench


def test_without_a_container(project: Bench) -> None:
    nowhere = {"DOCKER_HOST": "unix:///nowhere.sock"}
    flags = ["--engine", "local", "-P", "lr=0.5"]
    done = project.exec("train.py", flags=flags, env=nowhere)
    assert (done.code, done.out.splitlines()[0]) == (0, "lr 0.5"), done.err
    assert "nothing isolated or limited it" in done.err
    record = done.record
    assert (record.status, record.exit_code, record.isolated) == ("finished", 0, False)
    assert record.engine is not None
    assert record.engine.name == "local"
    assert record.params == {"lr": 0.5}
    assert record.archive is not None
    assert any("nothing isolated" in note for note in record.notes)
    (sub,) = record.sub_records
    assert (done.log_dir / sub / "out.txt").read_text() == "1.0"
    assert json.loads((done.log_dir / sub / "variant.json").read_text()) == {"seed": 2, "lr": 0.5}
    assert b"lr 0.5\n" in done.console
    prefix = next(line for line in done.console.decode().splitlines() if "isolated" in line)
    assert project.env["XDG_CACHE_HOME"] in prefix


def test_packages_are_those_of_the_lock(project: Bench) -> None:
    project.write(
        {"requirements.txt": "six==1.16.0\n", "tell.py": "import six\nprint(six.__version__)\n"}
    )
    done = project.exec("tell.py", flags=["--engine", "local"])
    assert (done.code, done.out) == (0, "1.16.0\n"), done.err
    assert "six==1.16.0" in (done.log_dir / store.LOCK_FILE).read_text()
    assert [package.name for package in done.record.packages] == ["six"]


@pytest.mark.parametrize("command", ["check", "rerun"])
def test_it_is_never_called_reproduced(project: Bench, command: str) -> None:
    log_dir = project.exec("train.py", flags=["--engine", "local"]).log_dir
    done = project.reprorun(command, str(log_dir))
    assert done.code == 2
    assert "without a container" in done.err + done.out


def test_it_fails_and_the_record_says_so(project: Bench) -> None:
    project.write({"fail.py": "import sys\nprint('before')\nsys.exit(3)\n"})
    done = project.exec("fail.py", flags=["--engine", "local"])
    assert (done.code, done.out) == (3, "before\n")
    assert (done.record.status, done.record.exit_code) == ("failed", 3)
    assert done.record.reason == "ended with exit code 3"


def test_its_time_is_over(project: Bench) -> None:
    project.write({"slow.py": "import time\nprint('begun', flush=True)\ntime.sleep(60)\n"})
    done = project.exec("slow.py", flags=["--engine", "local", "--timeout", "1"])
    assert (done.code, done.record.status) == (124, "failed")
    assert "time limit of 1 s" in (done.record.reason or "")


def test_it_is_interrupted(project: Bench) -> None:
    project.write({"slow.py": "import time\nprint('begun', flush=True)\ntime.sleep(60)\n"})
    log_dir = project.new_log_dir()
    words = [REPRORUN, "exec", "--engine", "local", "--log-dir", str(log_dir), "slow.py"]
    with subprocess.Popen(
        words, cwd=project.root, env=project.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert time.monotonic() - began < 9  # it did not have to be killed
    assert process.returncode == 130
    record = store.read_record(str(log_dir))
    assert (record.status, record.reason) == ("interrupted", "interrupted by the user")


def test_what_only_a_container_can_do_is_said(project: Bench) -> None:
    done = project.exec("train.py", flags=["--engine", "local", "--memory", "1g"])
    assert done.code == 0
    assert "left aside, for there is no container: base image, memory limit" in done.err


# ---------------------------------------------------------------- another machine


def test_an_engine_that_does_not_see_our_files(project: Bench, tmp_path: Path) -> None:
    """A machine that has another directory at the path, as a home of the same name."""
    with running_sshd() as sshd:
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
        log_dir = project.new_log_dir()
        script = 'mount -t tmpfs tmpfs "$0" && exec "$@"'  # the engine sees what lies below
        place = str(project.records)
        done = subprocess.run(
            [*words, script, place, REPRORUN, "exec", "--log-dir", str(log_dir), "train.py"],
            cwd=project.root, env={**project.env, **sshd.env}, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("lr ")
