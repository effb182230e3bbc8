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
from reprorun.model import Record

RESERVE = 256 << 10  # bytes set aside, so that the last word fits on a disk that has become full


def utc_now() -> str:
    """The time, in UTC, as records hold it."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


class Keeper:
    """Holds the record of a run and its log directory."""

    def __init__(self, log_dir: str, record: Record) -> None:
        self.log_dir = log_dir
        self.record = record
        store.write_record(log_dir, record)
        self._set_aside(RESERVE)

    def update(self, **fields: Any) -> None:
        """Change fields of the record and write it."""
        self.remember(**fields)
        store.write_record(self.log_dir, self.record)

    def remember(self, **fields: Any) -> None:
        """Change fields of the record, to be written with the next step."""
        self.record = msgspec.structs.replace(self.record, **fields)

    def note(self, text: str) -> None:
        """Add what a reader should know; written with the next step."""
        self.remember(notes=(*self.record.notes, text))

    def free_reserve(self) -> None:
        """Give back what was set aside: the record's end is written now."""
        with suppress(OSError):
            os.unlink(self._reserve)

    def write_outcome(self, **fields: Any) -> None:
        """Write how the run ended, also on a full disk; something is left for the last word."""
        self.free_reserve()
        self.update(**fields)
        with suppress(OSError):
            self._set_aside(RESERVE // 2)

    def _set_aside(self, size: int) -> None:
        with open(self._reserve, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    @property
    def _reserve(self) -> str:
        return os.path.join(self.log_dir, store.RESERVE_FILE)

    @contextmanager
    def telling_failures(self) -> Iterator[None]:
        """An error or Ctrl-C in the block ends the record with a status and the reason.

        Raises:
            EngineError: in place of an OSError of the host, such as a full disk.
        """
        try:
            yield
        except KeyboardInterrupt:
            self._end(status="interrupted", reason="interrupted by the user")
            raise
        except EngineUnavailable as error:
            # a run that was under way may go on without us: its end is not known
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
        self.free_reserve()
        with suppress(OSError):  # the error that is being told about is the one to hear of
            self.update(**fields, ended=utc_now())


def explain(error: OSError, log_dir: str) -> str:
    """What went wrong with which file, in one line; for a full disk also what to do."""
    where = error.filename2 or error.filename or log_dir  # a rename has two
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {where} is full. Free some space, or name another with --log-dir."
    return f"{where}: {error.strerror or error}"
