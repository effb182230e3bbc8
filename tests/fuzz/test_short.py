"""The short form of fuzzing: a few thousand broken inputs, and all that crashed once."""

from __future__ import annotations

import random
import resource
import warnings
from collections.abc import Mapping
from functools import lru_cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import running, seeds
from .mutate import LONGEST, mutated
from .running import Target, crash_of, fuzz
from .targets import build_targets

INPUTS = 60  # a target


@lru_cache(maxsize=1)
def targets() -> Mapping[str, Target]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build_targets()


@pytest.mark.parametrize("name", list(targets()))
@pytest.mark.filterwarnings("ignore")  # of the libraries that read; what is wrong is an exception
def test_no_input_crashes(name: str) -> None:
    target = targets()[name]
    known = target.seeds()
    for data in known:
        assert crash_of(target, data) is None

    @given(st.integers(0, 1 << 62))
    @settings(
        max_examples=3 if target.child else INPUTS,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    def holds(chance: int) -> None:
        data = mutated(random.Random(chance), known)
        assert crash_of(target, data) is None

    holds()


def test_every_target_starts_from_something_whole() -> None:
    """A parser that refuses its seeds at once is fed with nothing but refusals."""
    for name, target in targets().items():
        taken = 0
        for data in target.seeds():
            try:
                target.parse(data)
            except target.allowed:
                continue
            taken += 1
        assert taken, name


def test_a_crash_is_seen() -> None:
    def broken(data: bytes) -> None:
        if b"\x1b" in data:
            raise KeyError("a bug")
        if b"null" in data:
            raise ValueError("as it should be")

    target = Target(broken, (ValueError,), lambda: (b"a\x1b=1", b"null"))
    found = fuzz(target, 50, seed=1)
    assert found.inputs == 52
    assert [crash.place.partition(" ")[0] for crash in found.crashes] == ["KeyError"]
    assert fuzz(target, 50, seed=1).crashes[0].data == found.crashes[0].data


def test_a_hang_and_a_flood_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(data: bytes) -> None:
        while True:
            pass

    def much(data: bytes) -> int:
        return len(b"x" * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10))

    monkeypatch.setattr(running, "MEMORY", 1 << 10)
    flood = crash_of(Target(much, (), lambda: ()), b"")
    assert flood is not None
    assert flood.place == "memory"
    monkeypatch.setattr(running, "SECONDS", 0.05)
    found = crash_of(Target(forever, (), lambda: ()), b"")
    assert found is not None
    assert found.place == "hang"


def test_what_is_mutated_is_bounded() -> None:
    chance = random.Random(0)
    inputs = (b"x" * LONGEST, b"", b"a")
    assert all(len(mutated(chance, inputs)) <= LONGEST for _ in range(200))


def test_the_corpus_is_small() -> None:
    files = [path for path in seeds.CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1 << 20
    assert {path.parent.name for path in files} <= set(targets())
