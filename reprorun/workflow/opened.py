"""A record to run again: its log directory, or a pack of it that is opened while it is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from reprorun import files, store
from reprorun.engine import Engine
from reprorun.engine.images import describe, write_loadable
from reprorun.environment.fetch import cached, keep
from reprorun.errors import EngineError, LockFailed, RecordError
from reprorun.known import remember_images
from reprorun.model import Image, Record, RemoteFile
from reprorun.pack.contents import directory_digest, input_files
from reprorun.pack.format import StoredInput, StoredLayer, StoredWheel
from reprorun.pack.reading import Pack
from reprorun.workflow.base import image_digest
from reprorun.workflow.report import Reporter
from reprorun.workflow.restore import base_tag


class Opened:
    """A record, and what a pack of it holds beside.

    Args:
        log_dir: absolute; of a pack, where the record's files are while it is open.
        pack: None for a directory.
    """

    def __init__(self, log_dir: str, pack: Pack | None) -> None:
        self.log_dir = log_dir
        self._pack = pack

    @property
    def pack(self) -> str | None:
        """The pack's path; None for a directory."""
        return self._pack.path if self._pack else None

    def provide(self, engine: Engine, report: Reporter) -> None:
        """Give the cache the packages of a pack, and the engine the base image, where they lack.

        The caller holds the cache's lock.

        Raises:
            RecordError: the pack is damaged, or not of its record.
            LockFailed: the cache can't be written.
            EngineError: the engine refuses the image.
        """
        if self._pack is None:
            return
        for wheel in self._pack.index.wheels:
            report.progress(wheel.name)
            _provide_wheel(self._pack, wheel)
        _provide_image(self._pack, store.read_record(self.log_dir), engine, report)

    def inputs(self, record: Record) -> dict[str, str]:
        """The inputs that a pack holds, as verified copies: target -> path.

        They lie in the cache, to be mounted read-only.

        Raises:
            RecordError: the pack is damaged.
            EngineError: the disk is full.
        """
        if self._pack is None:
            return {}
        held = {each.target: each for each in self._pack.index.inputs}
        return {
            entry.target: _copy(self._pack, held[entry.target])
            for entry in record.inputs
            if entry.target in held and held[entry.target].sha256 == entry.sha256
        }


@contextmanager
def opened(path: str, report: Reporter, *, whole: bool = True) -> Iterator[Opened]:
    """A record while the block lasts, from its directory or from a pack.

    Args:
        path: of the record.
        report: told what happens.
        whole: unpack the directories in it too, such as its outputs.

    Raises:
        RecordError: it is neither, or the pack is damaged.
        EngineError: the disk is full.
    """
    if os.path.isdir(path):
        yield Opened(os.path.abspath(path), None)
        return
    if not os.path.lexists(path):
        raise RecordError(f"{path}: there is no such record: neither a directory nor a pack.")
    with Pack.open(path) as pack, files.scratch_directory() as scratch:
        index = pack.index
        report.step("pack", f"unpacking the record {index.name}")
        log_dir = os.path.join(scratch, index.name)
        with _telling(scratch):
            pack.unpack([f for f in index.record if whole or "/" not in f.path], log_dir)
        yield Opened(log_dir, pack)


@contextmanager
def _telling(place: str) -> Iterator[None]:
    """Say in words what a disk refuses."""
    try:
        yield
    except OSError as error:
        raise EngineError(
            f"{error.filename or place} can't be written: {error.strerror or error}. Make room, or "
            "set XDG_CACHE_HOME to another disk."
        ) from error


# ---------------------------------------------------------------- packages


def _provide_wheel(pack: Pack, wheel: StoredWheel) -> None:
    known = cached(RemoteFile(name=wheel.name, sha256=wheel.sha256, size=wheel.size))
    if known and files.sha256_of(known) == wheel.sha256:
        return
    if known:  # damaged
        with suppress(FileNotFoundError):
            os.unlink(known)
    with files.scratch_directory() as scratch, _telling(scratch):
        path = os.path.join(scratch, wheel.name)
        pack.write(wheel, path)
        kept, _ = keep(wheel.name, path)
    if kept != wheel.sha256:
        raise LockFailed(f"{wheel.name} has changed on its way into the cache. Try again.")


# ---------------------------------------------------------------- the base image


def _provide_image(pack: Pack, record: Record, engine: Engine, report: Reporter) -> None:
    held, settings = pack.index.image, pack.settings()
    digest = _image_digest(pack, record, settings)
    tag = base_tag(held.digest)
    for ref in (tag, held.id, held.repo_digest, held.ref):
        image = engine.image(ref) if ref else None
        if image and image_digest(image) == digest:
            return
    report.step("base image", f"{held.ref} from the pack")
    layers = [_Layer(pack, layer) for layer in held.layers]
    image = engine.load_image(write_loadable([tag], settings, layers), tag)
    remember_images(tag)
    if image_digest(image) != digest:
        raise EngineError(f"the engine has made another image than {held.ref} of the pack.")


def _image_digest(pack: Pack, record: Record, settings: bytes) -> str:
    """The digest of the image; it must be the record's.

    Raises:
        RecordError: it is not.
    """
    held, base = pack.index.image, record.base_image
    try:
        image: Image = describe(settings)
    except EngineError as error:
        raise RecordError(f"the pack {pack.path} is damaged: {error}") from error
    found = image_digest(image)
    right = base is not None and base.digest == held.digest
    if base is not None and not base.apt:  # with those the digest is one of packages
        right = right and base.digest == found
    if not right or image.layers != tuple(layer.diff_id for layer in held.layers):
        raise RecordError(f"the pack {pack.path} holds another base image than its record had.")
    return found


class _Layer:
    """A layer of a pack, as an engine takes it."""

    def __init__(self, pack: Pack, layer: StoredLayer) -> None:
        self.diff_id = layer.diff_id
        self.size = layer.size
        self._pack = pack
        self._layer = layer

    def pieces(self) -> Iterator[bytes]:
        """Its tar, verified at the end."""
        return self._pack.layer(self._layer)


# ---------------------------------------------------------------- inputs


def _copy(pack: Pack, held: StoredInput) -> str:
    """An input in the cache. One that is there is looked at: it may have been damaged."""
    path = os.path.join(files.cache_directory("inputs"), held.sha256)
    with _telling(path):
        if os.path.lexists(path):
            if _digest(path) == held.sha256:
                os.utime(path)  # gc leaves alone what was needed today
                return path
            files.remove(path)
        with files.scratch_directory() as scratch:
            made = os.path.join(scratch, "input")
            if held.file:
                pack.write(held.file, made)
            else:
                pack.unpack(held.files, made)
            _put(made, path, held.sha256)
    return path


def _digest(path: str) -> str:
    if os.path.islink(path):
        return ""
    if os.path.isfile(path):
        return files.sha256_of(path)
    return directory_digest([(file.path, file.sha256) for file in input_files(path)])


def _put(made: str, path: str, sha256: str) -> None:
    """Give a copy its place, unless somebody else has put one there meanwhile."""
    try:
        os.rename(made, path)
    except OSError:
        if _digest(path) != sha256:
            raise
