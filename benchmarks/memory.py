"""The peak memory of the host process: of a run, of a run in a new environment of 4 GB, and of a
sweep of 1,000 runs.

    python benchmarks/memory.py [PAIRS] [--quick]

needs a running engine, a base image (REPRORUN_BASE_IMAGE, or the default one), and room for four
times the environment. Its packages are made here, of bytes that can't be compressed. Exit code 1
when a target is missed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from environment import docker, images_of
from measuring import MEGABYTE, REPRORUN, Effort, Figure, Row, Target, alone, commit, run
from sweep import peak as sweep_peak

WHEELS, FEW = 8, 2
WHEEL, SMALL = 500 * MEGABYTE, 20 * MEGABYTE
RUNS, FEW_RUNS = 1_000, 20
MOST = 150  # MB
_PIECE = 1 << 20
_WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def measure(effort: Effort) -> Iterator[Figure]:
    """The figures."""
    with tempfile.TemporaryDirectory() as place:
        project = make_project(place, effort.size(WHEELS, FEW), effort.size(WHEEL, SMALL))
        gigabytes = effort.size(WHEELS, FEW) * effort.size(WHEEL, SMALL) / 1e9
        cache = {
            **os.environ,
            "XDG_CACHE_HOME": os.path.join(place, "cache"),
            "UV_FIND_LINKS": place,
            "UV_NO_INDEX": "1",
        }
        words = (REPRORUN, "exec", "-q", "trivial.py")
        yield row(f"an environment of {gigabytes:g} GB", run(*words, cwd=project, env=cache).peak)
        yield row("`exec`, nothing changed", run(*words, cwd=project, env=cache).peak)
        for image in images_of(Path(project)):
            docker("rmi", "--force", image, check=False)
    runs = effort.size(RUNS, FEW_RUNS)
    yield row(f"a sweep of {runs:,} runs", sweep_peak(runs))


def row(what: str, peak: int) -> Row:
    """The memory that something took."""
    target = Target(at_most=MOST)
    return Row(what=f"memory: {what}", unit="MB", ours=(peak / MEGABYTE,), target=target)


def make_project(place: str, wheels: int, size: int) -> str:
    """A repository whose script needs some large packages."""
    project = os.path.join(place, "project")
    os.mkdir(project)
    names = [f"large{number}" for number in range(wheels)]
    for name in names:
        make_wheel(place, name, size)
    with open(os.path.join(project, "requirements.txt"), "w") as file:
        file.writelines(f"{name}==1\n" for name in names)
    with open(os.path.join(project, "trivial.py"), "w") as file:
        file.write("print('hello')\n")
    commit(project)
    return project


def make_wheel(place: str, name: str, size: int) -> str:
    """A wheel that holds one file of random bytes, in the form that wheels have: deflated."""
    path = os.path.join(place, f"{name}-1-py3-none-any.whl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=0) as wheel:
        with wheel.open(f"{name}/data.bin", "w", force_zip64=True) as file:
            for _ in range(size // _PIECE):
                file.write(os.urandom(_PIECE))
        for member, text in metadata(name, f"{name}/data.bin").items():
            wheel.writestr(member, text)
    return path


def metadata(name: str, *members: str) -> dict[str, str]:
    """What a wheel says of itself."""
    information = f"{name}-1.dist-info"
    texts = {
        f"{name}/__init__.py": "",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{information}/WHEEL": _WHEEL,
    }
    listed = "".join(f"{member},,\n" for member in (*members, *texts))
    return {**texts, f"{information}/RECORD": f"{listed}{information}/RECORD,,\n"}


if __name__ == "__main__":
    sys.exit(alone(measure, __doc__))
