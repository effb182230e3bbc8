"""What a factor is, and what has to be known to choose a value for it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from reprorun.model import Changes, ContainerSpec, Record


class Situation(NamedTuple):
    """The record that is checked, and where that is done."""

    record: Record
    cpus: int  # processors of the engine's machine
    features: tuple[str, ...]  # what they can, as Hardware names it; empty: not known
    offers_gpus: bool  # the engine does
    today: str  # ISO date
    uid: int
    gid: int


class Cannot(Exception):
    """A factor can't be varied here; the text says why."""


def _never(random: Random, situation: Situation) -> str:
    raise Cannot("it is only named, with a value")


def _same_container(container: ContainerSpec, value: str) -> ContainerSpec:
    return container


def _same_changes(changes: Changes, value: str, situation: Situation) -> Changes:
    return changes


class Factor(NamedTuple):
    """One circumstance of a run that can be changed on purpose."""

    name: str
    words: str  # for "because of: ..."
    remedy: str
    form: str  # of its values, as a regular expression
    example: str
    original: Callable[[Situation], str]  # its value in the original, in words
    choose: Callable[[Random, Situation], str] = _never  # raises Cannot
    container: Callable[[ContainerSpec, str], ContainerSpec] = _same_container
    changes: Callable[[Changes, str, Situation], Changes] = _same_changes
    outside: bool = False  # needs something from outside: it is not part of `all`
