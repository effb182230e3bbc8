"""`reprorun pack` on the real engine, and its packs where there is nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import docker
import pytest

from reprorun import store
from reprorun.pack.reading import Pack

from ..index import Index, make_wheel
from ..kit import BASE
from .bench import REPRORUN, Bench, Done, client, one_message
from .daemon import own_daemon

TRAIN = """\
import hashlib, sys, tool
data = open("data.bin", "rb").read()
print(tool.VERSION, hashlib.sha256(data).hexdigest())
with open("result.txt", "w") as file:
    file.write(tool.VERSION)
"""
OPEN = """\
import json, re, sys
from reprorun import files, store
from reprorun.engine import connect
from reprorun.environment.fetch import cached
from reprorun.workflow.opened import opened
from reprorun.workflow.report import Silent
engine = connect()
with opened(sys.argv[1], Silent()) as found, files.cache_lock():
    record = store.read_record(found.log_dir)
    found.provide(engine, Silent())
    said = {
        "log_dir": found.log_dir,
        "id": record.id,
        "inputs": found.inputs(record),
        "wheels": [cached(package.wheel) for package in record.packages],
        "base": record.base_image.digest,
        "memory": int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]),
    }
engine.close()
print(json.dumps(said))
"""


class Lab(NamedTuple):
    """A bench, and a run on it that has a package and an input."""

    bench: Bench
    done: Done
    target: Path

    def pack(self, *words: str, **given: Any) -> Done:
        words = ("pack", str(self.done.log_dir), "-o", str(self.target), *words)
        return self.bench.reprorun(*words, **given)


@pytest.fixture
def lab(bench: Bench, tmp_path: Path) -> Lab:
    """The package is nobody else's, and the index is gone when the run is over."""
    bench.env = {name: v for name, v in bench.env.items() if not name.startswith("UV_")}
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "UV_CACHE_DIR", "HOME"):
        bench.env[name] = str(tmp_path / name.lower())
        Path(bench.env[name]).mkdir()
    text = f"VERSION = '1.0'  # {uuid.uuid4()}\n".encode()
    with Index() as index:
        index.add(*make_wheel("tool", "1.0", files={"tool.py": text}))
        bench.env.update(UV_DEFAULT_INDEX=index.url, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
        bench.write({"train.py": TRAIN, "requirements.txt": "tool\n", ".gitignore": "data.bin\n"})
        bench.commit()
        bench.write({"data.bin": os.urandom(1 << 20)})
        done = bench.exec("train.py", flags=["--input", "data.bin"])
    assert done.code == 0, done.err
    return Lab(bench, done, tmp_path / "run.rrpack")


def inputs(lab: Lab) -> list[str]:
    return [entry.path for entry in lab.done.record.inputs]


# ---------------------------------------------------------------- packing


def test_a_record_is_packed(lab: Lab) -> None:
    before = {path.name: path.read_bytes() for path in lab.done.log_dir.iterdir() if path.is_file()}
    done = lab.pack("--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["path"], said["size"]) == (str(lab.target), lab.target.stat().st_size)
    assert (said["wheels"], said["inputs"], said["base_image"]) == (1, 1, BASE)
    last = done.err.splitlines()[-1]
    assert "run.rrpack" in last
    assert f"1 package, {BASE} in 1 layer, 1 input" in last
    with Pack.open(str(lab.target)) as pack:
        assert {file.path for file in pack.index.record} >= set(before)
        assert pack.index.image.digest == lab.done.record.base_image.digest  # type: ignore[union-attr]
    after = {path.name: path.read_bytes() for path in lab.done.log_dir.iterdir() if path.is_file()}
    assert after == before


def test_packing_again_is_the_same(lab: Lab) -> None:
    assert lab.pack().code == 0
    first = lab.target.read_bytes()
    assert "is there already" in one_message(lab.pack().err)
    time.sleep(1.1)
    assert lab.pack("--force", "--offline").code == 0
    assert lab.target.read_bytes() == first


def test_what_can_not_be_packed(lab: Lab) -> None:
    (lab.bench.root / "data.bin").write_bytes(b"another")
    done = lab.pack()
    assert done.code == 2
    assert "data.bin" in done.err
    assert "--no-inputs" in done.err
    assert not lab.target.exists()
    assert lab.pack("--no-inputs").code == 0
    assert "without 1 input" in lab.pack("--no-inputs", "--force").err
    lab.bench.write({"file": "x"})
    refused = lab.bench.reprorun("pack", "file")
    assert (refused.code, "is a file" in one_message(refused.err)) == (2, True)
    unreachable = lab.pack("--no-inputs", "--force", env={"DOCKER_HOST": "unix:///nowhere"})
    assert unreachable.code == 125
    assert lab.target.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_leaves_nothing(lab: Lab, number: signal.Signals) -> None:
    place = lab.target.parent / "out"
    place.mkdir()
    words = ["pack", str(lab.done.log_dir), "-o", str(place / "run.rrpack")]
    process = subprocess.Popen(
        [REPRORUN, *words], env=lab.bench.env, cwd=lab.bench.root, stderr=subprocess.PIPE
    )
    end = time.monotonic() + 60
    while not any(path.stat().st_size > 1 << 20 for path in place.iterdir()):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert list(place.iterdir()) == []


def test_a_full_disk_leaves_nothing(lab: Lab) -> None:
    place = Path(tempfile.mkdtemp(prefix="reprorun-test-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "small", place], check=True)
    try:
        done = lab.bench.reprorun("pack", str(lab.done.log_dir), "-o", str(place / "p"))
        left = list(place.iterdir())
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()
    assert (done.code, left) == (125, [])
    assert "is full. Free some space, or name another with -o." in one_message(done.err)


# ---------------------------------------------------------------- where there is nothing else


@pytest.fixture
def alone(lab: Lab, tmp_path: Path) -> Lab:
    """A pack of a run of which nothing else is left; the cache is empty."""
    assert lab.pack().code == 0
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        lab.bench.env[name] = str(tmp_path / f"empty-{name.lower()}")
    Path(inputs(lab)[0]).unlink()
    return lab


def without_network(lab: Lab, address: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program that can reach that engine and nothing else."""
    return subprocess.run(
        ["unshare", "--net", *words],
        env={**lab.bench.env, "DOCKER_HOST": address},
        cwd=lab.target.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_pack_opens_where_there_is_nothing_else(alone: Lab) -> None:
    record = alone.done.record
    with Pack.open(str(alone.target)) as pack:
        (held,) = pack.index.inputs
        assert held.file
        data = b"".join(pack.pieces(held.file))
    with own_daemon() as address:
        assert look(address) == {}
        done = without_network(alone, address, sys.executable, "-c", OPEN, str(alone.target))
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        images = look(address)
    assert said["id"] == record.id
    (copy,) = said["inputs"].values()
    assert Path(copy).read_bytes() == data
    (wheel,) = said["wheels"]
    assert Path(wheel).name == "tool-1.0-py3-none-any.whl"
    assert not Path(said["log_dir"]).exists()
    assert said["memory"] < 200 << 10  # KiB
    assert record.base_image is not None
    tag = f"reprorun/base:{record.base_image.digest.removeprefix('sha256:')[:24]}"
    with client() as engine:
        assert images == {tag: engine.images.get(BASE).attrs["RootFS"]["Layers"]}


def look(address: str) -> dict[str, list[str]]:
    """The images of an engine: name -> layers."""
    engine = docker.DockerClient(base_url=address)
    try:
        return {tag: i.attrs["RootFS"]["Layers"] for i in engine.images.list() for tag in i.tags}
    finally:
        engine.close()


def test_a_pack_is_run_again_where_there_is_nothing_else(alone: Lab) -> None:
    log_dir = alone.target.parent / "again"
    with own_daemon() as address:
        words = ("rerun", str(alone.target), "--log-dir", str(log_dir))
        done = without_network(alone, address, REPRORUN, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == alone.done.out
    before, after = alone.done.record, store.read_record(str(log_dir))
    assert after.rerun_of == before.id
    assert after.environment_digest == before.environment_digest
    for name in ("outputs", "archive", "packages"):
        assert getattr(after, name) == getattr(before, name), name
    assert [entry.sha256 for entry in after.inputs] == [entry.sha256 for entry in before.inputs]
