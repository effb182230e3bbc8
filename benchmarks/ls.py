"""What listing many records costs: the first `ls` of a directory, which reads them all, and the
next ones, which have an index; seconds and peak memory, over three sizes.

    python benchmarks/ls.py [RECORDS]

needs no engine. Exit code 1 when the target is missed, or when two lists of the same differ.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from reprorun import store
from reprorun.model import EngineUsed, Hardware, Output, Record, SchemaMark

RECORDS = 100_000
IN_ONE = 1000  # records of a sweep, in a directory of their own
TIMES = 3
TARGET = 2.0  # seconds, of the second time
REPRORUN = os.path.join(os.path.dirname(sys.executable), "reprorun")


def main() -> int:
    """Measure, print, and say whether the target is reached."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.environ["XDG_CACHE_HOME"] = os.path.abspath("cache")
        print("  records    first   second    ratio   memory   second time, against the row above")
        second = 0.0
        for count in (10, most // 100, most // 10, most):
            second = measure(count, second)
    verdict = "reached" if second <= TARGET else "MISSED"
    print(f"{most:,} records the second time: {second:.2f} s; {TARGET:.0f} s is {verdict}")
    return 0 if second <= TARGET else 1


def measure(count: int, before: float) -> float:
    """Make so many records, list them, print a row, and return what the second time took."""
    make_records(count)
    time.sleep(2.5)  # what was written just now is read again; these shall be older
    first, _ = listed("first")
    times, memory = zip(*(listed("second") for _ in range(TIMES)), strict=True)
    shutil.rmtree("cache", ignore_errors=True)
    listed("without")
    if not same("first", "second") or not same("first", "without"):
        sys.exit("two lists of the same records differ")
    second = statistics.median(times)
    growth = f"x {second / before:.1f}" if before else ""
    print(
        f"{count:9,} {first:6.2f} s {second:6.2f} s {first / second:8.1f} {max(memory):5.0f} MB"
        f"   {growth}",
        flush=True,
    )
    shutil.rmtree("runs")
    return second


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
        sys.exit("`reprorun ls` failed")
    return time.perf_counter() - began, usage.ru_maxrss * 1024 / 1e6


def same(one: str, other: str) -> bool:
    """Whether two files are equal."""
    with open(one) as a, open(other) as b:
        return a.read() == b.read()


if __name__ == "__main__":
    sys.exit(main())
