"""Build contexts: a Dockerfile and what it adds, as one tar, streamed."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence

from reprorun.engine.protocol import Layer
from reprorun.errors import UsageError
from reprorun.files import layer_file

EPOCH = 315532800  # 1980-01-01


def write_context(dockerfile: str, layers: Sequence[Layer]) -> Iterator[bytes]:
    """A context of the Dockerfile and the tars of its layers.

    Each layer is told its digest before the context has ended: one that is damaged ends it.
    """
    yield from _file("Dockerfile", dockerfile.encode())
    for number, layer in enumerate(layers, 1):
        digest = hashlib.sha256()
        yield _header(layer_file(number), layer.size)
        for piece in layer.pieces():
            digest.update(piece)
            yield piece
        yield b"\0" * (-layer.size % tarfile.BLOCKSIZE)
        layer.made(f"sha256:{digest.hexdigest()}")
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def write_files(root: str | None, names: Iterable[str], dockerfile: str) -> Iterator[bytes]:
    """A context of a Dockerfile and files of a directory, which must not change meanwhile.

    Args:
        root: the directory; None where there are no files.
        names: the files, relative to it.
        dockerfile: what is built; it comes last, in place of a file of that name.
    """
    for name in names:
        path = os.path.join(root or "", name)
        member = tarfile.TarInfo(name)
        member.mtime = EPOCH
        if os.path.islink(path):
            member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
            yield member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
            continue
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            member.size, member.mode = found.st_size, 0o755 if found.st_mode & 0o100 else 0o644
            yield member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
            yield _exactly(file.read(), found.st_size, name)
            yield b"\0" * (-found.st_size % tarfile.BLOCKSIZE)
    yield from _file("Dockerfile", dockerfile.encode())
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _exactly(data: bytes, size: int, name: str) -> bytes:
    if len(data) != size:
        raise UsageError(f"{name} changed while it was read. Run it again.")
    return data


def _file(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data))
    yield data + b"\0" * (-len(data) % tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, EPOCH
    return member.tobuf(tarfile.GNU_FORMAT)
