"""How archiving, locking, assembling an environment, comparing and sweeping grow with what there
is of it, over three sizes each. (`ls` has its own benchmark.)

    python benchmarks/growth.py [PAIRS] [--quick]

needs no engine: sweeps run on a stand-in. Exit code 1 when something grows much faster than it
should.
"""

from __future__ import annotations

import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from typing import NoReturn

from archive import archive, forget, make_repository
from measuring import (
    REPRORUN,
    Effort,
    Figure,
    Growth,
    alone,
    run,
    seconds,
    trivial_project,
)
from memory import make_wheel, metadata
from sweep import ALONE
from sweep import HERE as SWEEP

from reprorun.environment.layers import WheelLayer
from reprorun.environment.lock import Request, make_lock
from reprorun.files import sha256_of
from reprorun.model import BaseImage, Package, RemoteFile, Wanted

Prepare = Callable[[str, int], Callable[[], float]]
TIMES = 3


def measure(effort: Effort) -> Iterator[Figure]:
    """The figures."""
    for what, of, largest, prepare in SERIES:
        sizes = tuple(effort.size(largest, largest // 10) // part for part in (16, 4, 1))
        yield growth(what, of, sizes, prepare)


def growth(what: str, of: str, sizes: tuple[int, ...], prepare: Prepare) -> Growth:
    """One of them, over its sizes."""
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as place:
            once = prepare(place, size)
            found.append(tuple(once() for _ in range(TIMES)))
    return Growth(what=what, of=of, sizes=sizes, seconds=tuple(found))


def archiving(place: str, size: int) -> Callable[[], float]:
    """A launch archive of so many files, as for the first time."""
    root = os.path.join(place, "repository")
    make_repository(root, size)

    def once() -> float:
        forget(place)
        return seconds(lambda: archive(root, place))

    return once


def locking(place: str, size: int) -> Callable[[], float]:
    """The lock of so many packages, which uv finds on the disk."""
    wheels = [make_wheel(place, f"package{number}", 0) for number in range(size)]
    lines = tuple(f"package{number} @ file://{path}" for number, path in enumerate(wheels))
    base = BaseImage(ref="", id="", digest="", python="3.11.2", machine="x86_64", libc="glibc 2.36")
    request = Request(wanted=Wanted(lines=lines), root=place, base=base, offline=True)

    def once() -> float:
        forget(place)
        return seconds(lambda: make_lock(request, _no_source))

    return once


def _no_source(candidate: object) -> NoReturn:
    raise SystemExit("there is a wheel of each package")


def assembling(place: str, size: int) -> Callable[[], float]:
    """The layer of a package of so many files."""
    path = os.path.join(place, "large-1-py3-none-any.whl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for number in range(size):
            wheel.writestr(
                f"large/part_{number // 100}/module_{number}.py", f"x = {number}\n" * 100
            )
        for member, text in metadata("large").items():
            wheel.writestr(member, text)
    digest = sha256_of(path)
    file = RemoteFile(name=os.path.basename(path), sha256=digest, size=os.path.getsize(path))
    package = Package(name="large", version="1", wheel=file)

    def once() -> float:
        forget(place)
        layer = WheelLayer([package], "3.11")

        def made() -> None:
            layer.open({digest: path})
            for _ in layer.pieces():
                pass

        return seconds(made)

    return once


def comparing(place: str, size: int) -> Callable[[], float]:
    """`compare` of directories of so many equal files."""
    for directory in ("a", "b"):
        os.mkdir(os.path.join(place, directory))
        for number in range(size):
            with open(os.path.join(place, directory, f"{number:06}.txt"), "w") as file:
                file.write(f"{number}\n" * 100)
    return lambda: run(REPRORUN, "compare", "-q", "a", "b", cwd=place).seconds


def sweeping(place: str, size: int) -> Callable[[], float]:
    """A sweep of so many runs on an engine that runs nothing."""

    def once() -> float:
        with tempfile.TemporaryDirectory(dir=place) as project:
            trivial_project(project)
            return run(sys.executable, SWEEP, ALONE, str(size), cwd=project).seconds

    return once


SERIES: tuple[tuple[str, str, int, Prepare], ...] = (
    ("launch archive", "files", 8_000, archiving),
    ("`lock`", "packages", 160, locking),
    ("layers of an environment", "files", 16_000, assembling),
    ("`compare`", "files", 16_000, comparing),
    ("`sweep`", "runs", 1_600, sweeping),
)


if __name__ == "__main__":
    sys.exit(alone(measure, __doc__))
