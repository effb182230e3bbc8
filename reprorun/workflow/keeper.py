"""Keeping a record true: every step of a run is written to `run.json` before the next begins."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any

import msgspec

from reprorun import store
from reprorun.errors import EngineError, EngineUnavailable, ReprorunError
from reprorun.held import Hold
from reprorun.model import HOSTS_FILE, Record

HOSTS = b"127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n"
RESERVE = 256 << 10  # bytes set aside, so that the last word fits on a disk that has become full


def utc_now() -> str:
    """The time, in UTC, as records hold it."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


class Keeper:
    """Holds the record of a run and its log directory.

    Args:
        log_dir: the directory, absolute.
        record: is written at once.
        held: tells other processes that this one is at work on it.
    """

    def __init__(self, log_dir: str, record: Record, held: Hold | None = None) -> None:
        self.log_dir = log_dir
        self.record = record
        self.leaves_container = False  # there may be one that somebody has to see to
        self._held = held
        self._write()

    @property
    def is_over(self) -> bool:
        """Whether the run has ended. What it made must not be lost, whatever comes now."""
        return self.record.exit_code is not None

    def begin(self) -> None:
        """Make what a run needs in its log directory beside the record.

        Raises:
            EngineError: there is no room for it; the record says so.
        """
        with self.telling_failures():
            self._write_hosts()
            self._set_aside(RESERVE)

    def update(self, **fields: Any) -> None:
        """Change fields of the record and write it."""
        self.remember(**fields)
        self.tell(record=self.record)
        self._write()

    def close(self, **fields: Any) -> None:
        """Write the record for the last time: the run has ended, and all that it made is there."""
        self.remember(**fields)
        self._write()
        self._part()

    def _write(self) -> None:
        store.write_record(self.log_dir, self.record)
        self._written = self.record

    def tell(self, **fields: Any) -> None:
        """Say to who may take the run over what the record has no place for: see `held.Mark`."""
        if self._held:
            self._held.tell(**fields)

    def _part(self, *, later: bool = False) -> None:
        """Work on it no longer; there may be something to be done later."""
        if self._held and (later or self.leaves_container):
            self._held.let_go()
        elif self._held:
            self._held.end()

    def remember(self, **fields: Any) -> None:
        """Change fields of the record, to be written with the next step."""
        self.record = msgspec.structs.replace(self.record, **fields)

    def note(self, text: str) -> None:
        """Add what a reader should know; written with the next step."""
        self.remember(notes=(*self.record.notes, text))

    def free_reserve(self) -> None:
        """Give back what was set aside for the time of the run: the record's end is written now."""
        for name in (store.RESERVE_FILE, HOSTS_FILE):
            with suppress(OSError):
                os.unlink(os.path.join(self.log_dir, name))

    def write_outcome(self, **fields: Any) -> None:
        """Write how the run ended, also on a full disk; something is left for the last word.

        The status is not told before what the run made is listed: until then it has not ended.
        """
        self.free_reserve()
        self.update(**fields)
        with suppress(OSError):
            self._set_aside(RESERVE // 2)

    def _write_hosts(self) -> None:
        with open(os.path.join(self.log_dir, HOSTS_FILE), "wb") as file:
            os.fchmod(file.fileno(), 0o644)  # the container may run as another user
            file.write(HOSTS)

    def _set_aside(self, size: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW  # the run can write there
        descriptor = os.open(self._reserve, flags, 0o644)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)

    @property
    def _reserve(self) -> str:
        return os.path.join(self.log_dir, store.RESERVE_FILE)

    @contextmanager
    def telling_failures(self) -> Iterator[None]:
        """An error or Ctrl-C in the block ends the record with a status and the reason.

        Ctrl-C changes nothing of a run that is over: `reprorun recover` does what is left to do.

        Raises:
            EngineError: in place of an OSError of the host, such as a full disk.
        """
        try:
            yield
        except KeyboardInterrupt:
            if self.is_over:
                self._leave()
            else:
                self._end(status="interrupted", reason="interrupted by the user")
            raise
        except EngineUnavailable as error:
            # a run that was under way may go on without us: its end is not known
            self.leaves_container = True  # perhaps: what was asked for last may have been done
            status = "lost" if self.record.status == "running" else "failed"
            self._end(status=status, reason=str(error))
            raise
        except ReprorunError as error:
            self._end(status="failed", reason=str(error))
            raise
        except OSError as error:
            failure = EngineError(explain(error, self.log_dir))
            self._end(status="failed", reason=str(failure))
            raise failure from error
        except BaseException as error:
            self._end(status="failed", reason=f"reprorun itself failed: {error!r}")
            raise

    def _end(self, **fields: Any) -> None:
        later = True  # also where Ctrl-C comes before it is written
        try:
            self.free_reserve()
            self.update(**fields, ended=utc_now())
            later = False
        except OSError:  # the error that is being told about is the one to hear of
            if self._written.exit_code is not None:  # `reprorun recover` can finish it from there
                self.tell(record=self._written)  # else it writes what was told
        finally:
            self._part(later=later)

    def _leave(self) -> None:
        """Break off where a run is brought home; what is written is true, and can be finished."""
        self.tell(record=self._written)
        self._part(later=True)


def explain(error: OSError, log_dir: str = "") -> str:
    """What went wrong with which file, in one line; where that is known, also what to do."""
    where = os.fsdecode(error.filename2 or error.filename or log_dir)  # a rename has two
    name = "in XDG_CACHE_HOME" if _is_cached(where) else "with --log-dir"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {where} is full. Free some space, or name another {name}."
    if error.errno in (errno.EROFS, errno.EACCES) and _is_cached(where):
        return f"{where}: {error.strerror}. Make it writable, or name another place {name}."
    return f"{where}: {error.strerror}" if where and error.strerror else str(error)


def _is_cached(path: str) -> bool:
    from platformdirs import user_cache_dir

    return f"{path}/".startswith(f"{user_cache_dir('reprorun')}/")
