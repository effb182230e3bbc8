"""reprorun's own image: the command in a container, with the engine's socket mounted."""

from __future__ import annotations

from pathlib import Path

from ..kit import BASE
from .bench import Bench, socket_path
from .complete import assert_complete


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
