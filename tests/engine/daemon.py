"""A Docker Engine of a test's own: another data root, nothing in it, no network.

It runs in network and mount namespaces of its own, so that it can't touch the bridge or the mounts
of the engine that is there.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

PATIENCE = 60  # seconds until it answers, or has ended


class Daemon:
    """An engine that can be killed and started again; what it holds stays. Only root can start one.

    Args:
        place: directory of its own.
        arguments: more of them, for dockerd.
        path: directory of programs that it finds before all others.
    """

    def __init__(
        self, place: Path, arguments: Sequence[str] = (), path: Path | None = None
    ) -> None:
        if os.getuid() != 0 or not all(shutil.which(name) for name in ("dockerd", "unshare")):
            pytest.fail("this test starts a second dockerd: it needs root, dockerd and unshare")
        self.address = f"unix://{place}/docker.sock"
        self._place = place
        self._arguments = arguments
        self._env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"} if path else None
        self._process: subprocess.Popen[bytes] | None = None
        (place / "daemon.json").write_text("{}")  # not the settings of the one that is there

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [*_command(self._place, self.address), *self._arguments]
        with (self._place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=self._env
            )
        _wait(self._process, self._place)

    def stop(self) -> None:
        """End it as a shutdown does: its containers are stopped."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it, its containerd and its containers, as a machine that loses power does."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        for process in _processes_of(self._place):
            os.kill(process, signal.SIGKILL)
        for name in ("pid", "docker.sock", "exec/containerd/containerd.pid"):
            (self._place / name).unlink(missing_ok=True)


def _processes_of(place: Path) -> Iterator[int]:
    """Those that name its directory: the shims of its containers."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found = os.fsencode(place) in path.read_bytes()
        except OSError:
            continue  # it has ended
        if found and int(path.parent.name) != os.getpid():
            yield int(path.parent.name)


@contextmanager
def own_daemon() -> Iterator[str]:
    """An engine that is empty; yields its address for DOCKER_HOST."""
    with daemon() as made:
        yield made.address


@contextmanager
def daemon(arguments: Sequence[str] = (), path: Path | None = None) -> Iterator[Daemon]:
    """The same, to be killed and started again; see `Daemon`."""
    place = Path(tempfile.mkdtemp(prefix="reprorun-engine-"))  # short: sockets' paths are limited
    made = Daemon(place, arguments, path)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(place)  # what was mounted in it was so in the daemon's namespace alone


def _command(place: Path, address: str) -> list[str]:
    return [
        *("unshare", "--mount", "--net", "--propagation", "private", "dockerd"),
        *("--host", address, "--pidfile", f"{place}/pid", "--config-file", f"{place}/daemon.json"),
        *("--data-root", f"{place}/data", "--exec-root", f"{place}/exec"),
        *("--bridge", "none", "--iptables=false", "--ip-forward=false"),
    ]


def _wait(process: subprocess.Popen[bytes], place: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as tried:
            try:
                tried.connect(str(place / "docker.sock"))  # it answers as soon as it can
                return
            except OSError:
                time.sleep(0.1)
    said = (place / "log").read_text(errors="replace")
    pytest.fail(f"the second dockerd did not come up: {said[-2000:]}")


def hand_over(image: str, address: str) -> None:
    """Give an image of the tests' engine to another one."""
    source, target = docker.from_env(), docker.DockerClient(base_url=address)
    try:
        pieces = source.images.get(image).save(named=image)
        target.images.load(b"".join(pieces))
    finally:
        source.close()
        target.close()
