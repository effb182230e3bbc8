"""What all modules of faults share: a fault, and how it is injected and told of."""

from __future__ import annotations

import importlib
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

LONGEST = 600  # characters of what is told of one thing that was wrong
MODULES = ("engine", "building", "disk", "clock", "names", "cache", "container")


class Fault(NamedTuple):
    """Something that goes wrong, and must neither lose nor falsify a record."""

    name: str
    what: str  # goes wrong, in a few words
    inject: Callable[[Path], list[str]]
    """Gets an empty directory, injects the fault once, and returns what was lost or false. What it
    can't do here it raises: a fault that was not injected has not been withstood."""
    short: bool = False  # takes a few seconds at most: injected in every CI run


class Injected(NamedTuple):
    """One injection, and what came of it."""

    module: str
    name: str
    wrong: tuple[str, ...]
    seconds: float


def faults_of(module: str) -> tuple[Fault, ...]:
    """The faults of a module.

    Args:
        module: one of `MODULES`.
    """
    found: tuple[Fault, ...] = importlib.import_module(f"{__package__}.{module}").FAULTS
    return found


def inject(module: str, fault: Fault) -> Injected:
    """Inject a fault once, in a directory of its own."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reprorun-fault-", ignore_cleanup_errors=True) as made:
        try:
            wrong = fault.inject(Path(made).resolve())
        except Exception as error:  # of the harness, or something that nobody has thought of
            where = traceback.extract_tb(error.__traceback__)[-1]
            wrong = [f"{type(error).__name__} at {where.name}:{where.lineno}: {error}"]
    told = tuple(each[-LONGEST:] for each in wrong)
    return Injected(module, fault.name, told, time.monotonic() - begun)


def inject_all(
    modules: Sequence[str], times: int, *, only_short: bool = False
) -> Iterator[Injected]:
    """Inject the faults of some modules, each some times."""
    for module in modules:
        for fault in faults_of(module):
            if fault.short or not only_short:
                for _ in range(times):
                    yield inject(module, fault)
