"""What reprorun costs on top of what it calls: `exec` of a trivial script against bare `docker
run`, in wall and in processor time, `rerun` against `exec`, `--help` against bare Python.

    python benchmarks/startup.py [PAIRS] [--quick]

needs a running engine and a base image (REPRORUN_BASE_IMAGE, or the default one). It runs the
`reprorun` of the Python that runs it. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from measuring import (
    PYTHON,
    REPRORUN,
    Effort,
    Figure,
    Ran,
    Row,
    Target,
    alone,
    compared,
    in_turn,
    run,
    trivial_project,
)

import reprorun

RECORD = "data/local/experiment/trivial"


def measure(effort: Effort) -> Iterator[Figure]:
    """The figures."""
    compile_package()
    with tempfile.TemporaryDirectory() as project:
        trivial_project(project)
        image = first_run(project)
        yield from against_docker(image, project, effort)
        yield compared(
            "`rerun` of a record",
            "`exec` of its script",
            lambda: run(REPRORUN, "rerun", RECORD, cwd=project).seconds,
            lambda: run(REPRORUN, "exec", "trivial.py", cwd=project).seconds,
            effort,
            Target(at_most=1.3),
        )
        yield compared(
            "`reprorun --help`",
            "bare Python",
            lambda: run(REPRORUN, "--help").seconds,
            lambda: run(PYTHON, "-c", "pass").seconds,
            effort,
            Target(at_most=4),
        )


def against_docker(image: str, project: str, effort: Effort) -> Iterator[Row]:
    """Wall and processor time of the same runs."""
    runs: dict[str, list[Ran]] = {"ours": [], "theirs": []}

    def ours() -> float:
        runs["ours"].append(run(REPRORUN, "exec", "trivial.py", cwd=project))
        return runs["ours"][-1].seconds

    def theirs() -> float:
        runs["theirs"].append(run("docker", "run", "--rm", image, "python", "trivial.py"))
        return runs["theirs"][-1].seconds

    mine, others = in_turn(ours, theirs, effort.pairs)
    what = "`exec` of a trivial script, nothing changed"
    yield Row(what=what, against="`docker run --rm`", ours=mine, theirs=others,
              target=Target(at_most=1))  # fmt: skip
    yield Row(
        what="processor time of the client",
        unit="s of CPU",
        ours=tuple(ran.cpu for ran in runs["ours"][1:]),
        target=Target(at_most=0.25),
    )


def compile_package() -> None:
    """Have the byte code that an installed package has, also where the environment forbids it."""
    directory = os.path.dirname(reprorun.__file__)
    subprocess.run([PYTHON, "-m", "compileall", "-q", directory], check=True)


def first_run(project: str) -> str:
    """Run it once, and return the image of its runs."""
    done = subprocess.run(
        [REPRORUN, "exec", "--json", "trivial.py"], cwd=project, check=True, capture_output=True
    )
    return str(json.loads(done.stdout)["image"])


if __name__ == "__main__":
    sys.exit(alone(measure, __doc__))
