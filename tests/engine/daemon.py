"""A Docker Engine of a test's own: another data root, nothing in it, no network.

It runs in network and mount namespaces of its own, so that it can't touch the bridge or the mounts
of the engine that is there.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

PATIENCE = 60  # seconds until it answers, or has ended


@contextmanager
def own_daemon() -> Iterator[str]:
    """An engine that is empty; yields its address for DOCKER_HOST. Only root can start one."""
    if os.getuid() != 0 or not all(shutil.which(name) for name in ("dockerd", "unshare")):
        pytest.fail("this test starts a second dockerd: it needs root, dockerd and unshare")
    place = Path(tempfile.mkdtemp(prefix="reprorun-engine-"))  # short: sockets' paths are limited
    address = f"unix://{place}/docker.sock"
    (place / "daemon.json").write_text("{}")  # not the settings of the one that is there
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(_command(place, address), stdout=log, stderr=log)
    try:
        _wait(process, place)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
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
