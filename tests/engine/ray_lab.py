"""A Ray cluster of several nodes on this machine, with the real engine below, for tests."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from msgspec.structs import replace

from reprorun.cluster.connection import import_ray
from reprorun.cluster.leash import LABEL
from reprorun.cluster.ray_runner import RayRunner
from reprorun.engine import Engine, connect
from reprorun.model import RunSpec
from reprorun.sweeps.values import Ask
from reprorun.workflow.prepared import Prepared, prepared
from reprorun.workflow.report import Silent
from reprorun.workflow.runner import Ended, Job

from ..kit import BASE
from .bench import Bench, client
from .conftest import Session
from .daemon import own_daemon

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Ray's own modules do is not ours to mend
    ray = import_ray(verbose=False)
    from ray.cluster_utils import Cluster

PATIENCE = 60.0  # seconds that anything may take
USUAL = Ask()
RAY = ("ray::", "raylet/raylet", "gcs_server")  # in the command lines of its processes


class Lab:
    """A cluster: a head that runs nothing, and nodes."""

    def __init__(self) -> None:
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        (server,) = self.cluster.head_node.all_processes["gcs_server"]
        self._daemons = {raylet(self.cluster.head_node), int(server.process.pid)}

    def add(self, cpus: int = 2, gpus: int = 0, **variables: str) -> Any:
        made = self.cluster.add_node(num_cpus=cpus, num_gpus=gpus, env_vars=variables or None)
        self._daemons.add(raylet(made))
        return made

    @contextmanager
    def node(self, cpus: int, gpus: int = 0, **variables: str) -> Iterator[Any]:
        """A node while the block lasts."""
        made = self.add(cpus, gpus, **variables)
        try:
            yield made
        finally:
            if made in self.cluster.worker_nodes:
                self.cluster.remove_node(made)

    @contextmanager
    def node_apart(self, cpus: int, **variables: str) -> Iterator[str]:
        """A node with an engine of its own, which is empty; yields that engine's address."""
        with own_daemon() as address:
            with self.node(cpus, DOCKER_HOST=address, **variables):
                yield address
            # what a worker had no time for is done now; with the engine gone, it would go on trying
            until(lambda: not leashes("DOCKER_HOST", address), "no leash")

    def kill(self, node: Any) -> None:
        """As a machine that loses power: its daemon and its workers, at once."""
        daemon = raylet(node)
        for pid in (daemon, *children(daemon)):
            with suppress(ProcessLookupError):  # it was about to end
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> set[int]:
        """Those of Ray that are ours; another cluster may be on this machine."""
        ours = {pid for daemon in self._daemons for pid in (daemon, *children(daemon))}
        return ours.intersection(processes(*RAY))

    def tasks(self) -> list[int]:
        """The workers that are at a task of ours."""
        nodes = self.cluster.list_all_nodes()
        found = {pid for node in nodes for pid in children(raylet(node))}
        return sorted(found.intersection(processes("ray::reprorun")))


_EARLIER: set[str] = set()  # scratch directories that were there before


@contextmanager
def a_lab(session: Session, *nodes: int) -> Iterator[Lab]:
    """A cluster with nodes of so many processors.

    Its processes, and those that clean up behind them, are gone at the end.
    """
    before, names = dict(os.environ), base_names()
    os.environ.update(session.env)
    _EARLIER.update(scratch())
    made = Lab()
    try:
        for cpus in nodes:
            made.add(cpus)
        yield made
    finally:
        ray.shutdown()
        ours = made.processes()
        made.cluster.shutdown()
        until(lambda: not ours.intersection(processes(*RAY)), "no process of Ray")
        until(lambda: not leashes(), "no leash")
        left = containers()
        with reach(None) as engine:
            for each in left:
                engine.api.remove_container(each["Id"], force=True)
            for name in base_names() - names:
                engine.api.remove_image(name)  # the image itself stays: it has another name
        os.environ.clear()
        os.environ.update(before)
    assert not left


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
        self.notes: list[str] = []

    def _made(self, launch: Prepared, engine: Engine) -> RayRunner:
        return RayRunner(launch, engine, self._ask, Silent(), self.notes.append, **self._options)

    @contextmanager
    def runner(self, inputs: tuple[str, ...] = ()) -> Iterator[RayRunner]:
        engine = connect()
        spec = replace(self.spec, inputs=inputs)
        try:
            with prepared(spec, engine, Silent()) as launch:
                self.launch: Prepared = launch
                with self._made(launch, engine) as runner:
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


def base_names() -> set[str]:
    """The names that checks give to base images, so that nodes can have them."""
    with reach(None) as engine:
        listed = engine.api.images("reprorun/base")
    tags = {tag for image in listed for tag in image["RepoTags"] or ()}
    return {tag for tag in tags if tag.startswith("reprorun/base:")}  # they have others, too


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


def leashes(variable: str = "XDG_CACHE_HOME", value: str | None = None) -> list[int]:
    """The processes that clean up behind workers, of this session, or where a variable is so."""
    ours = f"{variable}={value or os.environ[variable]}\0".encode()
    found = []
    for pid in processes("reprorun.cluster.leash"):
        with suppress(OSError):  # it has ended
            if ours in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return sorted(found)


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
    """Scratch directories, without what tests of something else have left before."""
    place = Path(os.environ["XDG_CACHE_HOME"]) / "reprorun" / "scratch"
    return sorted(set(os.listdir(place)) - _EARLIER if place.is_dir() else ())


def beside(*tasks: Callable[[], object]) -> threading.Thread:
    """Do things one after the other in a thread; a daemon, so that a failing test ends."""

    def do() -> None:
        for task in tasks:
            task()

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    return thread
