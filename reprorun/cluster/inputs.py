"""Inputs on a node: at the same path as on the submitting machine, and the same by their digest."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator

from reprorun import files
from reprorun.errors import UsageError
from reprorun.model import InputFile
from reprorun.probe.inputs import describe_input

_HEX = 12  # digits of a digest that are shown


def verify_inputs(inputs: Iterable[InputFile], node: str) -> None:
    """See that the inputs are there.

    Args:
        inputs: as the submitting machine has them.
        node: for messages.

    Raises:
        UsageError: naming the first that is missing or another.
    """
    for entry in inputs:
        try:
            found = _digest(entry)
        except OSError as error:
            raise UsageError(
                f"the input {entry.path} can't be read there: {error.strerror or error}. Put it at "
                "the same path on every node, or on a file system that all of them mount."
            ) from error
        if found != entry.sha256:
            raise UsageError(
                f"the input {entry.path} is another there (sha256 {found[:_HEX]}..., "
                f"{entry.sha256[:_HEX]}... was wanted). Copy it to {node} anew."
            )


def _digest(entry: InputFile) -> str:
    """The digest of an input; that of a large one is kept for as long as nobody changes it.

    The file that keeps it is locked, so that tasks that begin together hash the data once.
    """
    name = files.digest_of(entry.path, *_stamps(entry.path))
    with open(os.path.join(files.cache_directory("cluster", "digests"), name), "a+b") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        kept.seek(0)
        known = kept.read().decode("ascii", "replace")
        if known:
            return known
        found = describe_input(entry.path, entry.target).sha256
        kept.write(found.encode())
        return found


def _stamps(path: str) -> Iterator[str]:
    """What changes with a file, or with any in a directory."""
    yield _stamp(path)
    if not os.path.isdir(path):
        return
    for directory, below, names in os.walk(path, onerror=_raise):
        below.sort()
        for name in sorted(names):
            place = os.path.join(directory, name)
            if os.path.isfile(place):
                yield place
                yield _stamp(place)


def _stamp(path: str) -> str:
    found = os.stat(path)
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _raise(error: OSError) -> None:
    raise error
