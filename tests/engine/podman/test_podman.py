"""Podman from end to end, over its Docker-compatible API."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from reprorun.engine.docker import DockerEngine
from reprorun.engine.places import Place

from ..bench import Bench, containers_of, one_message
from ..ways import SOCKET

TRAIN = """\
import reprorun

@reprorun.wrap_experiment
def train(ctxt, seed=1, lr=0.1):
    print("lr", lr)
    with open(ctxt.snapshot_dir + "/out.txt", "w") as file:
        file.write(str(seed * lr))
    with open("beside.txt", "w") as file:
        file.write("in the working tree")

train(seed=2)
"""


@pytest.fixture
def project(bench: Bench) -> Bench:
    bench.write({"train.py": TRAIN, "requirements.txt": "six==1.16.0\n"})
    bench.commit()
    return bench


def test_a_run_on_podman(project: Bench, podman: str) -> None:
    env = {"CONTAINER_HOST": podman}
    first = project.exec("train.py", flags=["--engine", "podman"], env=env)
    assert (first.code, first.out.splitlines()[0]) == (0, "lr 0.1"), first.err
    record = first.record
    assert record.engine is not None
    assert record.engine.name == "podman"
    assert record.isolated
    (sub,) = record.sub_records
    out = first.log_dir / sub / "out.txt"
    assert (out.read_text(), out.stat().st_uid) == ("0.2", os.getuid())
    assert (first.log_dir / "outputs/beside.txt").read_text() == "in the working tree"
    near = project.exec("train.py")
    assert near.code == 0
    assert near.record.environment_digest == record.environment_digest
    with (
        closing(DockerEngine.reach(Place(address=podman, by="the tests"))) as far,
        closing(DockerEngine.reach(Place(address=f"unix://{SOCKET}", by="the tests"))) as here,
    ):
        one, other = far.image(record.image), here.image(near.record.image)
        assert one is not None
        assert other is not None
        assert (one.id, one.layers) == (other.id, other.layers)  # the same image, to the byte
        assert far.labelled_containers(f"reprorun.run={record.id}") == ()
    assert containers_of(record.id) == []


def test_a_record_of_docker_is_checked_on_podman(project: Bench, podman: str) -> None:
    log_dir = project.exec("train.py").log_dir
    env = {"DOCKER_HOST": podman}
    done = project.reprorun("check", "--engine", "podman", str(log_dir), env=env)
    assert done.code == 0, done.out + done.err


def test_doctor_says_what_podman_lacks(bench: Bench, podman: str) -> None:
    done = bench.reprorun("doctor", "--engine", "podman", env={"CONTAINER_HOST": podman})
    assert "podman 4" in done.out
    assert "requests for GPUs" in done.out


def test_gpus_are_not_left_out_on_podman(project: Bench, podman: str) -> None:
    env = {"CONTAINER_HOST": podman}
    done = project.exec("train.py", flags=["--engine", "podman", "--gpus", "1"], env=env)
    assert done.code == 125
    assert "no GPU runtime" in one_message(done.err)
