"""What a container is given that can't have mounts: their content as one tar, hashed on the way.

Inputs belong to somebody else than the run's user, and nobody may write them: that is what keeps
them as they are, since a container without capabilities goes by owners and modes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import NamedTuple

from reprorun import store
from reprorun.errors import UsageError
from reprorun.files import digest_of, sha256_of
from reprorun.model import HOSTS_PATH, LOG_DIR, SECRETS, ContainerSpec, InputFile, Mount

PIECE = 1 << 20  # bytes
NOBODY = 65534
_END = b"\0" * (2 * tarfile.BLOCKSIZE)


class Owner(NamedTuple):
    """Whose a file is in the container."""

    uid: int
    gid: int

    @classmethod
    def of(cls, container: ContainerSpec) -> Owner:
        """The run's user."""
        uid, _, gid = container.user.partition(":")
        return cls(int(uid), int(gid))

    @property
    def other(self) -> Owner:
        """Somebody who is not this one."""
        return Owner(NOBODY, NOBODY) if self.uid == 0 else Owner(0, 0)


def content_of_mounts(container: ContainerSpec, inputs: Sequence[InputFile]) -> Iterator[bytes]:
    """What the mounts of a container hold, in pieces of a tar.

    Args:
        container: says what is mounted where, and whose its run is.
        inputs: what of it is recorded; it has to arrive so.

    Raises:
        UsageError: a file can't be read, or an input is not any more what is recorded.
    """
    return _gathered(_members(container, {entry.target: entry for entry in inputs}))


def _members(container: ContainerSpec, inputs: dict[str, InputFile]) -> Iterator[bytes]:
    user = Owner.of(container)
    if container.hosts:
        yield from _file(container.hosts, _name(HOSTS_PATH), 0o644, user.other)
    for mount in container.mounts:
        try:
            if mount.target == LOG_DIR:
                yield from _log_directory(mount.source, user)
            elif mount.target.startswith(f"{LOG_DIR}/"):
                pass  # it has come with the directory
            elif mount.target.startswith(f"{SECRETS}/"):
                yield from _file(mount.source, _name(mount.target), 0o400, user)
            else:
                yield from _input(mount, user.other, inputs.get(mount.target))
        except OSError as error:
            raise UsageError(
                f"{error.filename or mount.source} can't be read: {error.strerror}."
            ) from error
    yield _END


def _name(target: str) -> str:
    """The path of a file in the container, as a tar has it."""
    return target.lstrip("/")


def _gathered(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same in pieces that are worth being sent."""
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


# ---------------------------------------------------------------- what there is to send


def _log_directory(source: str, user: Owner) -> Iterator[bytes]:
    """The directory, with what a run finds in it when it starts."""
    yield _header(_name(LOG_DIR), tarfile.DIRTYPE, 0o755, user)
    for name in sorted(store.OURS.intersection(os.listdir(source))):
        yield from _file(os.path.join(source, name), f"{_name(LOG_DIR)}/{name}", 0o644, user)


def _input(mount: Mount, owner: Owner, recorded: InputFile | None) -> Iterator[bytes]:
    name = _name(mount.target)
    if os.path.isdir(mount.source):
        digest = yield from _directory(mount.source, name, owner)
    else:
        digest = yield from _file(mount.source, name, _read_only(mount.source), owner)
    if recorded and digest != recorded.sha256:
        raise UsageError(
            f"the input {mount.source} was changed after it had been hashed for the record. "
            "Run it again, when nobody writes there."
        )


def _directory(source: str, name: str, owner: Owner) -> Generator[bytes, None, str]:
    """All that is in a directory; returns its digest, as `probe.inputs` makes it."""
    digests: dict[str, str] = {}
    yield _header(name, tarfile.DIRTYPE, 0o555, owner)
    for place, below, names in os.walk(source, onerror=_raise):
        for entry in sorted([*below, *names]):
            path = os.path.join(place, entry)
            inside = os.path.relpath(path, source)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                yield _header(f"{name}/{inside}", tarfile.SYMTYPE, 0o777, owner, os.readlink(path))
                if os.path.isfile(path):
                    digests[inside] = sha256_of(path)
            elif stat.S_ISDIR(mode):
                yield _header(f"{name}/{inside}", tarfile.DIRTYPE, 0o555, owner)
            elif stat.S_ISREG(mode):
                content = _file(path, f"{name}/{inside}", _read_only(path), owner)
                digests[inside] = yield from content
    return digest_of(*(part for pair in sorted(digests.items()) for part in pair))


def _raise(error: OSError) -> None:
    raise error


def _read_only(path: str) -> int:
    return 0o555 if os.stat(path).st_mode & 0o100 else 0o444


def _file(path: str, name: str, mode: int, owner: Owner) -> Generator[bytes, None, str]:
    """One file; returns its sha256."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        left = found.st_size
        yield _header(name, tarfile.REGTYPE, mode, owner, size=left, mtime=int(found.st_mtime))
        while piece := file.read(min(PIECE, left)):
            digest.update(piece)
            left -= len(piece)
            yield piece
        if left or file.read(1):
            raise UsageError(f"{path} changed its size while it was read. Run it again.")
    yield b"\0" * (-found.st_size % tarfile.BLOCKSIZE)
    return digest.hexdigest()


def _header(
    name: str,
    kind: bytes,
    mode: int,
    owner: Owner,
    link: str = "",
    *,
    size: int = 0,
    mtime: int = 0,
) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, link
    info.uid, info.gid = owner
    info.size, info.mtime = size, max(0, mtime)
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
