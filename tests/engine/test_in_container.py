"""The command in a container whose paths are not those of the engine's machine."""

from __future__ import annotations

import json
import platform
from pathlib import Path

from reprorun import store
from reprorun.model import Record

from ..kit import BASE
from .bench import Bench, containers_of, socket_path
from .complete import assert_complete

TRAIN = "import sys\nprint(open(sys.argv[1]).read())\nopen('out.txt', 'w').write('made')\n"


def in_container(tag: str, shared: Path, at: str, *options: str) -> list[str]:
    """What goes before the words of `reprorun`, with a directory mounted somewhere else."""
    mounts = (f"{socket_path()}:/var/run/docker.sock", f"{shared}:{at}")
    words = ["docker", "run", "--rm", "--label", "reprorun=test", "--network", "none"]
    words += [word for mount in mounts for word in ("-v", mount)]
    words += ["-e", f"REPRORUN_BASE_IMAGE={BASE}", "-w", f"{at}/project"]
    return [*words, *options, tag]


def project(bench: Bench) -> Path:
    bench.write({"train.py": TRAIN})
    bench.commit()
    place = bench.root.parent
    (place / "data.txt").write_text("the data")
    return place


def test_a_directory_that_is_called_otherwise_here(own_image: str, bench: Bench) -> None:
    place = project(bench)
    done = bench.reprorun(
        *("exec", "--log-dir", "/elsewhere/records/first", "--input", "/elsewhere/data.txt"),
        *("train.py", "/elsewhere/data.txt"),
        program=in_container(own_image, place, "/elsewhere"),
        log_dir=place / "records/first",
    )
    record = assert_complete(done, bench, "train.py")
    assert done.out == "the data\n"
    assert (done.log_dir / "outputs/out.txt").read_text() == "made"
    assert [entry.path for entry in record.inputs] == ["/elsewhere/data.txt"]
    assert record.host.node == platform.node()  # where the engine is
    again = bench.reprorun(
        *("rerun", "/elsewhere/records/first", "--log-dir", "/elsewhere/records/second"),
        program=in_container(own_image, place, "/elsewhere"),
        log_dir=place / "records/second",
    )
    assert (again.code, again.out) == (0, "the data\n"), again.err
    assert again.record.rerun_of == record.id
    assert again.record.host == record.host


def test_a_directory_that_only_the_container_has(own_image: str, bench: Bench) -> None:
    """The engine's machine has one of that name, too: it must not be taken for it."""
    place = project(bench)
    decoy = place / "decoy"
    decoy.mkdir()
    script = (
        "mkdir -p $0 && printf ours >$0/data.txt"
        " && reprorun exec -q --log-dir $0/run --input $0/data.txt train.py $0/data.txt"
        " && cat $0/run/outputs/out.txt && echo && cat $0/run/run.json"
    )
    (decoy / "data.txt").write_text("theirs")
    (decoy / "run").mkdir()
    words = in_container(own_image, bench.root, "/elsewhere/project", "--entrypoint", "sh")
    words[words.index("-w") + 1] = "/elsewhere/project"
    done = bench.reprorun("-c", script, str(decoy), program=words)
    assert done.code == 0, done.err
    printed, made, record = done.out.split("\n", 2)
    assert (printed, made) == ("ours", "made")
    assert json.loads(record)["status"] == "finished"
    assert list((decoy / "run").iterdir()) == []
    assert containers_of(json.loads(record)["id"]) == []


def test_the_record_is_readable_outside(own_image: str, bench: Bench) -> None:
    place = project(bench)
    bench.reprorun(
        *("exec", "--log-dir", "/elsewhere/records/first", "train.py", "train.py"),
        program=in_container(own_image, place, "/elsewhere"),
    )
    record: Record = store.read_record(str(place / "records/first"))
    shown = bench.reprorun("show", str(place / "records/first"))
    assert (record.status, shown.code) == ("finished", 0)
    rerun = bench.reprorun("rerun", str(place / "records/first"), "--name", "here", cwd="..")
    assert rerun.code == 0, rerun.err
