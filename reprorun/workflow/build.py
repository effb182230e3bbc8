"""Building the two images of a run: the environment's, then the run's from it.

Equal inputs mean no build: the tags derive from the digests, and an image is taken only when its
label says that it was made from exactly those.
"""

from __future__ import annotations

import lzma
import os
import tarfile
import tempfile
from collections.abc import Iterator
from typing import IO

from reprorun import files
from reprorun.engine import Engine
from reprorun.environment.assemble import EPOCH, assemble
from reprorun.errors import BuildFailed
from reprorun.model import DIGEST_LABEL, Image, Lock, Plan
from reprorun.render import environment_dockerfile, run_dockerfile
from reprorun.store import ARCHIVE_FILE
from reprorun.workflow.report import Reporter

_PIECE = 1 << 20  # bytes
_IN_MEMORY = 16 << 20  # bytes of code that are held in memory; more goes through a file


def build_environment(
    plan: Plan,
    lock: Lock,
    paths: tuple[str, ...],
    engine: Engine,
    report: Reporter,
    *,
    rebuild: bool = False,
    offline: bool = False,
) -> Image:
    """The environment's image, built when the engine does not have it.

    Raises:
        BuildFailed: with the last lines of the build.
        LockFailed: a wheel can't be had.
    """
    if not rebuild and (found := _existing(engine, plan.environment_tag, plan.environment_digest)):
        return found
    base = plan.base
    report.step("environment", f"building for Python {base.python}, {_count(lock)}")
    with tempfile.TemporaryFile(dir=files.cache_directory("scratch")) as tar:
        assemble(base, lock, paths, offline=offline, out=tar)
        context = _context(environment_dockerfile(plan), "environment.tar", tar)
        image = engine.build(context, plan.environment_tag, report.progress)
    _check_parent(image, engine.image(base.id), base.ref)
    return image


def build_run(
    plan: Plan,
    log_dir: str,
    directories: tuple[str, ...],
    engine: Engine,
    report: Reporter,
    *,
    rebuild: bool = False,
) -> Image:
    """The run's image, built from the launch archive of `log_dir` when the engine has it not.

    Args:
        directories: of the working tree, to be made because inputs are mounted in them.

    Raises:
        BuildFailed: with the last lines of the build.
    """
    if not rebuild and (found := _existing(engine, plan.run_tag, plan.run_digest)):
        return found
    report.step("image", "adding the code")
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as tar:
        _write_code(os.path.join(log_dir, ARCHIVE_FILE), directories, tar)
        context = _context(run_dockerfile(plan), ARCHIVE_FILE, tar)
        image = engine.build(context, plan.run_tag, report.progress)
    _check_parent(image, engine.image(plan.environment_tag), plan.environment_tag)
    return image


def _existing(engine: Engine, tag: str, digest: str) -> Image | None:
    image = engine.image(tag)
    return image if image and image.labels.get(DIGEST_LABEL) == digest else None


def _count(lock: Lock) -> str:
    number = len(lock.packages)
    return "the standard library" if not number else f"{number} package{'s' * (number > 1)}"


def _check_parent(image: Image, parent: Image | None, name: str) -> None:
    """A name may be moved to another image while it is built from: the layers tell."""
    if parent is None or image.layers[: len(parent.layers)] != parent.layers:
        raise BuildFailed(f"{name} changed while an image was built from it. Run it again.")


def _write_code(archive: str, directories: tuple[str, ...], out: IO[bytes]) -> None:
    """The launch archive as the container needs it: not packed, and writable for any uid.

    It goes into the build under the archive's name; engines tell packed from plain by content.
    """
    with (
        lzma.open(archive) as packed,
        tarfile.open(fileobj=packed, mode="r|") as source,
        tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as target,
    ):
        for member in source:
            member.mode |= 0o777 if member.isdir() else 0o666
            target.addfile(member, source.extractfile(member) if member.isreg() else None)
        for directory in directories:
            target.addfile(_directory(directory))


def _directory(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o777, EPOCH
    return member


def _context(dockerfile: str, name: str, content: IO[bytes]) -> Iterator[bytes]:
    """A build context of the Dockerfile and one file, streamed."""
    yield _member("Dockerfile", len(dockerfile.encode()))
    yield _padded(dockerfile.encode())
    size = content.seek(0, os.SEEK_END)
    content.seek(0)
    yield _member(name, size)
    while piece := content.read(_PIECE):
        yield piece
    yield b"\0" * (-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def _member(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, EPOCH
    return member.tobuf(tarfile.GNU_FORMAT)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % tarfile.BLOCKSIZE)
