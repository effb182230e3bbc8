"""Keeping a record true: every step of a run is written to `run.json` before the next begins."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any

import msgspec

from reprorun import store
from reprorun.errors import EngineError, ReprorunError
from reprorun.model import Record


def utc_now() -> str:
    """The time, in UTC, as records hold it."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


class Keeper:
    """Holds the record of a run and its log directory."""

    def __init__(self, log_dir: str, record: Record) -> None:
        self.log_dir = log_dir
        self.record = record
        store.write_record(log_dir, record)

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
        except ReprorunError as error:
            self._end(status="failed", reason=str(error))
            raise
        except OSError as error:
            failure = EngineError(_explain(error, self.log_dir))
            self._end(status="failed", reason=str(failure))
            raise failure from error
        except BaseException as error:
            self._end(status="failed", reason=f"reprorun itself failed: {error!r}")
            raise

    def _end(self, **fields: Any) -> None:
        with suppress(OSError):  # the error that is being told about is the one to hear of
            self.update(**fields, ended=utc_now())


def _explain(error: OSError, log_dir: str) -> str:
    where = error.filename or log_dir
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {where} is full. Free some space, or name another with --log-dir."
    return f"{where}: {error.strerror or error}"
