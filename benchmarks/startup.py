"""What reprorun costs on top of what it calls: `exec` against bare `docker run`, `rerun` against
`exec`, `--help` against bare Python. The commands of a pair run in turn, so that a machine's ups
and downs hit both.

    python benchmarks/startup.py [PAIRS]

needs a running engine and a base image (REPRORUN_BASE_IMAGE, or the default one). It runs the
`reprorun` of the Python that runs it. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

PAIRS = 10
REPRORUN = os.path.join(os.path.dirname(sys.executable), "reprorun")
GIT = ("git", "-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.invalid")


def main() -> int:
    """Measure, print, and say whether the targets are reached."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    with tempfile.TemporaryDirectory() as project:
        bare = prepare(project)
        reached = [
            compare("exec of a trivial script", exec_command(), bare, pairs, 1.5, project),
            compare("rerun of its record", rerun_command(), exec_command(), pairs, 1.3, project),
            compare("--help", [REPRORUN, "--help"], [sys.executable, "-c", "pass"], pairs, 4.0),
        ]
    return 0 if all(reached) else 1


def exec_command() -> list[str]:
    """The run that is measured; what it prints stays, as with `docker run`."""
    return [REPRORUN, "exec", "trivial.py"]


def rerun_command() -> list[str]:
    """The record of the first run, once more."""
    return [REPRORUN, "rerun", "data/local/experiment/trivial"]


def prepare(project: str) -> list[str]:
    """Make a repository with a trivial script, run it once, and return the bare `docker run`."""
    with open(os.path.join(project, "trivial.py"), "w") as file:
        file.write("print('hello')\n")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "trivial")):
        subprocess.run([*GIT, *command], cwd=project, check=True)
    done = subprocess.run(
        [*exec_command()[:2], "--json", "trivial.py"], cwd=project, check=True, capture_output=True
    )
    image = json.loads(done.stdout)["image"]
    return ["docker", "run", "--rm", image, "python", "trivial.py"]


def compare(
    what: str, ours: list[str], bare: list[str], pairs: int, target: float, cwd: str | None = None
) -> bool:
    """Time two commands in turn; print medians and the median of the pairs' ratios."""
    times = [(seconds(ours, cwd), seconds(bare, cwd)) for _ in range(pairs + 1)][1:]
    ratios = sorted(a / b for a, b in times)
    ratio = statistics.median(ratios)
    print(f"{what}, {pairs} pairs")
    for command, column in ((ours, 0), (bare, 1)):
        median = statistics.median(pair[column] for pair in times)
        print(f"  {median * 1000:7.0f} ms  {' '.join(os.path.basename(w) for w in command[:4])}")
    verdict = "reached" if ratio <= target else "MISSED"
    print(f"  ratio {ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); {target} is {verdict}")
    return ratio <= target


def seconds(command: list[str], cwd: str | None) -> float:
    """The wall time of a command that succeeds."""
    began = time.perf_counter()
    subprocess.run(
        command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
