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

SECONDS = 2.0  # of processor time, for one input: others may be at work on the machine
BLOCKED_SECONDS = 60.0  # for one input that waits for something
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
        with _alarm(target):
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
        seconds: of processor time after which it ends anyway; of any time, with children.
    """
    chance, seeds = random.Random(seed), target.seeds()
    crashes: dict[str, Crash] = {}
    clock = time.monotonic if target.child else time.process_time
    began, done = clock(), 0

    def stream() -> Iterator[bytes]:
        yield from seeds
        for _ in range(inputs):
            yield mutated(chance, seeds)

    for data in stream():
        crash = crash_of(target, data)
        done += 1
        if crash:
            crashes.setdefault(crash.place, crash)
        if clock() - began > seconds:
            break
    return Fuzzed(done, clock() - began, tuple(crashes.values()))


@contextmanager
def _alarm(target: Target) -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise Hung

    signals = (signal.SIGALRM, signal.SIGPROF)
    before = [(number, signal.signal(number, ring)) for number in signals]
    signal.setitimer(signal.ITIMER_REAL, CHILD_SECONDS if target.child else BLOCKED_SECONDS)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in before:
            signal.signal(number, handler)
