"""What a sweep costs: 100 trivial runs, two at once, against `xargs -P 2 docker run` of the same,
and once 1,000;
going on with a sweep of 10,000 runs of which 10 are left, against making 10 of 10; and the memory
of the process for 100, 1,000 and 10,000 runs.

    python benchmarks/sweep.py [PAIRS] [--quick]

needs a running engine and a base image (REPRORUN_BASE_IMAGE, or the default one). It runs the
`reprorun` of the Python that runs it. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from measuring import (
    REPRORUN,
    Effort,
    Figure,
    Row,
    Target,
    alone,
    compared,
    own_peak,
    seconds,
    trivial_project,
)
from startup import first_run

RUNS, MANY_RUNS, FEW_RUNS = 100, 1_000, 10
IN_MEMORY = (
    "/dev/shm" if os.path.isdir("/dev/shm") else None
)  # thousands of records, written quickly
PLANNED, LEFT = 10_000, 10
MORE = 5.0  # seconds that the finished runs may cost
HERE = os.path.abspath(__file__)
ALONE = "--sweep"


def measure(effort: Effort) -> Iterator[Figure]:
    """The figures."""
    few = Effort(pairs=min(effort.pairs, 3), quick=effort.quick)
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as project:
        trivial_project(project)
        os.chdir(project)
        try:
            image = first_run(project)
            yield side_by_side(image, few, RUNS, Target(at_most=1.25))
            once = Effort(pairs=1, quick=effort.quick)
            yield side_by_side(image, once, MANY_RUNS, Target(at_most=1.15))
            yield resuming(few)
        finally:
            os.chdir(before)
    yield memory(effort)


# ---------------------------------------------------------------- two at once


def side_by_side(image: str, effort: Effort, runs: int, target: Target) -> Row:
    """Many runs, two at once; the argument is another in each."""
    runs = effort.size(runs, FEW_RUNS)
    numbers = "\n".join(map(str, range(runs)))
    command = ("docker", "run", "--rm", image, "python", "trivial.py", "{}")
    bare = ("xargs", "-P", "2", "-I", "{}", *command)

    def theirs() -> None:
        subprocess.run(bare, input=numbers, text=True, check=True, stdout=subprocess.DEVNULL)

    return compared(
        f"`sweep -j 2` of {runs:,} trivial runs",
        "`xargs -P 2 docker run`",
        lambda: seconds(lambda: sweep(runs)),
        lambda: seconds(theirs),
        effort,
        target,
        warm_up=False,
    )


def sweep(runs: int, *flags: str) -> None:
    """A sweep over the script's argument."""
    grid = f"n=0..{runs - 1}"
    words = [REPRORUN, "sweep", "-q", "-j", "2", "--grid", grid, *flags, "trivial.py", "--", "{n}"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


# ---------------------------------------------------------------- going on


def resuming(effort: Effort) -> Row:
    """10 runs of 10,000 against 10 of 10: what the 9,990 that are finished cost."""
    planned = effort.size(PLANNED, 100)
    directory = finished_but(LEFT, planned)
    more = []
    for _ in range(effort.pairs):
        whole = seconds(lambda: sweep(LEFT))
        more.append(seconds(lambda: resume(directory)) - whole)
        forget_last(directory, LEFT)
    return Row(
        what=f"going on with a sweep of {planned:,} runs of which {LEFT} are left: more than "
        f"{LEFT} alone",
        ours=tuple(more),
        target=Target(at_most=MORE),
    )


def resume(directory: str) -> None:
    """Go on with a sweep."""
    words = [REPRORUN, "sweep", "-q", "-j", "2", "--resume", directory]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def finished_but(left: int, planned: int) -> str:
    """A sweep of 10,000 runs of which all but some are finished: copies of one that was made."""
    directory = os.path.abspath("large")
    sweep(1, "--log-dir", directory)
    with open(os.path.join(directory, "sweep.json")) as file:
        book = json.load(file)
    first = book["runs"][0]
    with open(os.path.join(directory, "n=0", "run.json")) as file:
        record = json.load(file)
    book["points"]["grid"]["n"] = {"range": [0, planned - 1, 1]}
    for number in range(1, planned - left):
        name = f"n={number}"
        shutil.copytree(os.path.join(directory, "n=0"), os.path.join(directory, name))
        with open(os.path.join(directory, name, "run.json"), "w") as file:
            json.dump({**record, "id": f"{number:016x}", "argv": ["trivial.py", str(number)]}, file)
        book["runs"].append(
            {**first, "params": {"n": number}, "log_dir": name, "id": f"{number:016x}"}
        )
    not_yet = {"status": "planned", "log_dir": None, "id": None, "exit_code": None}
    for number in range(planned - left, planned):
        book["runs"].append({**first, **not_yet, "params": {"n": number}})
    write(directory, book)
    return directory


def forget_last(directory: str, count: int) -> None:
    """Make the last runs unfinished again."""
    with open(os.path.join(directory, "sweep.json")) as file:
        book = json.load(file)
    for run in book["runs"][-count:]:
        shutil.rmtree(os.path.join(directory, run["log_dir"]))
        run["status"] = "planned"
    write(directory, book)


def write(directory: str, book: object) -> None:
    """Write `sweep.json`."""
    with open(os.path.join(directory, "sweep.json"), "w") as file:
        json.dump(book, file)


# ---------------------------------------------------------------- memory


def memory(effort: Effort) -> Row:
    """The peak of the sweeping process for a large sweep, against that for a small one."""
    small, large = effort.size(100, 10), effort.size(10_000, 100)
    return Row(
        what=f"memory of the sweeping process, {large:,} runs",
        against=f"{small} runs",
        unit="MB",
        ours=(peak(large) / 1e6,),
        theirs=(peak(small) / 1e6,),
        target=Target(at_most=1.25),
        note="the engine is a stand-in that runs nothing",
    )


def peak(runs: int) -> int:
    """Bytes, of a process of its own, with an engine in memory."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as project:
        trivial_project(project)
        words = [sys.executable, HERE, ALONE, str(runs)]
        done = subprocess.run(
            words, cwd=project, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    return int(done.stdout.split()[-1])


def sweep_here(runs: int) -> None:
    """A sweep in this process on an engine in memory; prints the peak."""
    from reprorun.cli.sweep_progress import make_sweep_progress
    from reprorun.engine.fake import FakeEngine
    from reprorun.model import Image, RunSpec
    from reprorun.sweeps.values import PointsSpec, Span
    from reprorun.workflow.here import here
    from reprorun.workflow.report import Silent
    from reprorun.workflow.sweep import SweepRequest, run_sweep

    base = Image(id="sha256:base", layers=("sha256:layer",), env=("PATH=/bin",), machine="x86_64")
    programs: dict[str, Any] = {"python": lambda process: 0, "/bin/sh": _answer}
    engine = FakeEngine(images={"base:1": base}, programs=programs)
    engine.specs = _Forgetful()
    progress = make_sweep_progress(quiet=True, verbose=False, total=runs, done=0)
    spec = RunSpec(script="trivial.py", args=("{n}",), cwd=os.getcwd(), base_image="base:1")
    points = PointsSpec(grid={"n": Span(range=(0, runs - 1, 1))})
    run_sweep(
        SweepRequest(spec=spec, points=points),
        lambda: engine,
        here(lambda: engine, progress.of, 2, Silent()),
        lambda total, done: progress,
        Silent(),
    )
    print(own_peak())


class _Forgetful(list[Any]):
    """In the place of what the engine remembers for tests."""

    def append(self, entry: Any) -> None:
        pass


def _answer(process: Any) -> int:
    """What a base image says of its Python."""
    python = {"python": "3.11.2", "executable": "/usr/bin/python3.11", "machine": "x86_64"}
    process.say(json.dumps({**python, "libc": "glibc 2.36", "path": "/usr/bin:/bin"}))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == [ALONE]:
        sweep_here(int(sys.argv[2]))
    else:
        sys.exit(alone(measure, __doc__))
