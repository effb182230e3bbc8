"""Files on the host: atomic writes, digests, and the directories that are ours."""

from __future__ import annotations

import hashlib

from reprorun.experiment.atomic import is_unfinished, replacing

__all__ = ["cache_directory", "digest_of", "is_unfinished", "replacing", "sha256_of", "write"]

READ_SIZE = 1 << 20  # bytes


def write(path: str, data: bytes) -> None:
    """Write a whole file atomically."""
    with replacing(path) as file:
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
