"""Reading a pack. It may come from anybody: what is not exactly as its index says is refused.

Sizes are the index's, and where there is more, reading stops. What is read is verified while it is
read, so whoever takes it must take it to its end before believing it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, cast

import msgspec
from isal import igzip, isal_zlib

from reprorun import files
from reprorun.errors import RecordError, UsageError
from reprorun.json_text import refuse_too_many
from reprorun.pack.format import (
    INDEX,
    LARGEST_INDEX,
    SCHEMA,
    Index,
    Stored,
    StoredFile,
    StoredLayer,
    check,
)

_LOCAL_HEADER = b"PK\x03\x04"
_END, _END_SIZE = b"PK\x05\x06", 22  # of a zip without a comment
# What zipfile and igzip raise for what is damaged: RuntimeError: encrypted, or a feature that is
# not known; KeyError: no such entry; ValueError, OverflowError: places that can't be; the rest says
# what it is.
_DAMAGE = (
    *(OSError, EOFError, KeyError, ValueError, RuntimeError, OverflowError),
    *(struct.error, zipfile.BadZipFile, zlib.error),
    cast(type[Exception], isal_zlib.error),  # isal says that it is an instance
)


# What a name can be refused for; anything else, such as a full disk, is not the pack's fault.
_NAMES = (
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL),
)


class Newer(RecordError):
    """A pack of a newer schema: not damaged, but not to be read either."""


class Pack:
    """An open pack.

    Args:
        path: of the file, for messages.
        archive: the zip.
        index: read from it, and checked.
    """

    def __init__(self, path: str, archive: zipfile.ZipFile, index: Index) -> None:
        self.path = path
        self.index = index
        self._zip = archive

    @classmethod
    @contextmanager
    def open(cls, path: str) -> Iterator[Pack]:
        """Open a pack.

        Raises:
            RecordError: it is none, it is cut short or damaged, or it is of a newer schema.
        """
        with _opened(path) as archive:
            with _telling(path):
                entries = _entries(archive)
                index = _index(path, archive)
                check(index, entries)
            yield cls(path, archive, index)

    def pieces(self, stored: Stored) -> Iterator[bytes]:
        """Some content, in pieces. RecordError at the end where it is not what it must be."""
        with _telling(self.path), self._zip.open(stored.entry) as source:
            digest = hashlib.sha256()
            for piece in _sized(source, stored.size, stored.entry):
                digest.update(piece)
                yield piece
            if digest.hexdigest() != stored.sha256:
                raise RecordError(f"{stored.entry!a} has changed: its sha256 is another.")

    def settings(self) -> bytes:
        """The settings of the image.

        Raises:
            RecordError: they are not what they must be.
        """
        return b"".join(self.pieces(self.index.image.settings))

    def layer(self, layer: StoredLayer) -> Iterator[bytes]:
        """The tar of a layer, in pieces. RecordError at the end where it is another."""
        with _telling(self.path), self._zip.open(layer.entry) as packed:
            digest = hashlib.sha256()
            for piece in _sized(cast(Any, igzip).open(packed), layer.size, layer.entry):
                digest.update(piece)
                yield piece
            if f"sha256:{digest.hexdigest()}" != layer.diff_id:
                raise RecordError(f"{layer.entry!a} has changed: its digest is another.")

    def unpack(self, wanted: Sequence[StoredFile], directory: str) -> None:
        """Write files below a directory, which is made.

        Raises:
            RecordError: one is not what it must be, or can't be made.
            OSError: the disk is full.
        """
        _check_room(sum(file.size for file in wanted), os.path.dirname(directory), self.path)
        os.mkdir(directory)  # nobody has put a link into it
        for file in wanted:
            target = os.path.join(directory, file.path)
            with _made(file.path, self.path):
                os.makedirs(os.path.dirname(target), exist_ok=True)
            self.write(file, target, executable=file.executable)

    def write(self, stored: Stored, target: str, *, executable: bool = False) -> None:
        """Write some content into a new file.

        Raises:
            RecordError: it is not what it must be, or the file can't be made.
            OSError: the disk is full.
        """
        with _made(target, self.path):
            file = open(target, "xb")  # noqa: SIM115  # closed below
        with file:
            for piece in self.pieces(stored):
                file.write(piece)
            os.fchmod(file.fileno(), 0o755 if executable else 0o644)


# ---------------------------------------------------------------- opening


@contextmanager
def _opened(path: str) -> Iterator[zipfile.ZipFile]:
    try:
        if not os.path.isfile(path):  # a pipe in its place would be waited for
            raise RecordError(f"{path} is no pack: it is no regular file.")
        _refuse_no_end(path)
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise RecordError(_no_zip(path, error)) from error
    with archive:
        yield archive


def _refuse_no_end(path: str) -> None:
    """What is cut short may end in a package: those are zips themselves, and could be taken for it.

    Raises:
        zipfile.BadZipFile: it does not end as a pack.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END_SIZE))
        if not file.read(_END_SIZE).startswith(_END):
            raise zipfile.BadZipFile("it has no end")


def _no_zip(path: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"{path} can't be read: {error.strerror}."
    with open(path, "rb") as file:
        begins = file.read(len(_LOCAL_HEADER)) == _LOCAL_HEADER
    if begins:
        return f"the pack {path} is cut short or damaged ({error}). Copy it anew."
    return f"{path} is no pack, as `reprorun pack` writes them."


@contextmanager
def _telling(path: str) -> Iterator[None]:
    """Say which pack it is that is damaged."""
    try:
        yield
    except Newer:
        raise
    except RecordError as error:
        raise RecordError(f"the pack {path} is damaged: {error}") from error
    except _DAMAGE as error:
        what = error.strerror if isinstance(error, OSError) and error.errno else error
        raise RecordError(f"the pack {path} is damaged: {what or type(error).__name__}") from error


def _entries(archive: zipfile.ZipFile) -> dict[str, int]:
    """The entries with their sizes."""
    found: dict[str, int] = {}
    for info in archive.infolist():
        name = info.filename
        if name in found:
            raise RecordError(f"{name!a} is in it twice.")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise RecordError(f"{name!a} is compressed, as nothing in a pack is.")
        found[name] = info.file_size
    return found


def _index(path: str, archive: zipfile.ZipFile) -> Index:
    data = _read_index(archive)
    mark = data.get("pack")
    schema = mark.get("schema") if isinstance(mark, dict) else None
    if not isinstance(schema, int):
        raise RecordError(f"its {INDEX} does not say which version it is of.")
    if schema > SCHEMA:
        raise Newer(
            f"the pack {path} has schema {schema}; this reprorun reads up to {SCHEMA}. "
            "Install a newer reprorun."
        )
    try:
        return msgspec.convert(data, Index)
    except msgspec.ValidationError as error:
        raise RecordError(f"its {INDEX} is wrong: {error}") from error


def _read_index(archive: zipfile.ZipFile) -> dict[str, Any]:
    size = archive.getinfo(INDEX).file_size if INDEX in archive.namelist() else None
    if size is None:
        raise RecordError(f"it has no {INDEX}.")
    if size > LARGEST_INDEX:
        raise RecordError(f"its {INDEX} is too large ({size} bytes).")
    text = archive.read(INDEX)
    refuse_too_many(text)
    data = json.loads(text)
    if not isinstance(data, dict):
        raise RecordError(f"its {INDEX} holds no object.")
    return data


# ---------------------------------------------------------------- reading and writing


def _sized(source: IO[bytes], size: int, name: str) -> Iterator[bytes]:
    """Exactly that many bytes, in pieces."""
    left = size
    while piece := source.read(min(files.READ_SIZE, left + 1)):
        left -= len(piece)
        if left < 0:
            raise RecordError(f"{name!a} has more than the {size} bytes that it should have.")
        yield piece
    if left:
        raise RecordError(f"{name!a} has {left} bytes less than the {size} that it should have.")


def _check_room(wanted: int, directory: str, path: str) -> None:
    free = shutil.disk_usage(directory).free
    if wanted > free:
        raise UsageError(
            f"what is in {path} takes {wanted} bytes, but the disk of {directory} has {free}. "
            "Make room, or set XDG_CACHE_HOME to another disk."
        )


@contextmanager
def _made(name: str, path: str) -> Iterator[None]:
    """Tell a name that can't be a file's here from a disk that is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NAMES:
            raise
        raise RecordError(
            f"{name!a} of the pack {path} can't be made: {error.strerror}."
        ) from error
