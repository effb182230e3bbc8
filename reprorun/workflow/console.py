"""What an experiment prints: passed on live, and kept in `console.log`."""

from __future__ import annotations

import os

from reprorun.engine.protocol import Stream
from reprorun.store import CONSOLE_FILE
from reprorun.workflow.report import Reporter

TAIL = 1 << 16  # bytes of the end that are kept in memory, to look for telling messages


class Console:
    """Writes `console.log`. A full disk stops the file, not the experiment."""

    def __init__(self, log_dir: str, report: Reporter) -> None:
        self._file = open(os.path.join(log_dir, CONSOLE_FILE), "xb", buffering=0)  # noqa: SIM115
        self._report = report
        self._tail = b""
        self.failure: str | None = None

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, stream: Stream, data: bytes) -> None:
        """Take a piece of output."""
        self._report.output(stream, data)
        self._tail = (self._tail + data)[-TAIL:]
        if self.failure is None:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.failure = f"{CONSOLE_FILE} is incomplete: {error.strerror}"

    @property
    def tail(self) -> str:
        """The end of the output."""
        return self._tail.decode(errors="replace")
