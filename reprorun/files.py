"""Files on the host: atomic writes, digests, and the directories that are ours."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from reprorun.errors import UsageError
from reprorun.experiment.atomic import is_unfinished, replacing

__all__ = [
    "cache_directory",
    "cache_lock",
    "digest_of",
    "is_held",
    "is_unfinished",
    "layer_file",
    "replacing",
    "scratch_directory",
    "sha256_of",
    "write",
]

READ_SIZE = 1 << 20  # bytes


def write(path: str, data: bytes, *, private: bool = False) -> None:
    """Write a whole file atomically; a private one is for its owner alone."""
    with replacing(path) as file:
        if private:
            os.fchmod(file.fileno(), 0o600)
        file.write(data)


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
def scratch_directory() -> Iterator[str]:
    """A directory for the time being, below the cache; held, so that gc leaves it alone."""
    import tempfile

    with tempfile.TemporaryDirectory(
        dir=cache_directory("scratch"), ignore_cleanup_errors=True
    ) as path:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield path
        finally:
            os.close(descriptor)


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
