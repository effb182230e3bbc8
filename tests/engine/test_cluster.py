"""Runs on a Ray cluster of several nodes on this machine, with the real engine below.

Nodes, workers and the submitting process are killed without warning. Then: every run has come back
once, whole; and nothing of ours goes on anywhere.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reprorun import store
from reprorun.errors import EngineError, EngineUnavailable, UsageError
from reprorun.sweeps.values import Ask

from .bench import Bench
from .conftest import Session
from .ray_lab import (
    Drive,
    Lab,
    a_lab,
    begun,
    beside,
    containers,
    leashes,
    ray,
    reach,
    scratch,
    until,
)
from .registry import registry

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")

SCRIPT = """
import os, sys, time
import reprorun

@reprorun.wrap_experiment
def train(ctxt, nap=0.0):
    print("begins", flush=True)
    time.sleep(nap)
    with open(os.path.join(ctxt.snapshot_dir, "result.txt"), "w") as file:
        file.write(sys.argv[1])
    os.symlink("result.txt", os.path.join(ctxt.snapshot_dir, "latest"))

train(nap=float(os.environ.get("NAP", 0)))
open("weights.bin", "wb").write(sys.argv[1].encode() * 3_000_000)
if sys.argv[1] == "chance":
    open("chance.txt", "w").write(os.urandom(8).hex())
if sys.argv[1] == "bad":
    sys.exit(3)
"""

STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("begins", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def lab(session: Session) -> Iterator[Lab]:
    with a_lab(session, 2, 2) as made:
        yield made


@pytest.fixture
def project(bench: Bench, lab: Lab) -> Bench:
    bench.write({"train.py": SCRIPT, "stubborn.py": STUBBORN})
    bench.commit()
    return bench


# ---------------------------------------------------------------- runs


def test_runs_come_back_whole(project: Bench, lab: Lab) -> None:
    drive = Drive(project, lab)
    with drive.runner() as runner:
        assert runner.room == 8  # twice what two nodes of two processors take
        jobs = [drive.job(n, "bad" if n == 3 else "good", MY_TOKEN="s3cr3t") for n in range(12)]
        ended = drive.all(runner, *jobs)
    assert sorted(ended) == list(range(12))
    for number, end in ended.items():
        assert end.error is None
        assert end.log_dir == jobs[number].spec.log_dir
        assert end.log_dir is not None
        assert end.record == store.read_record(end.log_dir)
        check_record(Path(end.log_dir), 3 if number == 3 else 0)
    assert len({end.record.id for end in ended.values() if end.record}) == 12
    assert sorted(os.listdir(project.records)) == sorted(f"ray-{n}" for n in range(12))
    assert not containers()
    until(lambda: scratch() == [], "no scratch directories")


def check_record(log_dir: Path, exit_code: int) -> None:
    record = store.read_record(str(log_dir))
    assert record.exit_code == exit_code
    assert record.status == ("failed" if exit_code else "finished")
    assert record.host.cpu_count > 0
    assert record.environment == {"MY_TOKEN": "<redacted>"}
    assert b"begins" in (log_dir / store.CONSOLE_FILE).read_bytes()
    word = "bad" if exit_code else "good"
    (sub,) = record.sub_records
    assert (log_dir / sub / "result.txt").read_text() == word
    assert os.readlink(log_dir / sub / "latest") == "result.txt"
    assert (log_dir / sub / store.ARCHIVE_FILE).samefile(log_dir / store.ARCHIVE_FILE)
    weights = next(o for o in record.outputs if o.path == "outputs/weights.bin")
    assert (log_dir / weights.path).stat().st_size == weights.size == 3_000_000 * len(word)
    assert store.list_outputs(str(log_dir))[0] == record.outputs


def test_nodes_that_die(project: Bench, lab: Lab) -> None:
    """One as if its plug were pulled, one removed by Ray, a worker by itself."""
    drive = Drive(project, lab)
    with lab.node(2) as first, lab.node(2) as second, drive.runner() as runner:
        jobs = [drive.job(number, NAP="12") for number in range(10)]
        thread = beside(
            lambda: until(begun(6), "six runs under way"),
            lambda: os.kill(lab.tasks()[0], signal.SIGKILL),
            lambda: lab.kill(first),
            lambda: lab.cluster.remove_node(second, allow_graceful=False),
        )
        ended = drive.all(runner, *jobs)
        thread.join()
    assert len(drive.moved) >= 4  # the one worker may have been on one of the nodes
    assert sorted(ended) == list(range(10))
    assert all(end.exit_code == 0 and end.record for end in ended.values())
    assert sorted(os.listdir(project.records)) == sorted(f"ray-{n}" for n in range(10))
    until(lambda: not containers(), "no containers")
    until(lambda: scratch() == [], "no scratch directories")


_DRIVER = """
import sys
sys.path[:0] = sys.argv[2:]
from tests.engine.test_cluster import *

class Bare:
    root, records = Path(sys.argv[1]), Path(sys.argv[1]).parent / "killed"
class There:
    class cluster:
        address = os.environ["RAY_ADDRESS"]
drive = Drive(Bare, There)
with drive.runner() as runner:
    print("entered", flush=True)
    drive.all(runner, *[drive.job(number, NAP="50") for number in range(6)])
"""


@contextmanager
def driver(project: Bench, lab: Lab) -> Iterator[subprocess.Popen[bytes]]:
    """A process that hands out long runs."""
    tree = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(project.root), tree],
        env={**project.env, "RAY_ADDRESS": lab.cluster.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_a_submitting_process_that_is_killed(project: Bench, lab: Lab) -> None:
    with driver(project, lab) as process:
        until(begun(4), "four runs under way")
        assert process.poll() is None
        assert leashes()
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate()
        until(lambda: not containers(), "no containers")
    assert (out, err) == (b"entered\n", b"")  # Ray has kept quiet
    until(lambda: not lab.tasks(), "no tasks")
    until(lambda: not leashes(), "no leashes")
    (own,) = scratch()  # of the process itself, for gc
    assert os.listdir(Path(os.environ["XDG_CACHE_HOME"]) / "reprorun/scratch" / own) == [
        store.ARCHIVE_FILE
    ]
    shutil.rmtree(Path(os.environ["XDG_CACHE_HOME"]) / "reprorun/scratch" / own)
    killed = project.root.parent / "killed"
    assert not killed.exists() or os.listdir(killed) == []


def test_ctrl_c_stops_what_runs_and_brings_it_back(project: Bench, lab: Lab) -> None:
    drive = Drive(project, lab)
    with drive.runner() as runner:
        beside(
            lambda: until(begun(4), "four runs under way"),
            lambda: os.kill(os.getpid(), signal.SIGINT),
        )
        ended = drive.all(runner, *[drive.job(number, NAP="50") for number in range(6)])
        assert runner.interrupted
        assert runner.room == 0
    assert len(ended) == 4
    for end in ended.values():
        assert end.record is not None
        assert end.record.status == "interrupted"
        assert end.exit_code == 130
        assert end.log_dir
        assert b"begins" in (Path(end.log_dir) / store.CONSOLE_FILE).read_bytes()
    assert sorted(drive.moved) == sorted(set(range(6)) - set(ended))  # were never begun
    assert not containers()


@pytest.mark.long
def test_ctrl_c_twice_kills(project: Bench, lab: Lab) -> None:
    drive = Drive(project, lab, script="stubborn.py")
    began = time.monotonic()
    with drive.runner() as runner:
        beside(
            lambda: until(begun(2), "two runs under way"),
            lambda: os.kill(os.getpid(), signal.SIGINT),
            lambda: time.sleep(2),
            lambda: os.kill(os.getpid(), signal.SIGINT),
        )
        ended = drive.all(runner, drive.job(0), drive.job(1))
    assert not ended
    assert drive.moved == [0, 1] or drive.moved == [1, 0]
    assert os.listdir(project.records) == []
    until(lambda: not containers(), "no containers")
    assert time.monotonic() - began < 40


@pytest.mark.long
def test_an_error_on_the_way_out_leaves_nothing(project: Bench, lab: Lab) -> None:
    drive = Drive(project, lab)

    def fail() -> None:
        with drive.runner() as runner:
            runner.begin(drive.job(0, NAP="50"))
            runner.begin(drive.job(1, NAP="50"))
            until(begun(2), "two runs under way")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    until(lambda: not containers(), "no containers")
    assert os.listdir(project.records) == []


# ---------------------------------------------------------------- the image


def test_the_image_is_brought_to_an_engine_that_has_nothing(project: Bench, lab: Lab) -> None:
    drive = Drive(project, lab, Ask(cpus=3))  # which only that node can hold
    with lab.node_apart(6) as address:
        with reach(address) as there, drive.runner() as runner:
            assert there.images.list() == []
            first = drive.all(runner, *[drive.job(number) for number in range(4)])
            (image,) = there.images.list()
            assert image.tags == [drive.launch.run_tag]
            there.images.remove(image.id, force=True)
            second = drive.all(runner, drive.job(4))
        for end in (*first.values(), *second.values()):
            assert end.error is None
            assert end.record is not None
            assert end.record.status == "finished"
        assert containers(address) == []


def test_the_image_comes_from_a_registry(project: Bench, lab: Lab, tmp_path: Path) -> None:
    """The engine is the nodes', too: the image is taken from it once it has been pushed."""
    # an image like no other: of one that it had before, an engine may still have the manifest
    project.write({"nonce.txt": uuid.uuid4().hex})
    project.commit()
    with registry(tmp_path / "registry") as store_of_images:
        drive = Drive(project, lab, registry=store_of_images.ref("lab/runs"))
        with drive.runner() as runner, reach(None) as there:
            there.images.remove(drive.launch.run_tag, force=True)
            ended = drive.all(runner, *[drive.job(number) for number in range(3)])
            requests = store_of_images.requests()
            assert there.images.get(drive.launch.run_tag)
    assert [end.error for end in ended.values()] == [None] * 3
    pulled = re.compile("GET /v2/lab/runs/manifests/sha256:")
    assert any(map(pulled.match, requests)), requests


# ---------------------------------------------------------------- what can't be


def test_no_cluster(project: Bench, lab: Lab) -> None:
    drive = Drive(project, lab, address="127.0.0.1:1")
    with pytest.raises(EngineUnavailable, match="ray start --head"), drive.runner():
        pass
    drive = Drive(project, lab, address="ray://127.0.0.1:10001")
    with pytest.raises(UsageError, match="HOST:PORT of its head"), drive.runner():
        pass
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("ask", "words"),
    [(Ask(cpus=99), "99 CPUs; the most that one has is 2"), (Ask(gpus=1), "1 GPUs")],
)
def test_what_no_node_could_ever_hold(project: Bench, lab: Lab, ask: Ask, words: str) -> None:
    with pytest.raises(UsageError, match=words), Drive(project, lab, ask).runner():
        pass
    assert not ray.is_initialized()


def test_a_node_without_an_engine(project: Bench, lab: Lab) -> None:
    drive = Drive(project, lab, Ask(cpus=5))
    with (
        lab.node(5, DOCKER_HOST="unix:///nowhere/docker.sock"),
        pytest.raises(EngineError, match=r"on node .*no Docker Engine answers at unix:///nowhere"),
        drive.runner(),
    ):
        pass


def test_an_input_that_is_another_on_the_node(project: Bench, lab: Lab, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("1,2")
    drive = Drive(project, lab)
    with drive.runner(inputs=(str(data),)) as runner:
        good = drive.all(runner, drive.job(0))
        data.write_text("1,3")
        bad = drive.all(runner, drive.job(1))
    assert good[0].error is None
    assert good[0].record is not None
    assert [entry.path for entry in good[0].record.inputs] == [str(data)]
    assert isinstance(bad[1].error, UsageError)
    assert f"the input {data} is another there" in str(bad[1].error)
    assert bad[1].log_dir is None


# ---------------------------------------------------------------- from the command line


def test_the_commands(project: Bench, lab: Lab) -> None:
    """A sweep during which a node dies, gone on with, and checked: all as a user types it."""
    directory = project.records / "s"
    on_ray = ("--on", "ray", "--address", lab.cluster.address)
    env = {"NAP": "5"}
    with lab.node(2) as node:
        thread = beside(
            lambda: until(lambda: len(list(directory.glob("*/run.json"))) >= 2, "two records"),
            lambda: lab.kill(node),
        )
        words = ("sweep", *on_ray, "--grid", "n=0..7", "--log-dir", str(directory), "-e", "NAP")
        done = project.reprorun(*words, "train.py", "--", "good{n}", env=env)
        thread.join()
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "8 runs: 8 finished"
    records = [store.read_record(path) for path in store.find_records(str(directory))]
    assert sorted(record.argv[1] for record in records) == [f"good{n}" for n in range(8)]
    again = project.reprorun("sweep", *on_ray, "--resume", str(directory), "-e", "NAP=0")
    assert (again.code, len(list(directory.glob("*/run.json")))) == (0, 8), again.err
    checked = project.reprorun("check", *on_ray, "-e", "NAP", str(directory), env=env)
    assert checked.code == 0, checked.err + checked.out
    assert checked.out.splitlines()[-1] == "8 records: 8 identical"
    until(lambda: not containers(), "no containers")
