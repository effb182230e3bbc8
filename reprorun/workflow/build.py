"""Making the two images of a run: the environment's, then the run's from it.

Equal inputs mean nothing to make: the tags derive from the digests, and an image is taken only
when its label says that it was made from exactly those.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import IO

import msgspec

from reprorun import render
from reprorun.engine import Engine
from reprorun.environment.fetch import fetch_whole
from reprorun.environment.layers import DamagedLayer, WheelLayer, environment_layers
from reprorun.environment.tar import EPOCH
from reprorun.errors import BuildFailed
from reprorun.launch_archive import ArchiveLimits, guarded
from reprorun.model import (
    DIGEST_LABEL,
    ENTRYPOINT,
    KIND_LABEL,
    WORKSPACE,
    BaseImage,
    EnvironmentPlan,
    Image,
    ImageSpec,
    Lock,
    Plan,
    RemoteFile,
)
from reprorun.workflow.report import Reporter

UNLIMITED = ArchiveLimits(files=1 << 62, size=1 << 62)
_PIECE = 1 << 20  # bytes
Get = Callable[[Sequence[RemoteFile]], dict[str, str]]
"""Brings files into the cache: sha256 -> path."""

_IN_MEMORY = 16 << 20  # bytes of code that are held in memory; more goes through a file


def build_environment(
    plan: EnvironmentPlan,
    lock: Lock,
    paths: tuple[str, ...],
    engine: Engine,
    report: Reporter,
    *,
    indexes: Sequence[str] = (),
    rebuild: bool = False,
    offline: bool = False,
) -> Image:
    """The environment's image, made when the engine does not have it.

    Args:
        plan: names and settings.
        lock: the packages.
        paths: directories of the working tree to put on the search path for modules.
        indexes: addresses that files name, whose logins may be needed.
        rebuild: make every layer anew.
        offline: open no connection.

    Raises:
        BuildFailed: the engine can't make it.
        LockFailed: a wheel can't be had, or is none.
    """
    if not rebuild and (found := _existing(engine, plan.tag, plan.digest)):
        return found
    base = plan.base
    report.step("environment", f"for Python {base.python}, {_count(lock)}")
    get = partial(
        fetch_whole,
        offline=offline,
        progress=report.progress,
        note=report.note,
        indexes=indexes,
    )
    lock = _with_sizes(lock, get)
    layers = environment_layers(lock, base, paths)
    spec = _environment_spec(plan, layers)
    if rebuild:
        for layer in layers:
            layer.forget()
    try:
        return _make(spec, layers, get, engine, base, report)
    except DamagedLayer as error:
        report.note(f"{error} It is made anew.")
        return _make(spec, layers, get, engine, base, report)


def _environment_spec(plan: EnvironmentPlan, layers: Sequence[WheelLayer]) -> ImageSpec:
    # the layers as they are: where the index tells no sizes, the plan did not know them all
    whole = msgspec.structs.replace(plan, layers=tuple(layer.title for layer in layers))
    return ImageSpec(
        tag=plan.tag,
        parent=plan.base.id,
        env=render.environment_variables(plan),
        workdir=WORKSPACE,
        entrypoint=ENTRYPOINT,
        labels=render.environment_labels(plan),
        dockerfile=partial(render.environment_dockerfile, whole),
    )


def _make(
    spec: ImageSpec,
    layers: Sequence[WheelLayer],
    get: Get,
    engine: Engine,
    base: BaseImage,
    report: Reporter,
) -> Image:
    held = _held(engine, base, layers)
    try:
        _open([layer for layer in layers[held:] if not layer.open_kept()], get)
        return engine.make(spec, layers, held, report.progress)
    except (BuildFailed, DamagedLayer):
        _look_at(layers)
        raise
    finally:
        for layer in layers:
            layer.close()


def _look_at(layers: Sequence[WheelLayer]) -> None:
    """Forget what is kept of the layers and is not what it was; after a power failure, many may be.

    Raises:
        DamagedLayer: there is some; the first.
    """
    damaged: DamagedLayer | None = None
    for layer in layers:
        try:
            layer.verify()
        except DamagedLayer as error:
            damaged = damaged or error
    if damaged:
        raise damaged


def layer_titles(lock: Lock, base: BaseImage) -> tuple[str, ...]:
    """What each layer of an environment holds, for its Dockerfile."""
    return tuple(layer.title for layer in environment_layers(lock, base))


def _existing(engine: Engine, tag: str, digest: str) -> Image | None:
    image = engine.image(tag)
    return image if image and image.labels.get(DIGEST_LABEL) == digest else None


def _count(lock: Lock) -> str:
    number = len(lock.packages)
    return "the standard library" if not number else f"{number} package{'s' * (number > 1)}"


def _with_sizes(lock: Lock, get: Get) -> Lock:
    """The lock with the size of each wheel, by which layers are ordered; not every index tells."""
    unknown = [package.wheel for package in lock.packages if package.wheel.size is None]
    if not unknown:
        return lock
    paths = get(unknown)
    packages = []
    for package in lock.packages:
        path = paths.get(package.wheel.sha256)
        size = os.path.getsize(path) if path else package.wheel.size
        wheel = msgspec.structs.replace(package.wheel, size=size)
        packages.append(msgspec.structs.replace(package, wheel=wheel))
    return msgspec.structs.replace(lock, packages=tuple(packages))


def _held(engine: Engine, base: BaseImage, layers: Sequence[WheelLayer]) -> int:
    """How many of the layers the engine has on top of the base, in some environment of ours."""
    if not engine.info().takes_layers:
        return 0
    parent = engine.image(base.id)
    below = parent.layers if parent else ()
    wanted = [*below, *(layer.diff_id for layer in layers)]
    most = 0
    for image in engine.labelled_images(f"{KIND_LABEL}=environment"):
        pairs = zip(image.layers, wanted, strict=False)
        same = next(
            (n for n, (a, b) in enumerate(pairs) if a != b), min(len(image.layers), len(wanted))
        )
        most = max(most, same - len(below))
    return most


def _open(layers: Sequence[WheelLayer], get: Get) -> None:
    """Have the wheels of the layers that are to be made, each verified."""
    paths = get([file for layer in layers for file in layer.wheels])
    for layer in layers:
        layer.open(paths)


# ---------------------------------------------------------------- the code


def build_run(
    plan: Plan,
    archive: str,
    directories: tuple[str, ...],
    environment: Image,
    engine: Engine,
    report: Reporter,
    *,
    rebuild: bool = False,
) -> Image:
    """The run's image, made from its launch archive when the engine has it not.

    Args:
        archive: path of the launch archive.
        directories: of the working tree, to be made because inputs are mounted in them.
        environment: the image that it is made from.

    Raises:
        BuildFailed: the engine can't make it.
    """
    if not rebuild and (found := _existing(engine, plan.run_tag, plan.run_digest)):
        return found
    report.step("image", "adding the code")
    spec = ImageSpec(
        tag=plan.run_tag,
        parent=environment.id,
        labels=render.run_labels(plan),
        dockerfile=partial(render.run_dockerfile, plan),
    )
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as tar:
        _write_code(archive, directories, tar)
        return engine.make(spec, [FileLayer("the code", tar)], 0, report.progress)


class FileLayer:
    """A layer whose tar is a file."""

    diff_id = None
    is_kept = False

    def __init__(self, title: str, content: IO[bytes]) -> None:
        self.title = title
        self.size = content.seek(0, os.SEEK_END)
        self._content = content

    def pieces(self) -> Iterator[bytes]:
        """The tar."""
        self._content.seek(0)
        while piece := self._content.read(_PIECE):
            yield piece

    def made(self, diff_id: str) -> None:
        """Nothing has to be remembered."""


def _write_code(archive: str, directories: tuple[str, ...], out: IO[bytes]) -> None:
    """The launch archive as the container has it: below the working tree, writable for any uid."""
    with (
        # whoever let it come so far has checked it: its limits, and where its links lead
        guarded(archive, UNLIMITED, links_out=None) as source,
        tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as target,
    ):
        top = _directory(".")
        target.addfile(top)
        seen = {top.name}
        for member in source:
            member.name = _below(member.name)
            if member.islnk():
                member.linkname = _below(member.linkname)
            member.mode |= 0o777 if member.isdir() else 0o666
            if member.name not in seen:  # engines take no path twice
                seen.add(member.name)
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
        for directory in directories:
            if _below(directory) not in seen:
                target.addfile(_directory(directory))


def _below(name: str) -> str:
    return os.path.normpath(f"{WORKSPACE.lstrip('/')}/{name}")


def _directory(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(_below(name))
    member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o777, EPOCH
    return member
