"""Which wheels fit the container's Python and platform, best first (PEP 425, 600 and 656)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from reprorun.model import BaseImage, RemoteFile

if TYPE_CHECKING:
    from packaging.tags import Tag
    from packaging.utils import BuildTag

_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_OLDEST_GLIBC_MINOR = 5
_USUAL_MUSL = "1.2"  # as uv has it; musl does not say its version to Python


def best_wheel(files: Iterable[RemoteFile], base: BaseImage) -> RemoteFile | None:
    """The wheel that an installer would take, None where no wheel fits."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    ranks = _ranks(base.python_minor, base.machine, base.libc)
    fitting: list[tuple[int, BuildTag, RemoteFile]] = []
    for file in sorted(files, key=lambda file: file.name):
        try:
            _, _, build, tags = parse_wheel_filename(file.name)
        except InvalidWheelFilename:  # a source distribution, or a name of old
            continue
        if known := [ranks[tag] for tag in tags if tag in ranks]:
            fitting.append((min(known), build, file))
    best = max(fitting, key=lambda each: (-each[0], each[1]), default=None)
    return best[2] if best else None


@lru_cache(maxsize=8)
def _ranks(python_minor: str, machine: str, libc: str) -> dict[Tag, int]:
    from packaging.tags import compatible_tags, cpython_tags

    version = tuple(int(part) for part in python_minor.split("."))
    platforms = [*_platforms(machine, libc), f"linux_{machine}"]
    interpreter = f"cp{''.join(map(str, version))}"
    tags = [
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, interpreter=interpreter, platforms=platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}


def _platforms(machine: str, libc: str) -> Iterable[str]:
    """The platform tags that this libc can run, newest first."""
    kind, _, version = libc.partition(" ")
    major, minor = (int(part) for part in (version or _USUAL_MUSL).split(".")[:2])
    if kind != "glibc":
        yield from (f"musllinux_{major}_{older}_{machine}" for older in range(minor, -1, -1))
        return
    for older in range(minor, _OLDEST_GLIBC_MINOR - 1, -1):
        yield f"manylinux_{major}_{older}_{machine}"
        if (major, older) in _LEGACY:
            yield f"{_LEGACY[major, older]}_{machine}"
