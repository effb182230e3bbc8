"""Packing and opening a pack of a large input: the peak memory of the host process.

    python benchmarks/pack.py [PAIRS] [--quick]

needs a running engine and a base image (REPRORUN_BASE_IMAGE, or the default one), and room for
four times the size, 2 GB. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator

from measuring import MEGABYTE, REPRORUN, Effort, Figure, Row, Target, alone, run, trivial_project

SIZE, QUICK_SIZE = 2_000, 50  # MB
MOST = 200  # MB of memory
PIECE = 1 << 20
RECORD = "project/data/local/experiment/trivial"


def measure(effort: Effort) -> Iterator[Figure]:
    """The figures."""
    size = effort.size(SIZE, QUICK_SIZE)
    with tempfile.TemporaryDirectory() as place:
        prepare(place, size)
        cold = {**os.environ, "XDG_CACHE_HOME": os.path.join(place, "cache")}  # nothing is known
        for what, words in (
            ("pack", ("pack", RECORD, "-o", "x.rrpack")),
            ("rerun", ("rerun", "x.rrpack", "--offline")),
        ):
            ran = run(REPRORUN, *words, cwd=place, env=cold)
            yield Row(
                what=f"memory of `{what}` with an input of {size:,} MB",
                unit="MB",
                ours=(ran.peak / MEGABYTE,),
                target=Target(at_most=MOST),
                note=f"took {ran.seconds:.1f} s",
            )


def prepare(place: str, megabytes: int) -> None:
    """A record of a trivial script with a large input."""
    with open(os.path.join(place, "large.bin"), "wb") as file:
        for _ in range(megabytes * MEGABYTE // PIECE):
            file.write(os.urandom(PIECE))
    project = os.path.join(place, "project")
    trivial_project(project)
    run(REPRORUN, "exec", "-q", "--input", "../large.bin", "trivial.py", cwd=project)


if __name__ == "__main__":
    sys.exit(alone(measure, __doc__))
