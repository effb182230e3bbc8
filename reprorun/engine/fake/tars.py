"""Layers and archives of the fake engine, in memory."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator


class Tar:
    """A layer."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._data = b"".join(pieces)
        self.diff_id = f"sha256:{hashlib.sha256(self._data).hexdigest()}"
        self.size = len(self._data)
        self.names = frozenset(f"/{name}" for name in unpack(self._data))

    def pieces(self) -> Iterator[bytes]:
        yield self._data


def unpack(data: bytes) -> dict[str, bytes]:
    """The files of a tar."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            files[member.name] = content.read() if content else b""
    return files


def pack(files: dict[str, bytes]) -> bytes:
    """A tar of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
