"""What a sweep costs: 100 trivial runs, two at once, against `xargs -P 2 docker run` of the same;
going on with a sweep of 10,000 runs of which 10 are left, against making 10 of 10; and the memory
of the process for 100, 1,000 and 10,000 runs.

    python benchmarks/sweep.py [PAIRS] [RUNS]

needs a running engine and a base image (REPRORUN_BASE_IMAGE, or the default one). It runs the
`reprorun` of the Python that runs it. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

PAIRS = 3
RUNS = 100
IN_MEMORY = (
    "/dev/shm" if os.path.isdir("/dev/shm") else None
)  # thousands of records, written quickly
PLANNED, LEFT = 10_000, 10
REPRORUN = os.path.join(os.path.dirname(sys.executable), "reprorun")
GIT = ("git", "-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.invalid")
HERE = os.path.abspath(__file__)


def main() -> int:
    """Measure, print, and say whether the targets are reached."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else RUNS
    with tempfile.TemporaryDirectory() as project:
        os.chdir(project)
        image = prepare()
        reached = [side_by_side(image, runs, pairs), resuming(pairs)]
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as project:
        os.chdir(project)
        prepare()
        reached.append(memory())
    return 0 if all(reached) else 1


def prepare() -> str:
    """Make a repository with a trivial script, run it once, and return the image of its runs."""
    with open("trivial.py", "w") as file:
        file.write("print('hello')\n")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "trivial")):
        subprocess.run([*GIT, *command], check=True)
    done = subprocess.run(
        [REPRORUN, "exec", "--json", "trivial.py"], check=True, capture_output=True
    )
    return str(json.loads(done.stdout)["image"])


# ---------------------------------------------------------------- two at once


def side_by_side(image: str, runs: int, pairs: int) -> bool:
    """100 runs, two at once; the argument is another in each."""
    numbers = "\n".join(map(str, range(runs)))
    bare = [
        "xargs",
        "-P",
        "2",
        "-I",
        "{}",
        "docker",
        "run",
        "--rm",
        image,
        "python",
        "trivial.py",
        "{}",
    ]

    def ours() -> None:
        sweep(runs)

    def theirs() -> None:
        subprocess.run(bare, input=numbers, text=True, check=True, stdout=subprocess.DEVNULL)

    return compare(
        f"{runs} trivial runs, 2 at once, against xargs -P 2 docker run", ours, theirs, 1.25, pairs
    )


def sweep(runs: int, *flags: str) -> None:
    """A sweep over the script's argument."""
    grid = f"n=0..{runs - 1}"
    words = [REPRORUN, "sweep", "-q", "-j", "2", "--grid", grid, *flags, "trivial.py", "--", "{n}"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def compare(
    what: str, ours: Callable[[], None], theirs: Callable[[], None], target: float, pairs: int
) -> bool:
    """Time two things in turn; print medians and the median of the pairs' ratios."""
    times = [(seconds(ours), seconds(theirs)) for _ in range(pairs)]
    ratios = sorted(a / b for a, b in times)
    ratio = statistics.median(ratios)
    print(f"{what}, {pairs} pairs")
    for name, column in (("reprorun sweep", 0), ("docker run", 1)):
        print(f"  {statistics.median(pair[column] for pair in times):7.2f} s  {name}")
    verdict = "reached" if ratio <= target else "MISSED"
    print(f"  ratio {ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); {target} is {verdict}")
    return ratio <= target


def seconds(work: Callable[[], None]) -> float:
    """The wall time of something that succeeds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# ---------------------------------------------------------------- going on


def resuming(pairs: int) -> bool:
    """10 runs of 10,000 against 10 of 10: what the 9,990 that are finished cost."""
    directory = finished_but(LEFT)
    times = []
    for _ in range(pairs):
        whole = seconds(lambda: sweep(LEFT))
        rest = seconds(lambda: resume(directory))
        times.append((whole, rest))
        forget_last(directory, LEFT)
    more = statistics.median(rest - whole for whole, rest in times)
    print(f"{LEFT} runs of {PLANNED:,}, the others being finished, {pairs} pairs")
    print(f"  {statistics.median(t[0] for t in times):7.2f} s  {LEFT} of {LEFT}")
    print(f"  {statistics.median(t[1] for t in times):7.2f} s  {LEFT} of {PLANNED:,}")
    print(f"  {more:.2f} s more; 5 s is {'reached' if more < 5 else 'MISSED'}")
    return more < 5


def resume(directory: str) -> None:
    """Go on with a sweep."""
    words = [REPRORUN, "sweep", "-q", "-j", "2", "--resume", directory]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def finished_but(left: int) -> str:
    """A sweep of 10,000 runs of which all but some are finished: copies of one that was made."""
    directory = os.path.abspath("large")
    sweep(1, "--log-dir", directory)
    with open(os.path.join(directory, "sweep.json")) as file:
        book = json.load(file)
    first = book["runs"][0]
    with open(os.path.join(directory, "n=0", "run.json")) as file:
        record = json.load(file)
    book["points"]["grid"]["n"] = {"range": [0, PLANNED - 1, 1]}
    for number in range(1, PLANNED - left):
        name = f"n={number}"
        shutil.copytree(os.path.join(directory, "n=0"), os.path.join(directory, name))
        with open(os.path.join(directory, name, "run.json"), "w") as file:
            json.dump({**record, "id": f"{number:016x}", "argv": ["trivial.py", str(number)]}, file)
        book["runs"].append(
            {**first, "params": {"n": number}, "log_dir": name, "id": f"{number:016x}"}
        )
    planned = {"status": "planned", "log_dir": None, "id": None, "exit_code": None}
    for number in range(PLANNED - left, PLANNED):
        book["runs"].append({**first, **planned, "params": {"n": number}})
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


def memory() -> bool:
    """The peak of the sweeping process over growing sweeps, on an engine that does nothing."""
    peaks = [peak(runs) for runs in (100, 1_000, 10_000)]
    print("memory of the sweeping process, the engine being a stand-in that runs nothing")
    for runs, found in zip((100, 1_000, 10_000), peaks, strict=True):
        print(f"  {found / 2**20:7.1f} MiB  {runs:,} runs")
    flat = peaks[-1] <= 1.25 * peaks[0]
    print(f"  ratio {peaks[-1] / peaks[0]:.2f}; 1.25 is {'reached' if flat else 'MISSED'}")
    return flat


def peak(runs: int) -> int:
    """Bytes, of a process of its own."""
    done = subprocess.run(
        [sys.executable, HERE, "--sweep", str(runs)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return int(done.stdout.split()[-1])


def sweep_here(runs: int) -> None:
    """A sweep in this process on an engine in memory; prints the peak."""
    from reprorun.cli.sweep_progress import make_sweep_progress
    from reprorun.engine.fake import FakeEngine
    from reprorun.model import Image, RunSpec
    from reprorun.sweeps.values import PointsSpec, Span
    from reprorun.workflow.report import Silent
    from reprorun.workflow.sweep import SweepRequest, here, run_sweep

    base = Image(id="sha256:base", layers=("sha256:layer",), env=("PATH=/bin",), machine="x86_64")
    programs = {"python": lambda process: 0, "/bin/sh": _answer}
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
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


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
    if sys.argv[1:2] == ["--sweep"]:
        sweep_here(int(sys.argv[2]))
    else:
        sys.exit(main())
