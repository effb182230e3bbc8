"""Letting one call of the command fail, each in its turn."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..engine.bench import Done
from .lab import Lab
from .looking import ended_badly, false_after, unfinished

SHIM = Path(__file__).with_name("shim.py")


class Struck:
    """Runs the command with a fault of `shim`, and knows how many calls there were."""

    def __init__(self, made: Lab, kind: str, *below: Path) -> None:
        self._made = made
        self._kind = kind
        self._below = below
        self._told = made.place / "told"

    def run(self, at: int, *words: str, log_dir: Path | None = None) -> Done:
        """Run `reprorun WORDS...`, or `exec`, with the fault at one of its calls."""
        log_dir = log_dir or self._made.log_dir()
        below = [str(path) for path in (self._below or (log_dir,))]
        told = str(self._told)
        settings = {"fault": self._kind, "below": below, "at": at, "told": told}
        program = (sys.executable, str(SHIM), json.dumps(settings))
        if words:
            return self._made.reprorun(*words, program=program, log_dir=log_dir)
        return self._made.run(log_dir=log_dir, program=program)

    @property
    def calls(self) -> int:
        """How many there were in the last run.

        Raises:
            FileNotFoundError: it did not come so far as to count them.
        """
        return int(self._told.read_text())


def strike_each(made: Lab, struck: Struck, calls: Sequence[int] = ()) -> Iterator[str]:
    """Let each call fail once, or those that are named; recover, and look.

    Raises:
        LookupError: there are fewer calls than those that were named.
    """
    if not calls:
        yield from unfinished(made, struck.run(0))
    for at in calls or range(1, struck.calls + 1):
        done = struck.run(at)
        if struck.calls < at:  # how many there are depends on what the threads do
            if calls:
                raise LookupError(f"there are {struck.calls} calls, not {at}")
            break
        if at % 4 == 0:  # the disk is still full when somebody looks after it
            yield from at_call(at, ended_badly(struck.run(1, "recover", log_dir=done.log_dir)))
        yield from at_call(at, false_after(made, done))
    yield from unfinished(made, made.run())


def at_call(call: int, found: Iterator[str]) -> Iterator[str]:
    return (f"at call {call}: {each}" for each in found)
