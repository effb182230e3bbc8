"""What comparing costs: against reading the same bytes, and `check` against `rerun`. The commands
of a pair run in turn, so that a machine's ups and downs hit both.

    python benchmarks/compare.py [PAIRS] [MEGABYTES]

needs a running engine and a base image (REPRORUN_BASE_IMAGE, or the default one), and numpy and
pyarrow for the CSVs (`reprorun[compare]`). Exit code 1 when a target is missed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

PAIRS = 3
MEGABYTES = 1000  # of each CSV
FILES = 10_000
REPRORUN = os.path.join(os.path.dirname(sys.executable), "reprorun")
GIT = ("git", "-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.invalid")
READ = "import sys; from pyarrow import csv; [csv.read_csv(path) for path in sys.argv[1:]]"
Command = Callable[[], float]


def main() -> int:
    """Measure, print, and say whether the targets are reached."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    size = (int(sys.argv[2]) if len(sys.argv) > 2 else MEGABYTES) * 1_000_000
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        make_directories()
        make_csvs(size)
        prepare_record()
        reached = [
            compare(f"{FILES} equal files", ours("a", "b"), shell("cat a/* b/* >/dev/null"),
                    pairs, 2),
            compare("equal CSVs", ours("x.csv", "same.csv"), shell("cat x.csv same.csv >/dev/null"),
                    pairs, 2),
            compare("CSVs within tolerance", ours("--rtol", "1e-3", "x.csv", "y.csv"),
                    run(sys.executable, "-c", READ, "x.csv", "y.csv"), pairs, 2),
            compare("check of an unchanged record", run(REPRORUN, "check", RECORD),
                    run(REPRORUN, "rerun", RECORD), pairs, 1.2),
        ]  # fmt: skip
    return 0 if all(reached) else 1


RECORD = "project/data/local/experiment/trivial"


def make_directories() -> None:
    """Two directories of equal files of some kilobytes."""
    for directory in ("a", "b"):
        os.mkdir(directory)
        for number in range(FILES):
            with open(f"{directory}/{number:05}.bin", "wb") as file:
                file.write(number.to_bytes(4, "big") * 2000)


def make_csvs(size: int) -> None:
    """A CSV, an equal one, and one of which nearly every cell differs a little."""
    import numpy as np

    random = np.random.default_rng(1)
    with open("x.csv", "w") as x, open("y.csv", "w") as y:
        for file in (x, y):
            file.write("step,loss,reward,length\n")
        step = 0
        while x.tell() < size:
            cells = random.normal(size=(50_000, 3))
            for file, values in ((x, cells), (y, cells * (1 + 1e-6))):
                lines = (f"{step + n},{a!r},{b!r},{c!r}\n" for n, (a, b, c) in
                         enumerate(values.tolist()))  # fmt: skip
                file.write("".join(lines))
            step += len(cells)
    subprocess.run(["cp", "x.csv", "same.csv"], check=True)


def prepare_record() -> None:
    """A record of a trivial script."""
    os.mkdir("project")
    with open("project/trivial.py", "w") as file:
        file.write("print('hello')\n")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "trivial")):
        subprocess.run([*GIT, *command], cwd="project", check=True)
    subprocess.run([REPRORUN, "exec", "-q", "trivial.py"], cwd="project", check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip


def ours(*words: str) -> Command:
    """`reprorun compare`."""
    return run(REPRORUN, "compare", "-q", *words)


def shell(text: str) -> Command:
    """A shell's command."""
    return run("sh", "-c", text)


def run(*command: str) -> Command:
    """The wall time of a command that succeeds."""

    def timed() -> float:
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - began

    return timed


def compare(what: str, one: Command, other: Command, pairs: int, target: float) -> bool:
    """Time two commands in turn; print medians and the median of the pairs' ratios."""
    times = [(one(), other()) for _ in range(pairs + 1)][1:]
    ratios = sorted(a / b for a, b in times)
    ratio = statistics.median(ratios)
    medians = [statistics.median(pair[column] for pair in times) for column in (0, 1)]
    verdict = "reached" if ratio <= target else "MISSED"
    print(
        f"{what}: {medians[0]:.2f} s against {medians[1]:.2f} s; ratio {ratio:.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}), {target} is {verdict}",
        flush=True,
    )
    return ratio <= target


if __name__ == "__main__":
    sys.exit(main())
