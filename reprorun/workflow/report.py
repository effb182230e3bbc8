"""What a workflow tells while it works. The command line and Python implement it."""

from __future__ import annotations

from typing import Protocol

from reprorun.engine.protocol import Stream


class Reporter(Protocol):
    """Takes what a workflow has to say; it decides how, and whether, that is shown."""

    def step(self, name: str, text: str) -> None:
        """A step of the run is under way, or done."""
        ...

    def progress(self, text: str) -> None:
        """A line about the step that is under way, to be overwritten by the next."""
        ...

    def note(self, text: str) -> None:
        """Something that the user should know; it stands in the record too."""
        ...

    def output(self, stream: Stream, data: bytes) -> None:
        """A piece of what the experiment prints."""
        ...


class Silent:
    """Says nothing, and lets the experiment's output go."""

    def step(self, name: str, text: str) -> None:
        pass

    def progress(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def output(self, stream: Stream, data: bytes) -> None:
        pass
