"""Files on the host: atomic writes, digests, and the directories that are ours."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from reprorun.errors import UsageError
from reprorun.experiment.atomic import is_unfinished, replacing, unfinished_beside

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

__all__ = [
    "cache_directory",
    "cache_lock",
    "digest_of",
    "is_held",
    "is_unfinished",
    "layer_file",
    "read_bounded",
    "remove",
    "remove_abandoned_scratch",
    "replacing",
    "scratch_directory",
    "sha256_of",
    "unfinished_beside",
    "write",
]

READ_SIZE = 1 << 20  # bytes
LONGEST = 256 << 20  # bytes; a record of a million outputs has fewer
SCRATCH_PREFIX = "reprorun-scratch-"
_LONGEST = 60  # bytes of a path below which sockets can have their addresses
_SHORT = "/tmp"  # noqa: S108  is short enough; what is made there has a name of its own


def write(path: str, data: bytes, *, private: bool = False) -> None:
    """Write a whole file atomically; a private one is for its owner alone."""
    with replacing(path) as file:
        if private:
            os.fchmod(file.fileno(), 0o600)
        file.write(data)


def remove(path: str) -> None:
    """Remove a file, or a directory with all that is in it; of a link, the link."""
    import shutil

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def read_bounded(file: IO[bytes]) -> bytes:
    """All of a file that is read whole, such as a record. What is larger was not written by us.

    Raises:
        ValueError: it is larger than any such file.
    """
    data = file.read(LONGEST + 1) if os.fstat(file.fileno()).st_size <= LONGEST else None
    if data is None or len(data) > LONGEST:
        raise ValueError(f"it is larger than {LONGEST >> 20} MiB")
    return data


def sha256_of(path: str) -> str:
    """The sha256 of a file's bytes, as hex digits."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(READ_SIZE):
            digest.update(piece)
    return digest.hexdigest()


def digest_of(*parts: str | bytes) -> str:
    """A sha256 over several strings, each with its length, so that none runs into the next."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def cache_directory(*names: str) -> str:
    """A directory below reprorun's cache (`XDG_CACHE_HOME`), made if need be."""
    from platformdirs import user_cache_path

    path = user_cache_path("reprorun").joinpath(*names)
    path.mkdir(parents=True, exist_ok=True)
    return str(path)


@contextmanager
def scratch_directory(*, passing: bool = False, socket: bool = False) -> Iterator[str]:
    """A directory for the time being; held, so that it is not taken for what a killed one left.

    Args:
        passing: among the system's temporary files, where no project of the user's lies above it;
            else below the cache, to which files can be moved from there.
        socket: the same, with a path in which sockets can have their addresses.
    """
    import tempfile

    temporary = tempfile.gettempdir()
    where = _socket_place() if socket else temporary if passing else cache_directory("scratch")
    made, descriptor = _held_directory(where)
    with made as path:
        try:
            yield path
        finally:
            os.close(descriptor)


def _held_directory(where: str) -> tuple[TemporaryDirectory[str], int]:
    """A new directory, and the descriptor that holds it.

    Until it is held, somebody who removes what nobody holds may take it: then it is made again.
    """
    import tempfile

    while True:
        made = tempfile.TemporaryDirectory(
            prefix=SCRATCH_PREFIX, dir=where, ignore_cleanup_errors=True
        )
        with suppress(FileNotFoundError):
            descriptor = os.open(made.name, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if os.path.isdir(made.name):
                return made, descriptor
            os.close(descriptor)
        made.cleanup()


def _socket_place() -> str:
    import tempfile

    found = tempfile.gettempdir()
    return found if len(os.fsencode(found)) <= _LONGEST and ":" not in found else _SHORT


def remove_abandoned_scratch() -> list[str]:
    """Remove the scratch directories of ours that killed processes have left; returns which."""
    import tempfile

    places = dict.fromkeys([cache_directory("scratch"), tempfile.gettempdir(), _socket_place()])
    entries = [entry for place in places for entry in os.scandir(place)]
    return [entry.path for entry in entries if _is_ours(entry) and _removed(entry.path)]


def _is_ours(entry: os.DirEntry[str]) -> bool:
    if not entry.name.startswith(SCRATCH_PREFIX):
        return False
    try:
        ours = entry.stat(follow_symlinks=False).st_uid == os.getuid()
        return ours and entry.is_dir(follow_symlinks=False)
    except OSError:
        return False  # whoever had it has just removed it


def _removed(path: str) -> bool:
    """Remove a scratch directory, unless somebody holds it. It is held meanwhile."""
    import shutil

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return not os.path.lexists(path)


def is_held(path: str) -> bool:
    """Whether somebody works in a scratch directory right now."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def cache_lock(*, exclusive: bool = False) -> Iterator[None]:
    """Hold the cache: shared by all who put things in and use them, alone by who removes some.

    Raises:
        UsageError: it is wanted alone while others hold it.
    """
    with open(os.path.join(cache_directory(), "lock"), "ab") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_EX | fcntl.LOCK_NB) if exclusive else fcntl.LOCK_SH)
        except BlockingIOError as error:
            raise UsageError(
                "a run is being prepared and may need what would be removed. Try again soon."
            ) from error
        yield


def layer_file(number: int) -> str:
    """The file that holds a layer in a build context, counted from 1."""
    return f"layer-{number:02d}.tar"
