"""Packing and opening a pack of a large input: seconds, and the peak memory of the host process.

    python benchmarks/pack.py [MEGABYTES]

needs a running engine and a base image (REPRORUN_BASE_IMAGE, or the default one), and room for
four times the size. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

MEGABYTES = 2000
MOST = 200  # MB of memory
PIECE = 1 << 20
REPRORUN = os.path.join(os.path.dirname(sys.executable), "reprorun")
GIT = ("git", "-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.invalid")


def main() -> int:
    """Measure, print, and say whether the target is reached."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        prepare(megabytes)
        peaks = [
            measured("pack", "pack", "project/data/local/experiment/trivial", "-o", "x.rrpack"),
            measured("rerun from it", "rerun", "x.rrpack", "--offline"),
        ]
    return 0 if max(peaks) < MOST else 1


def prepare(megabytes: int) -> None:
    """A record of a trivial script with a large input."""
    with open("large.bin", "wb") as file:
        for _ in range(megabytes * 1_000_000 // PIECE):
            file.write(os.urandom(PIECE))
    os.mkdir("project")
    with open("project/trivial.py", "w") as file:
        file.write("print('hello')\n")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "trivial")):
        subprocess.run([*GIT, *command], cwd="project", check=True)
    command = [REPRORUN, "exec", "-q", "--input", "../large.bin", "trivial.py"]
    subprocess.run(command, cwd="project", check=True, stdout=subprocess.DEVNULL)
    os.environ["XDG_CACHE_HOME"] = os.path.abspath("cache")  # nothing is known of it


def measured(what: str, *words: str) -> float:
    """Run a command; print how long it took, and return its peak memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [REPRORUN, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(said.decode())
    peak = usage.ru_maxrss * 1024 / 1e6
    seconds = time.perf_counter() - began
    verdict = "reached" if peak < MOST else "MISSED"
    print(f"{what}: {seconds:.1f} s, at most {peak:.0f} MB; {MOST} MB is {verdict}", flush=True)
    return peak


if __name__ == "__main__":
    sys.exit(main())
