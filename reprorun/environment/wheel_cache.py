"""The cache of wheels and source distributions: by content, each verified before it gets its name.

    wheels/ab/ab12.../six-1.0-py3-none-any.whl    whole, with the sha256 that the directory names
                      .partial  .etag             what has arrived of it so far, and its version
                      .lock                       held by who is fetching it

Names and digests come from lock files, which may be hostile: they are checked before use, and no
symbolic link is followed when something is written.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from reprorun import files
from reprorun.errors import LockFailed
from reprorun.model import RemoteFile
from reprorun.printable import quoted

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]{0,250}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WRITING = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class CacheFailed(Exception):
    """The cache can't take a file; the text says why, and what to try."""


class Refused(Exception):
    """A file can't be had; the text says why, without the file's name and without credentials."""


def cached(file: RemoteFile) -> str | None:
    """The path of a file that is in the cache, whole and verified; None when it is not.

    Raises:
        LockFailed: its name or digest is none that a package's file can have.
    """
    check(file)
    try:
        path = os.path.join(_directory(file), file.name)
        found = os.lstat(path)
    except OSError:
        return None
    fits = stat.S_ISREG(found.st_mode) and file.size in (None, found.st_size)
    return path if fits else None


def check(file: RemoteFile) -> None:
    """Refuse a name that is not a plain file name, and a digest that is not 64 hex digits.

    Raises:
        LockFailed: naming what was found.
    """
    if not _NAME.fullmatch(file.name):
        raise LockFailed(
            f"a lock names the file {quoted(file.name)}, which is no name of a wheel or an sdist. "
            "Look where that lock comes from, or make it anew."
        )
    if not _SHA256.fullmatch(file.sha256):
        raise LockFailed(
            f"{file.name} comes with the sha256 {quoted(file.sha256)}; 64 hex digits were wanted. "
            "Look where that lock comes from, or make it anew."
        )


@contextmanager
def place_of(file: RemoteFile, wait: Callable[[], None]) -> Iterator[str]:
    """The directory of a file, which nobody else writes to until the block ends.

    Args:
        file: what the directory is for; `check` has seen it.
        wait: called again and again while another process or thread has it; it should sleep a
            little, and may raise.

    Raises:
        CacheFailed: the directory can't be written, or can't be locked.
    """
    directory = "the cache"
    try:
        directory = _directory(file)
        descriptor = _locked(directory, wait)
    except OSError as error:
        raise CacheFailed(_trouble(directory, error)) from error
    try:
        yield directory
    finally:
        os.close(descriptor)  # which unlocks; so does the end of a killed process


def _locked(directory: str, wait: Callable[[], None]) -> int:
    path = os.path.join(directory, ".lock")
    while True:
        _make_directories(directory)
        descriptor = os.open(path, _WRITING, 0o644)
        try:
            _lock(descriptor, wait)
            if _is_still(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the cache was emptied while we waited


def _lock(descriptor: int, wait: Callable[[], None]) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()


def _is_still(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _make_directories(directory: str) -> None:
    for path in (os.path.dirname(directory), directory):
        with suppress(FileExistsError):
            os.mkdir(path)
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def _directory(file: RemoteFile) -> str:
    return os.path.join(files.cache_directory("wheels"), file.sha256[:2], file.sha256)


class Partial:
    """What has arrived of a file so far, with the digest of it."""

    def __init__(self, place: str) -> None:
        """Opens what an earlier attempt left, or begins anew.

        Args:
            place: the file's directory, which the caller has locked.
        """
        self._place = place
        self._path = os.path.join(place, ".partial")
        self._etag_path = os.path.join(place, ".etag")
        with _disk_errors(place):
            self._file = open(os.open(self._path, _WRITING, 0o644), "r+b", buffering=0)  # noqa: SIM115
        self._digest = hashlib.sha256()
        self.size = 0  # bytes
        self._read_what_is_there()

    def _read_what_is_there(self) -> None:
        with _disk_errors(self._place):
            while piece := self._file.read(files.READ_SIZE):
                self._digest.update(piece)
                self.size += len(piece)

    @property
    def sha256(self) -> str:
        """Of what has arrived."""
        return self._digest.hexdigest()

    @property
    def etag(self) -> str:
        """The server's mark of the version that this is a part of; empty when it gave none."""
        try:
            with open(os.open(self._etag_path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                return file.read(1000).decode("latin-1")
        except OSError:
            return ""

    def restart(self, etag: str = "") -> None:
        """Forget what has arrived; what comes next is of the version `etag`."""
        with _disk_errors(self._place):
            self._file.truncate(0)
            self._file.seek(0)
            self._digest, self.size = hashlib.sha256(), 0
            _write(self._etag_path, etag.encode("latin-1", "ignore"))

    def add(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            CacheFailed: the disk is full or broken.
        """
        with _disk_errors(self._place):
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._digest.update(piece)
        self.size += len(piece)

    def finish(self, name: str) -> str:
        """Give what has arrived its final name, and return its path."""
        path = os.path.join(self._place, name)
        with _disk_errors(self._place):
            os.fsync(self._file.fileno())
            os.replace(self._path, path)
        _remove(self._etag_path)
        return path

    def remove(self) -> None:
        """Leave nothing of it."""
        _remove(self._path)
        _remove(self._etag_path)

    def close(self) -> None:
        """Let go of the file; what has arrived stays for the next attempt."""
        self._file.close()

    def check_room(self, wanted: int) -> None:
        """Refuse to begin what can't end well.

        Args:
            wanted: bytes that are still to come.

        Raises:
            CacheFailed: the disk has less.
        """
        with _disk_errors(self._place):
            if shutil.disk_usage(self._place).free < wanted:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write(path: str, content: bytes) -> None:
    with open(os.open(path, _WRITING | os.O_TRUNC, 0o644), "wb") as file:
        file.write(content)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


@contextmanager
def _disk_errors(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheFailed(_trouble(place, error)) from error


def _trouble(place: str, error: OSError) -> str:
    """What is wrong with the cache's disk, and what to try."""
    if error.errno in _FULL:
        root = os.path.dirname(os.path.dirname(place))
        return f"the disk is full ({root}): make room, or set XDG_CACHE_HOME to another disk"
    if error.errno == errno.ELOOP:
        return f"a symbolic link is in the way in {place}: remove it"
    what = error.strerror or type(error).__name__
    return f"{place} can't be written ({what}): mend that, or set XDG_CACHE_HOME to another place"
