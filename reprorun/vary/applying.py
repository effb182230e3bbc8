"""Variations chosen, read from a flag, and applied. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from random import Random

from msgspec.structs import replace

from reprorun.errors import RecordError, UsageError
from reprorun.model import Changes, ContainerSpec, Variation
from reprorun.vary.container import with_variables
from reprorun.vary.factor import Cannot, Factor, Situation
from reprorun.vary.factors import FACTORS
from reprorun.vary.numerics import portable
from reprorun.vary.steady import HELD

ALL = "all"
_BY_NAME = {factor.name: factor for factor in (*FACTORS, *HELD)}


def factor_of(variation: Variation) -> Factor:
    """The factor that a variation changes.

    Raises:
        RecordError: there is none of that name, or the value is none of its own. A record may say
            anything.
    """
    factor = _BY_NAME.get(variation.factor)
    if factor is None or not re.fullmatch(factor.form, variation.value, re.DOTALL):
        raise RecordError(
            f"the record was varied in a way that is not known here: {variation.factor}="
            f"{variation.value}. A newer reprorun may know it."
        )
    return factor


# ---------------------------------------------------------------- what to vary


Wanted = tuple[tuple[str, "str | None"], ...]
"""Names of factors, each with the value that the user gave for it, or None."""


def parse_wanted(text: str) -> Wanted:
    """`--vary`: names of factors with commas between, each with a value of its own or not.

    Raises:
        UsageError: there is no such factor, or the value is none of its own.
    """
    found: dict[str, str | None] = {}
    for word in text.split(","):
        name, equals, value = word.strip().partition("=")
        if name == ALL and not equals:
            found = {**{f.name: None for f in FACTORS if not f.outside}, **found}
            continue
        _check(name, value if equals else None)
        found[name] = value if equals else None
    return tuple(found.items())


def _check(name: str, value: str | None) -> None:
    factor = _BY_NAME.get(name)
    if factor is None:
        known = ", ".join(f.name for f in FACTORS)
        raise UsageError(f"--vary {name!r}: there is no such factor. Known are all, {known}.")
    if value is None and factor in HELD:
        raise UsageError(f"--vary {name} takes a value: {name}={factor.example}.")
    if value is not None and not re.fullmatch(factor.form, value, re.DOTALL):
        raise UsageError(
            f"--vary {name}={value}: this is no value for it; {name}={factor.example} would be."
        )


def choose(
    wanted: Wanted, seed: int, situation: Situation
) -> tuple[tuple[Variation, ...], tuple[str, ...]]:
    """A value for each factor: the same for the same seed and record on the same machine.

    Returns:
        The variations, and why factors that were wanted can't be varied.
    """
    chosen, left_out = [], []
    for name, value in wanted:
        if value is not None:
            chosen.append(Variation(factor=name, value=value))
            continue
        try:
            value = _BY_NAME[name].choose(Random(f"{seed} {name}"), situation)
            chosen.append(Variation(factor=name, value=value, seed=seed))
        except Cannot as why:
            left_out.append(f"{name} is not varied: {why}")
    return tuple(chosen), tuple(left_out)


# ---------------------------------------------------------------- applied


def change(changes: Changes, variations: tuple[Variation, ...], situation: Situation) -> Changes:
    """The changes of a re-run with the circumstances varied, beside those that the original was."""
    names = {variation.factor for variation in variations}
    before = tuple(v for v in situation.record.variations if v.factor not in names)
    changes = replace(changes, variations=(*before, *variations))
    for variation in variations:
        changes = factor_of(variation).changes(changes, variation.value, situation)
    return changes


def vary(container: ContainerSpec, variations: Iterable[Variation]) -> ContainerSpec:
    """The container of a run with its circumstances varied.

    Raises:
        RecordError: one of them is not known.
    """
    for variation in variations:
        container = factor_of(variation).container(container, variation.value)
    return container


def pin(container: ContainerSpec, machine: str, given: Collection[str]) -> ContainerSpec:
    """With numerical libraries told to compute alike on all machines.

    What is varied about them does not come through: that is the point.

    Args:
        container: of the run.
        machine: the architecture.
        given: variables that the user has set; these stay.
    """
    pins = {name: value for name, value in portable(machine).items() if name not in given}
    return with_variables(container, pins)
