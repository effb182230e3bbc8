"""Runs and checks on a Ray cluster of several nodes on this machine, with the real engine below.

Nodes, workers and the submitting process are killed without warning. Then: every run has come back
once, whole; and nothing of ours goes on anywhere.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import pytest
from msgspec.structs import replace

from reprorun import store
from reprorun.cluster.connection import import_ray
from reprorun.cluster.leash import LABEL
from reprorun.cluster.ray_check import check_on_ray
from reprorun.cluster.ray_runner import RayRunner
from reprorun.engine import connect
from reprorun.errors import EngineError, EngineUnavailable, UsageError
from reprorun.model import Changes, RunSpec
from reprorun.sweeps.values import Ask
from reprorun.workflow.check import CheckOptions
from reprorun.workflow.prepared import Prepared, prepared
from reprorun.workflow.report import Silent
from reprorun.workflow.runner import Ended, Job

from ..kit import BASE
from .bench import Bench, client
from .conftest import Session
from .daemon import own_daemon
from .registry import registry

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Ray's own modules do is not ours to mend
    ray = import_ray(verbose=False)
    from ray.cluster_utils import Cluster

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")

PATIENCE = 60.0  # seconds that anything may take

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


class Lab:
    """A cluster: a head that runs nothing, and nodes of two processors."""

    def __init__(self) -> None:
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})

    def add(self, cpus: int = 2, **variables: str) -> Any:
        return self.cluster.add_node(num_cpus=cpus, env_vars=variables or None)

    @contextmanager
    def node(self, cpus: int, **variables: str) -> Iterator[Any]:
        """A node while the block lasts."""
        made = self.add(cpus, **variables)
        try:
            yield made
        finally:
            if made in self.cluster.worker_nodes:
                self.cluster.remove_node(made)

    def kill(self, node: Any) -> None:
        """As a machine that loses power: its daemon and its workers, at once."""
        daemon = raylet(node)
        for pid in (daemon, *children(daemon)):
            with suppress(ProcessLookupError):  # it was about to end
                os.kill(pid, signal.SIGKILL)

    def tasks(self) -> list[int]:
        """The workers that are at a task of ours."""
        nodes = self.cluster.list_all_nodes()
        found = {pid for node in nodes for pid in children(raylet(node))}
        return sorted(found.intersection(processes("ray::reprorun")))


@pytest.fixture(scope="module")
def lab(session: Session) -> Iterator[Lab]:
    """The cluster. Its processes, and those that clean up behind them, are gone at the end."""
    before, others = dict(os.environ), set(ray_processes())
    os.environ.update(session.env)
    made = Lab()
    try:
        made.add()
        made.add()
        yield made
    finally:
        ray.shutdown()
        ours = set(ray_processes()) - others
        made.cluster.shutdown()
        until(lambda: not ours.intersection(ray_processes()), "no process of Ray")
        until(lambda: not leashes(), "no leash")
        left = containers()
        with reach(None) as engine:
            for each in left:
                engine.api.remove_container(each["Id"], force=True)
        os.environ.clear()
        os.environ.update(before)
    assert not left


@pytest.fixture
def project(bench: Bench, lab: Lab) -> Bench:
    bench.write({"train.py": SCRIPT, "stubborn.py": STUBBORN})
    bench.commit()
    return bench


USUAL = Ask()


class Drive:
    """Drives runs as a sweep does, and remembers what it was told."""

    def __init__(
        self, project: Bench, lab: Lab, ask: Ask = USUAL, script: str = "train.py", **options: Any
    ) -> None:
        self.project = project
        self.spec = RunSpec(script=script, cwd=str(project.root), base_image=BASE)
        self._ask = ask
        self._options = {"address": lab.cluster.address, **options}
        self.moved: list[int] = []

    @contextmanager
    def runner(self, inputs: tuple[str, ...] = ()) -> Iterator[RayRunner]:
        engine = connect()
        spec = replace(self.spec, inputs=inputs)
        try:
            with prepared(spec, engine, Silent()) as launch:
                self.launch: Prepared = launch
                with RayRunner(launch, engine, self._ask, Silent(), **self._options) as runner:
                    yield runner
        finally:
            engine.close()

    def job(self, number: int, word: str = "good", **env: str) -> Job:
        log_dir = str(self.project.records / f"ray-{number}")
        return Job(number=number, spec=replace(self.spec, args=(word,), env=env, log_dir=log_dir))

    def all(self, runner: RayRunner, *jobs: Job) -> dict[int, Ended]:
        """Run them all; each comes back once, and moved ones are begun again."""
        todo, ended, under_way = list(jobs), dict[int, Ended](), 0
        while under_way or (todo and not runner.interrupted):
            while todo and runner.room:
                runner.begin(todo.pop(0))
                under_way += 1
            end = runner.wait()
            under_way -= 1
            if end.moved:
                self.moved.append(end.job.number)
                todo.append(end.job)
            else:
                assert end.job.number not in ended
                ended[end.job.number] = end
        return ended


def containers(address: str | None = None) -> list[dict[str, Any]]:
    """Those that workers of this session have made, as the engine lists them."""
    place = os.environ["XDG_CACHE_HOME"]
    with reach(address) as engine:
        found = engine.api.containers(all=True, filters={"label": LABEL})
    return [each for each in found if any(place in mount["Source"] for mount in each["Mounts"])]


@contextmanager
def reach(address: str | None) -> Iterator[docker.DockerClient]:
    """An engine, the tests' own or another, asked without reprorun."""
    if address is None:
        with client() as engine:
            yield engine
        return
    engine = docker.DockerClient(address)
    try:
        yield engine
    finally:
        engine.close()


def processes(*words: str) -> list[int]:
    """Those whose command line has one of the words."""
    wanted = [word.encode() for word in words]
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            line = path.read_bytes()
            if any(word in line for word in wanted):
                found.append(int(path.parent.name))
    return found


def raylet(node: Any) -> int:
    """The process of a node."""
    (daemon,) = node.all_processes["raylet"]
    return int(daemon.process.pid)


def ray_processes() -> list[int]:
    return processes("ray::", "raylet/raylet", "gcs_server")


def leashes() -> list[int]:
    """The processes that clean up behind workers, of this session."""
    ours = processes(f"{os.environ['XDG_CACHE_HOME']}/reprorun/scratch/")
    return sorted(set(ours).intersection(processes("reprorun.cluster.leash")))


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = path.read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid:
                found.append(int(path.parent.name))
    return found


def until(holds: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, f"waited {patience:g} s in vain for: {what}"
        time.sleep(0.1)


def begun(number: int) -> Callable[[], bool]:
    """That so many experiments say that they have begun, and are at it."""

    def look() -> bool:
        found = 0
        with reach(None) as engine:
            for each in containers():
                with suppress(docker.errors.NotFound):  # it has ended meanwhile
                    at_work = each["State"] == "running"
                    found += at_work and b"begins" in engine.api.logs(each["Id"])
        return found >= number

    return look


def scratch() -> list[str]:
    place = Path(os.environ["XDG_CACHE_HOME"]) / "reprorun" / "scratch"
    return sorted(os.listdir(place))


def beside(*tasks: Callable[[], object]) -> threading.Thread:
    """Do things one after the other in a thread; a daemon, so that a failing test ends."""

    def do() -> None:
        for task in tasks:
            task()

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    return thread


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
    with own_daemon() as address, lab.node(6, DOCKER_HOST=address):
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
    with registry(tmp_path / "registry") as store_of_images:
        drive = Drive(project, lab, registry=store_of_images.ref("lab/runs"))
        with drive.runner() as runner, reach(None) as there:
            there.images.remove(drive.launch.run_tag, force=True)
            ended = drive.all(runner, *[drive.job(number) for number in range(3)])
            requests = store_of_images.requests()
            assert there.images.get(drive.launch.run_tag)
    assert [end.error for end in ended.values()] == [None] * 3
    assert sum(line.startswith("GET") and "/manifests/sha256:" in line for line in requests) >= 1


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


# ---------------------------------------------------------------- check


def test_records_are_checked(project: Bench, lab: Lab, tmp_path: Path) -> None:
    made: Mapping[int, str] = {0: "good", 1: "chance", 2: "good"}
    drive = Drive(project, lab)
    with drive.runner() as runner:
        drive.all(runner, *[drive.job(number, word) for number, word in made.items()])
    cwd = tmp_path / "elsewhere"
    cwd.mkdir()
    records = [os.path.relpath(project.records / f"ray-{number}", cwd) for number in made]
    options = CheckOptions(changes=Changes(usual_base=BASE), blame=False)
    address = lab.cluster.address
    results = {
        each.record: each
        for each in check_on_ray(
            [*records, "../nowhere"], options, str(cwd), lambda _: Silent(), address=address
        )
    }
    assert sorted(results) == sorted([*records, "../nowhere"])
    assert [results[record].verdict for record in records] == [
        "identical",
        "different",
        "identical",
    ]
    (repeat,) = results[records[1]].repeats
    assert repeat.log_dir == str(cwd / "data/local/check/ray-1")
    assert (Path(repeat.log_dir) / "outputs/chance.txt").is_file()
    assert store.read_record(repeat.log_dir).rerun_of == store.read_record(
        str(project.records / "ray-1")
    ).id  # fmt: skip
    assert os.listdir(cwd / "data/local/check") == ["ray-1"]
    assert results["../nowhere"].verdict == "error"
    assert "nowhere" in (results["../nowhere"].error or "")
    assert not containers()


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
