"""reprorun's own image: the command in a container, with the engine's socket mounted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..kit import BASE
from .bench import CHECKOUT, CLI_BASE, Bench, client, socket_path
from .complete import assert_complete
from .conftest import Session


@pytest.fixture(scope="module")
def own_image(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Built as CONTRIBUTING.md says, in a copy of the checkout."""
    copy = tmp_path_factory.mktemp("checkout") / "reprorun"
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-zco", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, copy / name)
    tag = f"reprorun-test/own:{uuid.uuid4().hex[:12]}"
    command = [str(copy / "scripts/image"), "--base", CLI_BASE, "--tag", tag]
    env = {**session.env, "PYTHON": sys.executable}
    with client() as engine:
        before = {image.id for image in engine.images.list(filters={"dangling": True})}
        try:
            done = subprocess.run(command, cwd=copy, env=env, capture_output=True, check=False)
            assert done.returncode == 0, (done.stdout + done.stderr).decode()
            assert done.stdout.decode().splitlines()[-1] == tag
            yield tag
        finally:
            if engine.images.list(tag):
                engine.images.remove(tag, force=True)
            for image in engine.images.list(filters={"dangling": True}):
                if image.id not in before and "/opt/reprorun" in str(image.history()):
                    engine.images.remove(image.id, force=True)


def in_container(tag: str, directory: Path, *options: str) -> list[str]:
    """What a CI job types in place of `reprorun`."""
    mounts = [f"{socket_path()}:/var/run/docker.sock", f"{directory}:{directory}"]
    words = ["docker", "run", "--rm", "--label", "reprorun=test", "--network", "none"]
    words += [word for mount in mounts for word in ("-v", mount)]
    return [
        *words,
        "-e",
        f"REPRORUN_BASE_IMAGE={BASE}",
        "-w",
        f"{directory}/project",
        *options,
        tag,
    ]


def test_it_says_what_it_is(own_image: str, bench: Bench) -> None:
    place = bench.root.parent
    version = bench.reprorun("--version", program=in_container(own_image, place))
    assert (version.code, version.out) == (0, bench.reprorun("--version").out)
    doctor = bench.reprorun("doctor", program=in_container(own_image, place))
    assert doctor.code == 0, doctor.out
    assert f"{BASE} is on the engine" in doctor.out


def test_it_runs_an_experiment(own_image: str, bench: Bench) -> None:
    bench.take("wrapped")
    bench.commit()
    program = in_container(own_image, bench.root.parent)
    done = bench.exec("train.py", "0.5", program=program)
    record = assert_complete(done, bench, "train.py")
    assert record.sub_records == ("train_lr=0.5",)
    assert done.said()["lr"] == 0.5
    assert record.image == bench.exec("train.py", "0.5").record.image


def test_its_records_belong_to_whoever_runs_it(own_image: str, user_bench: Bench) -> None:
    bench = user_bench
    bench.take("wrapped")
    bench.commit()
    ids = ("--user", f"{bench.user.uid}:{bench.user.gid}")
    group = ("--group-add", str(socket_path().stat().st_gid))
    uid = bench.user.uid
    bench.user = bench.user._replace(prefix=())  # the container changes the user
    program = in_container(own_image, bench.root.parent, *ids, *group)
    where = "data/local/experiment/train"
    done = bench.exec("train.py", program=program, log_dir=where)
    assert_complete(done, bench, "train.py")
    assert {path.lstat().st_uid for path in (bench.root / "data").rglob("*")} == {uid}
