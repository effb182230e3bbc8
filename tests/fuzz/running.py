"""Running a target: one input under guard, or many, and what crashed."""

from __future__ import annotations

import random
import resource
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .mutate import mutated
from .targets import Target

SECONDS = 2.0  # for one input
CHILD_SECONDS = 150.0  # for one input in a child, which itself is ended after a minute
MEMORY = 512 << 10  # KiB that one input may add to the process


class Crash(NamedTuple):
    """An input that a parser does not take as it should."""

    data: bytes
    how: str  # the exception and where it came from
    place: str  # by which crashes of one cause are told


class Fuzzed(NamedTuple):
    """How it went with one target."""

    inputs: int
    seconds: float
    crashes: tuple[Crash, ...]  # one of each place


class Hung(BaseException):
    """One input took too long."""


def crash_of(target: Target, data: bytes) -> Crash | None:
    """What is wrong with one input; None where nothing is."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _alarm(SECONDS if not target.child else CHILD_SECONDS):
            target.parse(data)
    except target.allowed:
        pass  # as it should be
    except Hung:
        seconds = CHILD_SECONDS if target.child else SECONDS
        return Crash(data, f"took more than {seconds:g} s", "hang")
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "/reprorun/" in f.filename] or frames
        place = (
            f"{type(error).__name__} at {ours[-1].filename.rpartition('/')[2]}:{ours[-1].lineno}"
        )
        return Crash(data, f"{place}: {str(error)[:200]!r}", place)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if grown > MEMORY:
        return Crash(data, f"took {grown >> 10} MiB of memory", "memory")
    return None


def fuzz(target: Target, inputs: int, seed: int, seconds: float = float("inf")) -> Fuzzed:
    """Feed a target with its seeds, and then with broken ones.

    Args:
        target: what is fed.
        inputs: how many, the seeds beside.
        seed: of the chance; the same inputs come again with it.
        seconds: after which it ends anyway.
    """
    chance, seeds = random.Random(seed), target.seeds()
    crashes: dict[str, Crash] = {}
    began, done = time.monotonic(), 0

    def stream() -> Iterator[bytes]:
        yield from seeds
        for _ in range(inputs):
            yield mutated(chance, seeds)

    for data in stream():
        crash = crash_of(target, data)
        done += 1
        if crash:
            crashes.setdefault(crash.place, crash)
        if time.monotonic() - began > seconds:
            break
    return Fuzzed(done, time.monotonic() - began, tuple(crashes.values()))


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
