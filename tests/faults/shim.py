"""Runs reprorun's command on a disk or with a clock that fails at a chosen call.

    python shim.py SETTINGS WORDS...

SETTINGS is JSON: `fault` (`full`, `read-only`, `broken`, `slow`, `clock` or `guest-clock`), `below`
(directories that it holds for), `at` (the call at which it strikes, counted from 1; 0: none, the
calls are only counted) and `told` (the file that gets the number of calls).

All of Python's own writing goes through the functions of `os` here, because `open` is the one of
`_pyio`, which is written in Python. The product knows nothing of this.
"""

from __future__ import annotations

import builtins
import datetime
import errno
import importlib
import io
import json
import math
import os
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

DAY = 86400.0


class Disk:
    """One that is full from a call on, and has again what is removed from it after that.

    The call itself fails in any case. What comes later fails where there is no room for it; of a
    write that does not fit, the first part is written, as on a real disk.
    """

    def __init__(self, below: list[str], at: int, error: int = errno.ENOSPC) -> None:
        self.calls = 0
        self._error = error
        self._below = tuple(os.path.realpath(path) + "/" for path in below)
        self._at = at
        self._free = math.inf

    def covers(self, path: str) -> bool:
        return f"{path}/".startswith(self._below)

    def room(self, path: str, size: int) -> int:
        """How much of so many bytes can be taken; it is taken."""
        self.calls += 1
        if self.calls == self._at:
            self._free = 0
        elif size <= self._free:
            self._free -= size
            return size
        elif self._free >= 1:
            part = int(self._free)
            self._free = 0
            return part
        raise OSError(self._error, os.strerror(self._error), path)

    def give_back(self, size: int) -> None:
        if self._error == errno.ENOSPC:
            self._free += size


_stat, _lstat, _readlink = os.stat, os.lstat, os.readlink


def _path(name: Any, directory: int | None = None) -> str:
    """Where a file lies, links in its directory followed."""
    text = os.fsdecode(name)
    if directory is not None:
        text = os.path.join(_readlink(f"/proc/self/fd/{directory}"), text)
    return os.path.join(os.path.realpath(os.path.dirname(text) or "."), os.path.basename(text))


def _of(descriptor: int) -> str:
    return _readlink(f"/proc/self/fd/{descriptor}")


def _size(path: str) -> int:
    """Bytes that are free when a name is gone."""
    try:
        found = _lstat(path)
    except OSError:
        return 0
    return found.st_size if found.st_nlink == 1 else 0


def instead(module: ModuleType, **functions: Any) -> None:
    """Put other functions into a module."""
    for name, function in functions.items():
        setattr(module, name, function)


def fill(disk: Disk) -> None:
    """Let everything that takes room on the disk ask for it."""
    wrap_names(disk)
    wrap_descriptors(disk)


def wrap_names(disk: Disk) -> None:
    """Of the calls that take a file's name."""
    open_, mkdir, unlink, replace = os.open, os.mkdir, os.unlink, os.replace

    def open_file(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        where = _path(path, dir_fd)
        if disk.covers(where):
            if flags & os.O_CREAT and not os.path.lexists(where):
                disk.room(where, 1)
            if flags & os.O_TRUNC:
                disk.give_back(_size(where))
        return open_(path, flags, mode, dir_fd=dir_fd)

    def make_directory(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        where = _path(path, dir_fd)
        if disk.covers(where) and not os.path.lexists(where):
            disk.room(where, 1)
        mkdir(path, mode, dir_fd=dir_fd)

    def remove(path: Any, *, dir_fd: int | None = None) -> None:
        where = _path(path, dir_fd)
        size = _size(where) if disk.covers(where) else 0
        unlink(path, dir_fd=dir_fd)
        disk.give_back(size)

    def rename(source: Any, target: Any, **options: Any) -> None:
        where = _path(target)
        if disk.covers(where):
            disk.room(where, 0)
            disk.give_back(_size(where))
        replace(source, target, **options)

    instead(os, open=open_file, mkdir=make_directory)
    instead(os, unlink=remove, remove=remove, replace=rename, rename=rename)


def wrap_descriptors(disk: Disk) -> None:
    """Of the calls that take an open file."""
    write, fsync, allocate = os.write, os.fsync, os.posix_fallocate
    send, copy, truncate = os.sendfile, os.copy_file_range, os.ftruncate

    def put(descriptor: int, data: Any) -> int:
        where = _of(descriptor)
        if disk.covers(where):
            data = memoryview(data)[: disk.room(where, len(data))]
        return write(descriptor, data)

    def sync(descriptor: Any) -> None:
        where = _of(descriptor if isinstance(descriptor, int) else descriptor.fileno())
        if disk.covers(where):
            disk.room(where, 0)
        fsync(descriptor)

    def set_aside(descriptor: int, offset: int, length: int) -> None:
        where = _of(descriptor)
        if disk.covers(where) and disk.room(where, length) < length:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), where)
        allocate(descriptor, offset, length)

    def send_file(out: int, source: int, offset: Any, count: int, *more: Any) -> int:
        if disk.covers(_of(out)):
            count = disk.room(_of(out), min(count, _stat(source).st_size - (offset or 0)))
        return send(out, source, offset, count, *more)

    def copy_range(source: int, target: int, count: int, *more: Any) -> int:
        if disk.covers(_of(target)):
            count = disk.room(_of(target), min(count, _stat(source).st_size))
        return copy(source, target, count, *more)

    def cut(descriptor: int, length: int) -> None:
        if disk.covers(_of(descriptor)):
            disk.give_back(max(0, _stat(descriptor).st_size - length))
        truncate(descriptor, length)

    instead(os, write=put, fsync=sync, posix_fallocate=set_aside)
    instead(os, sendfile=send_file, copy_file_range=copy_range, ftruncate=cut)


def wrap_fsync(disk: Disk, before: Callable[[str], None]) -> None:
    """Let something happen before what was written is put on the disk."""
    fsync = os.fsync

    def sync(descriptor: Any) -> None:
        where = _of(descriptor if isinstance(descriptor, int) else descriptor.fileno())
        if disk.covers(where):
            before(where)
        fsync(descriptor)

    instead(os, fsync=sync)


class Clock:
    """One that is set back by a day when it is looked at for the n-th time."""

    def __init__(self, at: int) -> None:
        self.calls = 0
        self._at = at
        self._time = time.time

    def time(self) -> float:
        self.calls += 1
        return self._time() - (DAY if 0 < self._at <= self.calls else 0)

    def install(self) -> None:
        clock = self

        class Datetime(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Datetime:
                return cls.fromtimestamp(clock.time(), tz)

        instead(time, time=self.time, time_ns=lambda: int(self.time() * 1e9))
        instead(datetime, datetime=Datetime)


GUEST_CLOCK = """
_wall, _coarse, _ahead = time.time, time.clock_gettime_ns, iter([86400])
time.time = lambda: _wall() + next(_ahead, 0)
time.clock_gettime_ns = lambda clock: _coarse(clock) + 86400 * 10**9
"""


def set_guest_clock() -> None:
    """Let the container's main process begin a day later than it ends."""
    from reprorun.environment import skeleton

    real, name = skeleton.guest_files, skeleton.SUPERVISOR

    def guest_files() -> dict[str, bytes]:
        files = real()
        mark = b"import time\n"
        assert files[name].count(mark) == 1
        return {**files, name: files[name].replace(mark, mark + GUEST_CLOCK.encode())}

    instead(skeleton, guest_files=guest_files)


def install(fault: str, disk: Disk, at: int) -> Callable[[], int]:
    """Install a fault; what is returned says how many calls there were."""
    if fault == "clock":
        clock = Clock(at)
        clock.install()
        return lambda: clock.calls
    if fault == "guest-clock":
        set_guest_clock()
        return lambda: 1
    builtins.open = io.open = importlib.import_module("_pyio").open
    if fault in ("full", "read-only"):
        fill(disk)
        return lambda: disk.calls
    calls = 0

    def strike(path: str) -> None:
        nonlocal calls
        calls += 1
        if fault == "slow":
            time.sleep(0.5)
        elif calls == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    wrap_fsync(disk, strike)
    return lambda: calls


def main() -> int:
    """Install the fault, then import reprorun: it gets no other `open`."""
    settings = json.loads(sys.argv[1])
    write = os.write
    told = os.open(settings["told"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    del sys.path[0]  # this directory
    error = errno.EROFS if settings["fault"] == "read-only" else errno.ENOSPC
    disk = Disk(settings["below"], settings["at"], error)
    count = install(settings["fault"], disk, settings["at"])
    from reprorun.cli import run

    try:
        return run(sys.argv[2:])
    finally:
        write(told, str(count()).encode())


if __name__ == "__main__":
    sys.exit(main())
