"""A Docker Engine of a test's own: another data root, nothing in it, no network.

It runs in network and mount namespaces of its own, so that it can't touch the bridge or the mounts
of the engine that is there. They outlive it: when it is started again it finds its containers.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import pytest

PATIENCE = 60  # seconds until it answers, or has ended
# as systemd hands a socket to the program that it starts: the third, and variables that say so
_HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execvp(sys.argv[2], sys.argv[2:])
"""
_SPACES = (
    *("unshare", "--mount", "--net", "--propagation", "private"),
    *("sh", "-c", "echo made && exec sleep infinity"),
)


class Daemon:
    """An engine that can be killed and started again; what it holds stays. Only root can start one.

    Args:
        place: directory of its own.
        arguments: more of them, for dockerd.
        path: directory of programs that it finds before all others.
        settings: what stands in its daemon.json.
        listener: that it takes connections of, beside its own; it may be of another network.
    """

    def __init__(
        self,
        place: Path,
        arguments: Sequence[str] = (),
        path: Path | None = None,
        settings: Mapping[str, object] | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        if os.getuid() != 0 or not all(shutil.which(name) for name in ("dockerd", "unshare")):
            pytest.fail("this test starts a second dockerd: it needs root, dockerd and unshare")
        self.address = f"unix://{place}/docker.sock"
        self._place = place
        self._arguments = arguments
        self._listener = listener
        self._env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"} if path else None
        self._process: subprocess.Popen[bytes] | None = None
        self._spaces = subprocess.Popen(_SPACES, stdout=subprocess.PIPE)
        # not before they are made: in ours it would remove the bridge of the engine that is there
        assert self._spaces.stdout
        assert self._spaces.stdout.readline() == b"made\n"
        # not the settings of the one that is there
        (place / "daemon.json").write_text(json.dumps(settings or {}))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        within = ("nsenter", "--target", str(self._spaces.pid), "--mount", "--net")
        command = [*_command(self._place, self.address), *self._arguments]
        descriptors = [self._listener.fileno()] if self._listener else []
        if descriptors:
            given = (sys.executable, "-c", _HAND_OVER, str(descriptors[0]))
            command = [*given, *command, "--host", "fd://"]
        with (self._place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*within, *command], stdout=log, stderr=log, start_new_session=True, env=self._env,
                pass_fds=descriptors,
            )  # fmt: skip
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

    @property
    def pid(self) -> int:
        """Of its process. What its containers do when that gets a signal is their own."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def ended(self) -> None:
        """Wait until a signal has ended it, and its containerd, which goes with it."""
        assert self._process is not None
        self._process.wait(PATIENCE)
        self._process = None
        self._await_containerd()

    def _await_containerd(self) -> None:
        noted = self._place / "exec/containerd/containerd.pid"
        end = time.monotonic() + PATIENCE
        # one that has ended and was not reaped yet would be taken for one that goes on
        while noted.exists() and Path("/proc", noted.read_text().strip()).exists():
            assert time.monotonic() < end, "containerd goes on"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it, its containerd and its containers, as a machine that loses power does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        for process in _processes_of(self._place):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for name in ("pid", "docker.sock", "exec/containerd/containerd.pid"):
            (self._place / name).unlink(missing_ok=True)

    def close(self) -> None:
        """End it and all that is left of it."""
        self.stop()
        self.kill()
        self._spaces.kill()
        self._spaces.communicate()


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
def daemon(
    arguments: Sequence[str] = (),
    path: Path | None = None,
    settings: Mapping[str, object] | None = None,
    listener: socket.socket | None = None,
) -> Iterator[Daemon]:
    """The same, to be killed and started again; see `Daemon`."""
    place = Path(tempfile.mkdtemp(prefix="reprorun-engine-"))  # short: sockets' paths are limited
    made = Daemon(place, arguments, path, settings, listener)
    try:
        made.start()
        yield made
    finally:
        made.close()
        shutil.rmtree(place)  # what was mounted in it was so in the daemon's namespace alone


def _command(place: Path, address: str) -> list[str]:
    return [
        *("dockerd", "--host", address, "--pidfile", f"{place}/pid"),
        *("--config-file", f"{place}/daemon.json"),
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
