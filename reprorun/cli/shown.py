"""What is shown of many runs: first how their launch is made ready, then how they go."""

from __future__ import annotations

import os
from typing import Any

from reprorun.cli.report import make_reporter
from reprorun.cli.sweep_progress import make_sweep_progress
from reprorun.workflow.report import Reporter


class Shown:
    """One report after the other, on the same screen.

    Args:
        quiet: only what goes wrong.
        verbose: every step.
    """

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet, self._verbose = quiet, verbose
        self.report = make_reporter(quiet=quiet, verbose=verbose, json=True)
        self._progress: Any = None

    def begin(self, total: int, done: int) -> Any:
        """The launch is ready: from now on it is the runs' turn.

        Args:
            total: how many runs there are.
            done: how many of them have been made before.
        """
        self.report.close()
        self._progress = make_sweep_progress(
            quiet=self._quiet, verbose=self._verbose, total=total, done=done
        )
        return self._progress

    def note(self, text: str) -> None:
        """Something that the user should know, whatever is shown just now."""
        (self._progress or self.report).note(text)

    def of(self, log_dir: str) -> Reporter:
        """A reporter for one run."""
        reporter: Reporter = self._progress.of(os.path.basename(log_dir))
        return reporter

    def close(self) -> None:
        """Told at the end, however it came."""
        self.report.close()
        if self._progress is not None:
            self._progress.close()
