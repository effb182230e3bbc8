"""Examining a machine: everything that a run needs, each finding with its remedy."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from typing import Literal

from reprorun import files
from reprorun.engine import Engine
from reprorun.engine.abilities import Lack, lacks_of
from reprorun.errors import EngineError, ReprorunError, UsageError
from reprorun.gpus import choose_gpus, in_words
from reprorun.model import EngineInfo, Gpus, Requirements, RunSpec, Value
from reprorun.probe.hardware import hardware_of
from reprorun.workflow.base import base_reference

ENOUGH_DISK = 5 << 30  # bytes; a scientific environment and its image take about as much
_GIB = 1 << 30


class Check(Value, frozen=True, kw_only=True):
    """One finding. `bad`: nothing runs without it; `poor`: something may not."""

    name: str
    state: Literal["good", "poor", "bad"]
    found: str
    mend: str = ""


def examine(spec: RunSpec, connect: Callable[[], Engine]) -> list[Check]:
    """Examine the machine.

    Args:
        spec: the settings in force, for the base image that they mean.
        connect: reaches the engine.
    """
    checks = [_python(), _git(), _uv(), _cache(), _disk("disk here", spec.cwd)]
    try:
        engine = connect()
        info = engine.info()
    except (EngineError, UsageError) as error:
        return [*checks, _no_engine(error)]
    checks += [_engine(info), *(_lacking(lack) for lack in lacks_of(info))]
    if not info.remote and os.path.isdir(info.root_dir):
        checks.append(_disk("engine's disk", info.root_dir))
    return [*checks, _gpu(info), _base_image(spec, engine)]


def _python() -> Check:
    return Check(name="python", state="good", found=f"{sys.version.split()[0]}, {sys.executable}")


def _git() -> Check:
    path = shutil.which("git")
    if path:
        return Check(name="git", state="good", found=path)
    return Check(
        name="git",
        state="bad",
        found="not on the PATH; launchers in a repository can't be archived",
        mend="install it, such as with `sudo apt-get install git`",
    )


def _uv() -> Check:
    from uv import find_uv_bin

    try:
        return Check(name="uv", state="good", found=find_uv_bin())
    except FileNotFoundError as error:
        return Check(
            name="uv", state="bad", found=str(error), mend="install reprorun anew; it brings uv"
        )


def _cache() -> Check:
    try:
        path = files.cache_directory()
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        return Check(
            name="cache",
            state="bad",
            found=f"{error.filename}: {error.strerror}",
            mend="make it writable, or name another place in XDG_CACHE_HOME",
        )
    return Check(name="cache", state="good", found=path)


def _disk(name: str, path: str) -> Check:
    free = shutil.disk_usage(path).free
    found = f"{free / _GIB:.1f} GiB free at {path}"
    if free >= ENOUGH_DISK:
        return Check(name=name, state="good", found=found)
    mend = "free some: `docker system df` says what the engine holds"
    return Check(name=name, state="poor", found=found, mend=mend)


def _no_engine(error: ReprorunError) -> Check:
    text = str(error)
    found, _, mend = text.partition("\n" if "\n" in text else ". ")
    return Check(name="engine", state="bad", found=found, mend=mend)


def _engine(info: EngineInfo) -> Check:
    rootless = ", rootless" if info.rootless else ""
    where = f"; {info.address}, by {info.named_by}" if info.address else ""
    found = f"{info.name} {info.version} (API {info.api_version}{rootless}), {info.os}{where}"
    return Check(name="engine", state="good", found=found)


def _lacking(lack: Lack) -> Check:
    return Check(name="engine lacks", state="poor", found=lack.what, mend=lack.instead)


def _gpu(info: EngineInfo) -> Check:
    cards = hardware_of(info).gpus
    request = choose_gpus(Gpus(), info)
    if request:
        found = f"runs get {in_words(request)}; cards: {', '.join(cards) or 'none seen here'}"
        return Check(name="gpu", state="good", found=found)
    if cards:
        return Check(
            name="gpu",
            state="poor",
            found=f"the machine has {', '.join(cards)}, but the engine has no GPU runtime",
            mend="install NVIDIA's container toolkit and run `nvidia-ctk runtime configure`",
        )
    return Check(name="gpu", state="good", found="none here; runs use the CPU runtime")


def _base_image(spec: RunSpec, engine: Engine) -> Check:
    ref = base_reference(spec, Requirements())
    try:
        image = engine.image(ref)
    except ReprorunError as error:
        return Check(name="base image", state="bad", found=str(error))
    if image:
        return Check(name="base image", state="good", found=f"{ref} is on the engine")
    return Check(
        name="base image",
        state="poor",
        found=f"{ref} is not on the engine; the first run will pull it",
        mend="where no registry can be reached: scripts/base-image of the repository makes one "
        "from Debian packages; then set REPRORUN_BASE_IMAGE",
    )
