"""Writing a pack: streamed, verified while it is written, and whole or not there at all."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, BinaryIO, cast

import msgspec
from isal import igzip

from reprorun import files
from reprorun.errors import RecordError
from reprorun.held import holding
from reprorun.pack.format import INDEX, LARGEST_INDEX, Index, Stored, StoredLayer

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same pack whenever it is made


@contextmanager
def writing(path: str) -> Iterator[Writer]:
    """A pack that gets its name when the block ends without an error; else nothing is left.

    Raises:
        RecordError: `finish` was given too much, or something changed while it was read.
        OSError: the disk is full, or something can't be read.
    """
    beside = files.unfinished_beside(path)
    with holding(paths=[beside]), files.replacing(path, beside) as file:
        writer = Writer(file)
        try:
            yield writer
        finally:
            with suppress(Exception):  # of a pack that was not finished; nothing is left of it
                writer.close()


class Writer:
    """Writes a pack. Each content stands in it once.

    Args:
        file: open and empty; one can go back in it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file, "w")
        self._entries: dict[str, str] = {}  # digest -> name
        self._names: set[str] = {INDEX}

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()

    def add_file(self, name: str, source: str, sha256: str, *, executable: bool = False) -> Stored:
        """Add a file.

        Args:
            name: what the entry is called where the content is not there already.
            source: its path.
            sha256: what it must have.
            executable: for people who unpack the zip themselves.

        Raises:
            RecordError: it has another sha256.
        """
        with open(source, "rb") as file:
            if sha256 in self._entries:
                size = _copy(file, None, source, sha256)
            else:
                with self._entry(name, sha256, executable=executable) as target:
                    size = _copy(file, target, source, sha256)
        return Stored(sha256=sha256, size=size, entry=self._entries[sha256])

    def add_bytes(self, name: str, data: bytes) -> Stored:
        """Add what is in memory."""
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self._entries:
            with self._entry(name, sha256) as target:
                target.write(data)
        return Stored(sha256=sha256, size=len(data), entry=self._entries[sha256])

    def add_layer(self, name: str, pieces: Iterable[bytes]) -> StoredLayer:
        """Add a layer of an image: packed, with the digest of its tar found on the way.

        Args:
            name: what the entry is called. It must be free.
            pieces: of the tar.
        """
        digest = hashlib.sha256()
        size = 0
        with self._entry(name, name) as target, _packing(target) as packed:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                packed.write(piece)
        return StoredLayer(diff_id=f"sha256:{digest.hexdigest()}", size=size, entry=name)

    def finish(self, index: Index) -> None:
        """Write the index. With it the pack is whole.

        Raises:
            RecordError: it has become too large.
        """
        # not msgspec's JSON: file names that are no UTF-8 stand in it as lone surrogates
        text = json.dumps(index, indent=1, default=msgspec.structs.asdict).encode() + b"\n"
        if len(text) > LARGEST_INDEX:
            raise RecordError(
                f"the list of all files takes {len(text) >> 20} MiB, more than the "
                f"{LARGEST_INDEX >> 20} MiB that a pack can have. Put inputs of very many files "
                "into an archive, or leave inputs out with --no-inputs."
            )
        self._zip.writestr(_info(INDEX), text)
        self._zip.close()

    @contextmanager
    def _entry(self, name: str, content: str, *, executable: bool = False) -> Iterator[IO[bytes]]:
        """A new entry, known by its content from then on."""
        name = self._free(name)
        with self._zip.open(_info(name, executable=executable), "w", force_zip64=True) as target:
            yield target
        self._names.add(name)
        self._entries[content] = name

    def _free(self, name: str) -> str:
        """The name, where it can be one and is not taken."""
        try:
            encoded = name.encode()
        except UnicodeEncodeError:
            encoded = b""
        fits = 0 < len(encoded) < 1 << 15 and "\0" not in name
        return name if fits and name not in self._names else f"content/{len(self._names)}"


def _info(name: str, *, executable: bool = False) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = (0o100755 if executable else 0o100644) << 16
    return info


def _packing(target: IO[bytes]) -> Any:
    return cast(Any, igzip).IGzipFile(filename="", mode="wb", fileobj=target, mtime=0)


def _copy(file: BinaryIO, target: IO[bytes] | None, source: str, sha256: str) -> int:
    """Read a file, verify it, and copy it where it goes somewhere; returns its size."""
    digest = hashlib.sha256()
    size = 0
    while piece := file.read(files.READ_SIZE):
        digest.update(piece)
        size += len(piece)
        if target:
            target.write(piece)
    if digest.hexdigest() != sha256:
        raise RecordError(f"{source} has changed while it was packed. Try again.")
    return size
