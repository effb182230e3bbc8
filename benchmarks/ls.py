"""What listing many records costs: the first `ls` of a directory, which reads them all, and the
next ones, which have an index; seconds and peak memory, over three sizes.

    python benchmarks/ls.py [PAIRS] [--quick]

needs no engine. Exit code 1 when a target is missed, or when two lists of the same differ.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from measuring import REPRORUN, Effort, Figure, Growth, Row, Target, alone, spread

from reprorun import store
from reprorun.model import EngineUsed, Hardware, Output, Record, SchemaMark

RECORDS, FEW = 100_000, 1_000
IN_ONE = 1000  # records of a sweep, in a directory of their own
TIMES = 3
WITHIN = 2.0  # seconds, of the second time


def measure(effort: Effort) -> Iterator[Figure]:
    """The figures."""
    most = effort.size(RECORDS, FEW)
    before = os.getcwd(), os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.environ["XDG_CACHE_HOME"] = os.path.join(place, "cache")
        try:
            yield from of_sizes((most // 100, most // 10, most))
        finally:
            os.chdir(before[0])
            os.environ["XDG_CACHE_HOME"] = before[1] or ""


def of_sizes(sizes: tuple[int, ...]) -> Iterator[Figure]:
    """The growth of the first and of the next lists, and the last size's figures."""
    listings = [listed_twice(count) for count in sizes]
    firsts = tuple((first,) for first, _, _ in listings)
    seconds = tuple(times for _, times, _ in listings)
    yield Growth(what="`ls`, first time", of="records", sizes=sizes, seconds=firsts)
    yield Growth(what="`ls`, next times", of="records", sizes=sizes, seconds=seconds)
    yield Row(
        what=f"`ls` of {sizes[-1]:,} records, next times",
        ours=seconds[-1],
        target=Target(at_most=WITHIN),
    )
    yield Row(
        what=f"memory: `ls` of {sizes[-1]:,} records",
        unit="MB",
        ours=(listings[-1][2],),
        target=Target(at_most=200),
    )


def listed_twice(count: int) -> tuple[float, tuple[float, ...], float]:
    """Make so many records: seconds of the first list, of the next ones, and the most MB."""
    make_records(count)
    time.sleep(2.5)  # what was written just now is read again; these shall be older
    first, _ = listed("first")
    again = [listed("second") for _ in range(TIMES)]
    shutil.rmtree("cache", ignore_errors=True)
    listed("without")
    if not same("first", "second") or not same("first", "without"):
        raise SystemExit("two lists of the same records differ")
    shutil.rmtree("runs")
    return first, tuple(seconds for seconds, _ in again), spread([mb for _, mb in again]).most


def make_records(count: int) -> None:
    """Records of small runs, as sweeps lay them out."""
    for number in range(count):
        log_dir = f"runs/sweep_{number // IN_ONE}/seed={number}_lr=0.1"
        os.makedirs(log_dir)
        with open(os.path.join(log_dir, store.RUN_FILE), "w") as file:
            file.write(store.record_text(record(number)))


def record(number: int) -> Record:
    """A run that is over."""
    seconds = f"{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}"
    return Record(
        reprorun=SchemaMark(version="1"),
        id=f"run-{number}",
        status="finished",
        created=f"2024-03-31T{seconds}.{number:06}+00:00",
        argv=("train.py", "--seed", str(number), "--lr", "0.1"),
        params={"seed": number, "lr": 0.1},
        githash="0123456789abcdef0123456789abcdef01234567",
        launcher="train.py",
        environment_digest="sha256:" + "e" * 64,
        engine=EngineUsed(name="docker", version="20.10", api_version="1.41"),
        host=Hardware(node="node", system="Linux", cpu_model="processor", cpu_count=8),
        seconds=12.5 + number % 100,
        exit_code=0,
        outputs=tuple(
            Output(path=f"outputs/{name}.csv", size=1000, sha256="a" * 64) for name in "abcd"
        ),
    )


def listed(name: str) -> tuple[float, float]:
    """Write a list to a file; the seconds that it took, and the peak memory in MB."""
    began = time.perf_counter()
    with open(name, "w") as file:
        process = subprocess.Popen([REPRORUN, "ls", "runs"], stdout=file)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("`reprorun ls` failed")
    return time.perf_counter() - began, usage.ru_maxrss * 1024 / 1e6


def same(one: str, other: str) -> bool:
    """Whether two files are equal."""
    with open(one) as a, open(other) as b:
        return a.read() == b.read()


if __name__ == "__main__":
    sys.exit(alone(measure, __doc__))
