"""Engines beside the one that is there, started for the tests that ask for them.

REPRORUN_TEST_ENGINES says which the contract is tried on, such as `docker,podman,docker-28`; by
default `docker` alone. One that is named and can't be started is a failure.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import docker
import pytest

from .kit import BASE

STARTED = {"podman": "engine-podman", "docker-28": "engine-docker-28"}
"""Engine -> the script that runs it."""

_TOOLS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reprorun-test-tools"
BUILDX = {"docker-28": _TOOLS / "docker-sid/usr/libexec/docker/cli-plugins"}
"""Engine -> where the client's plugin is that came with it."""

PATIENCE = 120  # seconds until one answers, or has ended
_SCRIPTS = Path(__file__).parents[1] / "scripts"


def asked_for() -> tuple[str, ...]:
    """The engines that the contract is tried on."""
    names = tuple(os.environ.get("REPRORUN_TEST_ENGINES", "docker").split(","))
    unknown = set(names) - {"docker", *STARTED}
    if unknown:
        pytest.exit(f"REPRORUN_TEST_ENGINES: there is no {unknown.pop()!r}", 4)
    return names


@contextmanager
def started(name: str) -> Iterator[str]:
    """Start one; yields its address. It has the base image."""
    place = Path(tempfile.mkdtemp(prefix="reprorun-engine-"))  # short: sockets' paths are limited
    path = place / "engine.sock"
    with (place / "log").open("wb") as log:
        command = [str(_SCRIPTS / STARTED[name]), str(place)]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(process, path, place / "log")
        _bring_base(f"unix://{path}")
        yield f"unix://{path}"
    finally:
        _end(process)
        _remove(place)


def _wait(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with socket.socket(socket.AF_UNIX) as tried, suppress(OSError):
            tried.connect(str(path))
            return
        time.sleep(0.1)
    pytest.fail(f"the engine does not come up:\n{log.read_text(errors='replace')[-3000:]}")


def _bring_base(address: str) -> None:
    near, far = docker.from_env(), docker.DockerClient(base_url=address, timeout=PATIENCE)
    with closing(near), closing(far):
        if any(BASE in tag for image in far.images.list() for tag in image.tags):
            return
        pieces = near.api.get_image(BASE)
        for event in far.api.load_image(pieces):
            assert "error" not in event, event


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _remove(place: Path) -> None:
    """Its files; what it has left mounted is let go first, and nothing is followed into a mount."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{place}/")), reverse=True):
        subprocess.run(["umount", mount], check=False)
    subprocess.run(["rm", "-rf", "--one-file-system", str(place)], check=False)
    shutil.rmtree(place, ignore_errors=True) if not _mounted(place) else None


def _mounted(place: Path) -> bool:
    return f"{place}/" in Path("/proc/mounts").read_text()
