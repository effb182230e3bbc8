"""`check` of many records against as many `exec`.

    python benchmarks/check.py [PAIRS] [--quick]

needs a running engine and a base image (REPRORUN_BASE_IMAGE, or the default one). Exit code 1 when
the target is missed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator

from measuring import REPRORUN, Effort, Figure, Target, alone, compared, run, trivial_project

RECORDS, FEW = 100, 5


def measure(effort: Effort) -> Iterator[Figure]:
    """The figure."""
    count = effort.size(RECORDS, FEW)
    with tempfile.TemporaryDirectory() as project:
        trivial_project(project)
        records = [f"{project}/runs/{number}" for number in range(count)]
        for record in records:
            run(REPRORUN, "exec", "-q", "--log-dir", record, "trivial.py", cwd=project)
        yield compared(
            f"`check` of {count} records",
            f"{count} `exec`",
            lambda: run(REPRORUN, "check", "-q", *records, cwd=project).seconds,
            lambda: all_of(project, count),
            Effort(pairs=min(effort.pairs, 2)),
            Target(at_most=1.1),
            warm_up=False,
        )


def all_of(project: str, count: int) -> float:
    """Seconds for so many runs, one after the other."""
    command = (REPRORUN, "exec", "-q", "trivial.py")
    return sum(run(*command, cwd=project).seconds for _ in range(count))


if __name__ == "__main__":
    sys.exit(alone(measure, __doc__))
