"""What is under way on this machine, and in whose hands: a locked file each.

    XDG_STATE_HOME/reprorun/held/ID     lines of JSON, of which the last whole one counts

Whoever works on something holds the lock of its file. The system frees it when they die, however
that happens: what is not locked was left behind, and `reprorun recover` takes it over. The files
don't lie in log directories, because containers can write there; for the same reason they hold the
record, too.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import msgspec

from reprorun.model import Record, Value

_MODE = 0o600


class Mark(Value, frozen=True, kw_only=True):
    """What its file says of something that is under way."""

    node: str = ""  # the machine
    engine: str | None = None  # address of the one that has its container; None: it has none yet
    step: str | None = None  # id of a container that the engine's builder has made
    since: str = ""  # UTC time; what was created earlier is another's
    wanted: str | None = None  # where the log directory should be; a number may be put behind it
    log_dir: str | None = None  # where it is; None: not made yet, or there is none
    made: bool = False  # the directory was made for this
    mode: int | None = None  # of the directory before it was lent to another user
    record: Record | None = None  # as it was written last, while the run is under way
    cause: Literal["exited", "interrupted", "timeout"] = "exited"  # why the container has ended
    looked: bool = False  # `recover` only looks at it; nobody has noted it
    harvested: bool = False  # all has been brought out of the container
    paths: tuple[str, ...] = ()  # files and empty directories that would be left behind
    beside: str | None = None  # a directory in which files that are not whole are ours


BLANK = Mark()  # of a file that can't be read: the machine has lost its power


class Hold:
    """Something in the hands of this process."""

    def __init__(self, identity: str, descriptor: int | None, mark: Mark) -> None:
        self.identity = identity
        self.mark = mark
        self._descriptor = descriptor  # None: there is no place for the file; then nobody knows

    def tell(self, **fields: Any) -> None:
        """Change what the file says. Where the disk is full, it stays as it was."""
        self.mark = msgspec.structs.replace(self.mark, **fields)
        if self._descriptor is not None:
            with suppress(OSError):
                os.write(self._descriptor, b"\n%s\n" % _encoded(self.mark))

    @property
    def age(self) -> float:
        """Seconds since something was told last."""
        if self._descriptor is None:
            return math.inf
        return time.time() - os.fstat(self._descriptor).st_mtime

    def end(self) -> None:
        """Nothing is left to do: the file goes."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.unlink(os.path.join(_directory(), self.identity))
        self.let_go()

    def let_go(self) -> None:
        """Leave it to `reprorun recover`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


# ---------------------------------------------------------------- to begin


def hold(identity: str, **fields: Any) -> Hold:
    """Begin something; the fields are those of `Mark`."""
    with _beginning():
        return _held(identity, **fields)


def hold_log_dir(identity: str, wanted: str, make: Callable[[], str]) -> Hold:
    """Begin a run, and make its log directory.

    Args:
        identity: of the record.
        wanted: where the directory should be.
        make: makes it, and says where it is.

    Raises:
        Exception: what `make` raises; nothing is begun.
    """
    was_there = os.path.lexists(wanted)
    with _making(identity, wanted, make) as (held, log_dir):
        made = not (was_there and log_dir == wanted)
        mode = os.stat(log_dir).st_mode & 0o7777
        held.tell(log_dir=os.path.realpath(log_dir), made=made, mode=mode)
        return held


@contextmanager
def holding_dir(wanted: str, make: Callable[[], str]) -> Iterator[str]:
    """Make a log directory for a run that begins within the block, perhaps much later.

    Args:
        wanted: where the directory should be.
        make: makes it, and says where it is.

    Raises:
        Exception: what `make` raises.
    """
    with _making(os.urandom(8).hex(), wanted, make) as (held, log_dir):
        held.tell(wanted=None, paths=(os.path.abspath(log_dir),))
    with _parting(held):
        yield log_dir


@contextmanager
def _making(identity: str, wanted: str, make: Callable[[], str]) -> Iterator[tuple[Hold, str]]:
    """Make a directory and note it, with nobody looking for what was left behind in between."""
    with _beginning():
        held = _held(identity, wanted=os.path.abspath(wanted))
        try:
            yield held, make()
        except BaseException:
            held.end()
            raise


@contextmanager
def holding(
    identity: str | None = None,
    *,
    engine: str | None = None,
    paths: Sequence[str] = (),
    beside: str | None = None,
) -> Iterator[Hold]:
    """Hold something without a record while the block lasts, such as a container that is asked.

    After an error it is left to `reprorun recover`, which looks whether anything is left.

    Args:
        identity: label `reprorun.run` of its containers; None where it has none.
        engine: address of the one that gets them.
        paths: files and empty directories that a killed process would leave.
        beside: a directory that this process has alone, and writes files in.
    """
    places = tuple(os.path.abspath(path) for path in paths)
    held = hold(identity or os.urandom(8).hex(), engine=engine, paths=places, beside=beside)
    with _parting(held):
        yield held


@contextmanager
def _parting(held: Hold) -> Iterator[None]:
    try:
        yield
    except BaseException:
        held.let_go()
        raise
    held.end()


def _held(identity: str, **fields: Any) -> Hold:
    descriptor = None
    with suppress(OSError):  # no reason not to run
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND
        descriptor = os.open(os.path.join(_directory(), identity), flags, _MODE)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    held = Hold(identity, descriptor, BLANK)
    held.tell(**{"node": os.uname().nodename, **fields})
    return held


# ---------------------------------------------------------------- what was left behind


def is_any_left() -> bool:
    """Whether something was left behind. Takes next to no time."""
    try:
        directory = _directory()
        names = os.listdir(directory)
    except OSError:
        return False
    return any(_is_free(os.path.join(directory, name)) for name in names)


def take_over() -> list[Hold]:
    """Take all that was left behind into the hands of this process."""
    taken = []
    with _beginning(alone=True):
        directory = _directory()
        for name in sorted(os.listdir(directory)):
            descriptor = _locked(os.path.join(directory, name))
            if descriptor is not None:
                taken.append(Hold(name, descriptor, _read(descriptor)))
    return taken


@contextmanager
def alone() -> Iterator[None]:
    """Nobody begins anything while the block lasts."""
    with _beginning(alone=True):
        yield


def log_dirs() -> set[str]:
    """The log directories of all that is under way or was left behind."""
    found: set[str] = set()
    for name in os.listdir(_directory()):
        with suppress(OSError):
            descriptor = os.open(os.path.join(_directory(), name), os.O_RDONLY | os.O_NOFOLLOW)
            mark = _read(descriptor)
            found.update((mark.log_dir or "", *mark.paths))
            os.close(descriptor)
    return found


def is_held(identity: str) -> bool:
    """Whether somebody works on it."""
    path = os.path.join(_directory(), identity)
    return os.path.exists(path) and not _is_free(path)


def _is_free(path: str) -> bool:
    descriptor = _locked(path)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


def _locked(path: str) -> int | None:
    """The file, locked; None where somebody has it, or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # else whoever had it has just ended it
            return descriptor
    except OSError:
        pass  # somebody has it
    os.close(descriptor)
    return None


def _encoded(mark: Mark) -> bytes:
    try:
        return msgspec.json.encode(mark)
    except UnicodeEncodeError:  # names of files that are no UTF-8
        return json.dumps(msgspec.to_builtins(mark)).encode()


def _read(descriptor: int) -> Mark:
    """The last line that can be read: the machine may have died while one was written."""
    with open(descriptor, "rb", closefd=False) as file:
        lines = file.read().splitlines()
    for line in reversed(lines):
        with suppress(ValueError):  # msgspec's own errors are ValueErrors
            return msgspec.convert(json.loads(line), Mark)
    return BLANK


@contextmanager
def _beginning(*, alone: bool = False) -> Iterator[None]:
    """Nobody takes over what others are just beginning."""
    try:
        descriptor = os.open(_directory(), os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _directory() -> str:
    from platformdirs import user_state_path

    path = user_state_path("reprorun") / "held"
    path.mkdir(parents=True, exist_ok=True)
    return str(path)
