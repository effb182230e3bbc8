"""The files of a record for an export: from its directory alone, and only as they were recorded.

No link is followed, and what is read is compared with what the record says of it, each time.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from msgspec.structs import replace

from reprorun import store
from reprorun.errors import RecordError
from reprorun.export.values import KeptFile, sha256
from reprorun.model import Record

_PIECE = 1 << 20  # bytes
_OTHERS = (
    (store.RUN_FILE, "the full record of the run, as reprorun wrote it"),
    (store.METADATA_FILE, "commit and launcher"),
    (store.VARIANT_FILE, "the parameters of the experiment"),
    (store.ARCHIVE_FILE, "the launcher's repository as it was"),
    (store.LOCK_FILE, "every package with version and hashes"),
    (store.DOCKERFILE, "the image of the run, as rendered"),
    (store.CONSOLE_FILE, "what the run printed"),
    *((name, "what the command was given") for name in sorted(store.PAYLOADS)),
)


def find_outputs(log_dir: str, record: Record) -> tuple[KeptFile, ...]:
    """The outputs of a record, each verified.

    Raises:
        RecordError: one is missing, changed, no regular file, or outside the record.
    """
    found: dict[str, KeptFile] = {}
    for output in record.outputs:
        if output.path in found or output.path in store.OURS:
            raise RecordError(f"the record names {output.path!r} as an output, which can't be.")
        digest = sha256(output.sha256, f"the output {output.path!r}")
        found[output.path] = _verified(log_dir, output.path, digest, output.size)
    return tuple(found.values())


def find_others(log_dir: str, record: Record) -> tuple[KeptFile, ...]:
    """The files that reprorun itself put into a record, as far as they are there.

    Raises:
        RecordError: one is not the one that the record was made with, or no regular file.
    """
    expected = {payload.path: payload.sha256 for payload in record.payloads}
    if record.archive:
        expected[store.ARCHIVE_FILE] = record.archive.sha256
    return tuple(
        replace(
            _verified(log_dir, name, expected.get(name)),
            what=what,
            given=name == store.ARCHIVE_FILE or name in store.PAYLOADS,
        )
        for name, what in _OTHERS
        if os.path.lexists(os.path.join(log_dir, name))
    )


def _verified(log_dir: str, path: str, digest: str | None, size: int | None = None) -> KeptFile:
    """A file and what it is; without a digest it may be anything."""
    found, length = hashlib.sha256(), 0
    for piece in _pieces(log_dir, path):
        found.update(piece)
        length += len(piece)
    if (digest or found.hexdigest()) != found.hexdigest() or size not in (None, length):
        raise _changed(log_dir, path)
    return KeptFile(path=path, size=length, sha256=found.hexdigest())


def read(log_dir: str, file: KeptFile) -> Iterator[bytes]:
    """The content of a file, piece by piece.

    Raises:
        RecordError: in the end, where it is not the content that it was found to have.
    """
    found = hashlib.sha256()
    for piece in _pieces(log_dir, file.path):
        found.update(piece)
        yield piece
    if found.hexdigest() != file.sha256:
        raise _changed(log_dir, file.path)


def _changed(log_dir: str, path: str) -> RecordError:
    return RecordError(
        f"{path!r} of {log_dir} is no longer what it was when the record was made. "
        "Take it from a copy of the record."
    )


def _pieces(log_dir: str, path: str) -> Iterator[bytes]:
    with _open_inside(log_dir, path) as file:
        while piece := file.read(_PIECE):
            yield piece


def _open_inside(root: str, path: str) -> BinaryIO:
    """Open a regular file below a directory, going through no link."""
    parts = path.split("/")
    if "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise RecordError(f"the record names {path!r} as one of its files, which can't be.")
    try:
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        for part in parts[:-1]:
            directory = _open_at(directory, part, os.O_DIRECTORY)
        descriptor = _open_at(directory, parts[-1], os.O_NONBLOCK)  # a pipe would be waited for
    except (OSError, UnicodeEncodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file can have that name"
        raise RecordError(
            f"{path!r} of {root} can't be read ({why}): it is missing, or reached by a link."
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RecordError(f"{path!r} of {root} is no regular file.")
    return os.fdopen(descriptor, "rb")


def _open_at(directory: int, name: str, flags: int) -> int:
    """Open something in a directory, and close the directory in any case."""
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=directory)
    finally:
        os.close(directory)
