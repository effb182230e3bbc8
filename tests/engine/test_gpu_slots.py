"""Two GPUs go to two runs of a sweep or a check at a time, one each; here and on a Ray cluster.

The stand-ins are those of `gpu_stand_ins`, and for this machine's own driver what Linux would list
of it, in a mount namespace of the command's own. Engine, runtime, Ray and runs are real.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import combinations
from pathlib import Path

import pytest

from reprorun import store
from reprorun.model import Record
from reprorun.workflow.check import PLACE

from .bench import REPRORUN, Bench, Done
from .conftest import Session
from .gpu_stand_ins import Place, nvidia_runtime
from .ray_lab import Lab, a_lab

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")

RUNS = 6
TRAIN = """
import os, time
print(os.environ.get("NVIDIA_VISIBLE_DEVICES"))
time.sleep(2)
"""
# a tmpfs in the place of /proc/driver, which has a file for each card of NVIDIA's driver
WITH_CARDS = """
mount -t tmpfs none /proc/driver
for card in 0000:01:00.0 0000:02:00.0; do
    mkdir -p /proc/driver/nvidia/gpus/$card
    echo "Model: Stand-in" >/proc/driver/nvidia/gpus/$card/information
done
exec "$@"
"""


@pytest.fixture(scope="module")
def by_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with nvidia_runtime(tmp_path_factory.mktemp("runtime")) as made:
        yield made


@pytest.fixture
def project(bench: Bench, by_runtime: Place) -> Bench:
    bench.write({"train.py": TRAIN})
    bench.commit()
    bench.env.update(by_runtime.env)
    return bench


def with_cards() -> tuple[str, ...]:
    """Words before a command that let this machine have two GPUs."""
    if os.getuid() != 0 or not shutil.which("unshare"):
        pytest.fail("this test mounts something in a namespace of its own: it needs root, unshare")
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", WITH_CARDS, "sh")


def sweep(project: Bench, *flags: str, program: tuple[str, ...] = (REPRORUN,)) -> list[Record]:
    """The records of a sweep of six runs."""
    directory = project.records / "s"
    words = ("--log-dir", str(directory), "--grid", f"n=0..{RUNS - 1}", "train.py", "--", "{n}")
    done: Done = project.reprorun("sweep", *flags, *words, program=program)
    assert done.code == 0, done.err
    found = [Path(path) for path in store.find_records(str(directory))]
    assert len(found) == RUNS
    records = [store.read_record(str(path)) for path in found]
    for path, record in zip(found, records, strict=True):
        assert (path / store.CONSOLE_FILE).read_text() == f"{','.join(given(record))}\n"
        assert record.gpus_seen is not None
        names = [gpu.name for gpu in record.gpus_seen.gpus]
        assert names == [f"Stand-in {device}" for device in given(record)]
    return records


def given(record: Record) -> tuple[str, ...]:
    """The GPUs that a run was given, as its record says."""
    assert record.gpus is not None
    return record.gpus.devices


def at_once(records: list[Record]) -> list[tuple[Record, Record]]:
    """Pairs of runs of which one began before the other ended."""
    return [
        (a, b)
        for a, b in combinations(records, 2)
        if max(_time(a.started), _time(b.started)) < min(_time(a.ended), _time(b.ended))
    ]


def _time(text: str | None) -> datetime:
    assert text is not None
    return datetime.fromisoformat(text)


def check_one_each(records: list[Record]) -> None:
    used = Counter(map(given, records))
    assert set(used) == {("0",), ("1",)}
    assert min(used.values()) >= 2
    pairs = at_once(records)
    assert len(pairs) >= RUNS // 2  # two at a time, all the while
    assert all(given(a) != given(b) for a, b in pairs)


def test_each_has_its_own(project: Bench) -> None:
    """Though more are asked for at once than there are GPUs."""
    check_one_each(sweep(project, "--gpus", "1", "-j", "4", program=(*with_cards(), REPRORUN)))


def test_two_share_one(project: Bench) -> None:
    words = ("--gpus", "1", "--runs-per-gpu", "2", "-j", "4", "--cpus", "0.5")
    records = sweep(project, *words, program=(*with_cards(), REPRORUN))
    shared = Counter(given(a) == given(b) for a, b in at_once(records))
    assert shared[True] >= 2
    assert shared[False] >= 2
    for record in records:
        beside = [
            pair for pair in at_once(records) if record in pair and given(pair[0]) == given(pair[1])
        ]
        assert len(beside) <= 2  # one that ends, one that begins in its place


def test_more_than_there_are(project: Bench) -> None:
    words = ("sweep", "--gpus", "3", "--grid", "n=0..1", "train.py", "--", "{n}")
    done = project.reprorun(*words, program=(*with_cards(), REPRORUN))
    assert done.code == 2
    assert "each run asks for 3 GPUs, and the machine has 2 (0, 1)" in done.err


# ---------------------------------------------------------------- records that are checked


def check(project: Bench, *words: str) -> tuple[Done, list[Record]]:
    """What is said, and the records of the re-runs."""
    flags = ("check", "--keep", "--no-blame", *words)
    done = project.reprorun(*flags, program=(*with_cards(), REPRORUN))
    kept = store.find_records(str(project.root / PLACE))
    return done, [store.read_record(path) for path in kept]


def test_each_rerun_has_its_own(project: Bench) -> None:
    sweep(project, "--gpus", "1", program=(*with_cards(), REPRORUN))
    _, again = check(project, "-j", "4", str(project.records / "s"))
    assert len(again) == RUNS
    check_one_each(again)


def test_a_rerun_with_both_is_alone(project: Bench) -> None:
    records = [project.exec("train.py", flags=("--gpus", count)) for count in ("2", "1")]
    assert [done.code for done in records] == [0, 0], records
    _, again = check(project, "-j", "2", *(str(done.log_dir) for done in records))
    assert sorted(map(given, again)) in ([("0",), ("0", "1")], [("0", "1"), ("1",)])
    assert at_once(again) == []


def test_a_rerun_with_more_than_there_are(project: Bench) -> None:
    first = project.exec("train.py", flags=("--gpus", "1"))
    for jobs in ("1", "2"):
        done, _ = check(project, "-j", jobs, "--gpus", "3", str(first.log_dir))
        assert done.code == 125
        assert done.out.startswith("error ")
        assert "3 GPUs were asked for, but the container sees 2 (Stand-in 0" in done.out


# ---------------------------------------------------------------- on a cluster


@pytest.fixture(scope="module")
def lab(session: Session) -> Iterator[Lab]:
    with a_lab(session) as made:
        yield made


@pytest.fixture
def on_ray(lab: Lab, by_runtime: Place) -> Iterator[tuple[str, ...]]:
    """Flags for a cluster with a node of two GPUs, as Ray is told."""
    with lab.node(4, 2, DOCKER_HOST=by_runtime.address):
        yield ("--on", "ray", "--address", lab.cluster.address)


def test_each_has_its_own_on_ray(project: Bench, on_ray: tuple[str, ...]) -> None:
    check_one_each(sweep(project, *on_ray, "--gpus", "1"))


def test_two_share_one_on_ray(project: Bench, on_ray: tuple[str, ...]) -> None:
    records = sweep(project, *on_ray, "--gpus", "1", "--runs-per-gpu", "2")
    shared = Counter(given(a) == given(b) for a, b in at_once(records))
    assert shared[True] >= 2
