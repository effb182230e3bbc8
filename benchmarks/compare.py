"""What comparing costs: against reading the same bytes, and `check` against `rerun`.

    python benchmarks/compare.py [PAIRS] [--quick]

needs a running engine and a base image (REPRORUN_BASE_IMAGE, or the default one), and numpy and
pyarrow for the CSVs (`reprorun[compare]`). Exit code 1 when a target is missed.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

from measuring import (
    PYTHON,
    REPRORUN,
    Effort,
    Figure,
    Target,
    alone,
    compared,
    run,
    trivial_project,
)

SIZE, QUICK_SIZE = 1_000_000_000, 20_000_000  # bytes of each CSV
FILES, FEW_FILES = 10_000, 500
READ = "import sys; from pyarrow import csv; [csv.read_csv(path) for path in sys.argv[1:]]"
RECORD = "project/data/local/experiment/trivial"


def measure(effort: Effort) -> Iterator[Figure]:
    """The figures."""
    twice = Target(at_most=2)
    few = Effort(pairs=min(effort.pairs, 3), quick=effort.quick)
    with tempfile.TemporaryDirectory() as place:
        files = effort.size(FILES, FEW_FILES)
        make_directories(place, files)
        make_csvs(place, effort.size(SIZE, QUICK_SIZE))
        trivial_project(os.path.join(place, "project"))
        run(REPRORUN, "exec", "-q", "trivial.py", cwd=os.path.join(place, "project"))

        def took(*words: str) -> float:
            return run(*words, cwd=place).seconds

        def ours(*words: str) -> float:
            return took(REPRORUN, "compare", "-q", *words)

        yield compared(
            f"`compare` of {files:,} equal files",
            "`cat` of them",
            lambda: ours("a", "b"),
            lambda: took("sh", "-c", "cat a/* b/* >/dev/null"),
            few,
            twice,
        )
        yield compared(
            "`compare` of equal CSVs",
            "`cat` of them",
            lambda: ours("x.csv", "same.csv"),
            lambda: took("sh", "-c", "cat x.csv same.csv >/dev/null"),
            few,
            twice,
        )
        yield compared(
            "`compare` of CSVs within a tolerance",
            "reading them with pyarrow",
            lambda: ours("--rtol", "1e-3", "x.csv", "y.csv"),
            lambda: took(PYTHON, "-c", READ, "x.csv", "y.csv"),
            few,
            twice,
        )
        yield compared(
            "`check` of an unchanged record",
            "`rerun` of it",
            lambda: took(REPRORUN, "check", RECORD),
            lambda: took(REPRORUN, "rerun", RECORD),
            effort,
            Target(at_most=1.2),
        )


def make_directories(place: str, files: int) -> None:
    """Two directories of equal files of some kilobytes."""
    for directory in ("a", "b"):
        os.mkdir(os.path.join(place, directory))
        for number in range(files):
            with open(os.path.join(place, directory, f"{number:05}.bin"), "wb") as file:
                file.write(number.to_bytes(4, "big") * 2000)


def make_csvs(place: str, size: int) -> None:
    """A CSV, an equal one, and one of which nearly every cell differs a little."""
    import numpy as np

    random = np.random.default_rng(1)
    with open(os.path.join(place, "x.csv"), "w") as x, open(os.path.join(place, "y.csv"), "w") as y:
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
    shutil.copyfile(os.path.join(place, "x.csv"), os.path.join(place, "same.csv"))


if __name__ == "__main__":
    sys.exit(alone(measure, __doc__))
