"""Results of a sweep by column: what varies, and which numbers came of it. Pure."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable
from typing import Any

from reprorun.sweeps.table import Result
from reprorun.sweeps.values import Params

MOST_METRICS = 6  # that are shown
MOST_FACTORS = 4
_READ_METRICS = 200
_SEEDS = frozenset({"seed", "random_seed", "rng_seed", "random_state"})
_COUNTS = frozenset({
    *("step", "steps", "epoch", "iteration", "iter", "itr", "timestep", "t", "batch"),
    *("global_step", "totalenvsteps", "time", "wall_time", "timestamp", "seconds", "elapsed"),
})  # fmt: skip


class Factor:
    """A parameter, and which of its values each finished run has."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.levels: list[Any] = []  # in order of appearance
        self.places = array("l")  # of each run in `levels`; -1: it doesn't have the parameter
        self._known: dict[str, int] = {}

    def add(self, params: Params) -> None:
        """Take that of a run."""
        if self.name not in params:
            self.places.append(-1)
            return
        value = params[self.name]
        key = json.dumps(value)  # which tells "1" from 1
        if key not in self._known:
            self._known[key] = len(self.levels)
            self.levels.append(value)
        self.places.append(self._known[key])

    @property
    def varies(self) -> bool:
        """Whether runs differ in it."""
        return len(self.levels) + (-1 in self.places) > 1

    @property
    def numbers(self) -> list[float] | None:
        """Its values as numbers; None: they are no numbers."""
        known = [n for n in map(number_of, self.levels) if n is not None]
        return known if len(known) == len(self.levels) else None

    @property
    def is_seed(self) -> bool:
        """Whether it only stirs the random numbers."""
        return self.name.lower() in _SEEDS


class Columns:
    """What was taken of the finished runs of a sweep."""

    def __init__(self) -> None:
        self.runs = 0
        self.factors: dict[str, Factor] = {}
        self.metrics: dict[str, array[float]] = {}
        self._several: dict[str, bool] = {}  # metrics that are not the same in all runs

    def add(self, result: Result) -> None:
        """Take a finished run."""
        for name in result.params:
            if name not in self.factors:
                self.factors[name] = _absent(Factor(name), self.runs)
        for factor in self.factors.values():
            factor.add(result.params)
        for name in result.metrics:
            if name not in self.metrics and len(self.metrics) < _READ_METRICS:
                self.metrics[name] = array("d", [math.nan]) * self.runs
        for name, numbers in self.metrics.items():
            numbers.append(_number_in(result.metrics.get(name)))
        self.runs += 1

    def varying(self) -> list[Factor]:
        """The parameters in which runs differ; seeds last."""
        found = [factor for factor in self.factors.values() if factor.varies]
        return sorted(found, key=lambda factor: factor.is_seed)

    def interesting(self) -> list[str]:
        """The metrics that are numbers and not the same in all runs; those that count last."""
        found = [name for name, numbers in self.metrics.items() if _varies(numbers)]
        return sorted(found, key=lambda name: name.strip().lower() in _COUNTS)


def _absent(factor: Factor, runs: int) -> Factor:
    factor.places.extend([-1] * runs)
    return factor


def _varies(numbers: Iterable[float]) -> bool:
    known = (number for number in numbers if math.isfinite(number))
    first = next(known, math.nan)
    return any(number != first for number in known)


def _number_in(text: str | None) -> float:
    try:
        return float(text) if text is not None else math.nan
    except ValueError:
        return math.nan


def number_of(value: Any) -> float | None:
    """A number that can be drawn; None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def value_text(value: Any) -> str:
    """A value as a reader knows it: JSON, but text as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
