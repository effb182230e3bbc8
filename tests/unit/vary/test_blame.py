"""Why a record differs, asked of worlds in which that is known."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from reprorun.model import Variation
from reprorun.vary.applying import choose, parse_wanted
from reprorun.vary.values import Blame
from reprorun.workflow.blame import find_blame

from .situations import situation

Output = Callable[[dict[str, str]], Any]
ORIGINAL = "original"
_LEFT: list[int] = []  # re-runs that have not been forgotten


class Fake(NamedTuple):
    """A re-run: what came out, and whether it failed."""

    output: Any
    number: int

    def same(self, other: Fake | None) -> bool:
        assert self.number in _LEFT
        return self.output == (ORIGINAL if other is None else other.output)

    def ended_as_original(self) -> bool:
        return self.output != "failed"

    def forget(self) -> None:
        _LEFT.remove(self.number)


def blamed(output: Output, vary: str | None = None, confirm: int = 3, **of_record: Any) -> Blame:
    """What is said of an experiment whose output follows from the values of the factors."""
    _LEFT.clear()
    numbers = itertools.count()
    here = situation(of_record)
    varied = choose(parse_wanted(vary), 0, here)[0] if vary else ()

    def run(variations: tuple[Variation, ...]) -> Fake:
        _LEFT.append(number := next(numbers))
        return Fake(output({each.factor: each.value for each in variations}), number)

    found = find_blame(run, here, varied, confirm, lambda _: None, ("packages: numpy: 1 -> 2",))
    assert not _LEFT
    assert found.runs == next(numbers)
    return found


def causes(blame: Blame) -> list[str]:
    assert all(cause.words and cause.remedy for cause in blame.causes)
    return [cause.factor for cause in blame.causes]


# ---------------------------------------------------------------- factors


@pytest.mark.parametrize("factor", ["hashseed", "timezone", "user", "threads", "dirorder"])
def test_one_factor(factor: str) -> None:
    found = blamed(lambda given: given.get(factor, ORIGINAL), "all")
    assert (found.kind, causes(found), found.together) == ("factor", [factor], False)
    assert found.runs <= 24


def test_what_it_was_and_what_it_is() -> None:
    found = blamed(lambda given: given.get("threads", ORIGINAL), "all")
    assert (found.causes[0].original, found.causes[0].now) == ("2", "1")
    assert found.causes[0].words == "thread count"
    assert "--numerics portable" in found.causes[0].remedy


def test_two_factors_each_by_itself() -> None:
    found = blamed(lambda given: "bad" if {"locale", "umask"} & set(given) else ORIGINAL, "all")
    assert sorted(causes(found)) == ["locale", "umask"]
    assert not found.together


def test_two_factors_only_together() -> None:
    found = blamed(lambda given: "bad" if {"locale", "umask"} <= set(given) else ORIGINAL, "all")
    assert sorted(causes(found)) == ["locale", "umask"]
    assert found.together


def test_one_that_hides_another() -> None:
    def output(given: dict[str, str]) -> str:
        return "failed" if "user" in given else given.get("hashseed", ORIGINAL)

    assert sorted(causes(blamed(output, "all"))) == ["hashseed", "user"]


@pytest.mark.parametrize("seed", range(20))
def test_a_factor_that_makes_a_difference_most_of_the_time(seed: int) -> None:
    rng = random.Random(seed)

    def output(given: dict[str, str]) -> Any:
        return rng.random() if "threads" in given and rng.random() < 0.95 else ORIGINAL

    assert causes(blamed(output, "all")) == ["threads"]


def test_what_does_not_happen_again_is_no_cause() -> None:
    found = blamed(lambda given: ORIGINAL, "all")
    assert (found.kind, found.causes) == ("unknown", ())
    assert "seldom" in found.notes[0]


def test_a_single_bad_run_among_the_search_is_no_cause() -> None:
    for bad in range(25):
        runs = itertools.count()

        def output(given: dict[str, str], bad: int = bad, runs: Any = runs) -> Any:
            if next(runs) == bad:
                return "by chance"
            return given.get("timezone", ORIGINAL)

        found = blamed(output, "all")
        # the first three are of the unvaried experiment: it differs from run to run
        assert causes(found) == ["timezone"] or bad < 3, bad


# ---------------------------------------------------------------- from run to run


def noise(held: str) -> Output:
    """Another output each time, until something is held still."""
    return lambda given: "steady" if held in given else random.random()


@pytest.mark.parametrize(
    "source",
    ["random", "numpy", "torch", "entropy", "clock", "threads", "schedule", "addresses"],
)
@pytest.mark.parametrize("vary", [None, "all"])
def test_a_source_of_noise(source: str, vary: str | None) -> None:
    found = blamed(noise(source), vary)
    assert (found.kind, causes(found)) == ("nondeterministic", [source])
    assert found.runs <= 30


def test_two_sources_of_noise() -> None:
    found = blamed(lambda given: "steady" if {"random", "clock"} <= set(given) else random.random())
    assert sorted(causes(found)) == ["clock", "random"]
    assert found.together


def test_noise_of_two_values_needs_more_runs() -> None:
    found = set()
    for seed in range(40):
        rng = random.Random(seed)
        blame = blamed(lambda given: "a" if "numpy" in given else rng.choice("ab"))  # noqa: B023
        if blame.kind == "nondeterministic":
            found.add(tuple(causes(blame)))
    wrong = found - {("numpy",)}
    assert ("numpy",) in found
    assert len(wrong) <= 3


def test_what_fails_alike_is_not_steady() -> None:
    found = blamed(lambda given: "failed" if given else random.random())
    assert (found.kind, found.causes) == ("unknown", ())


def test_noise_from_the_network() -> None:
    def output(given: dict[str, str]) -> Any:
        return "failed" if given.get("network") == "none" else random.random()

    found = blamed(output, network="bridge")
    assert (found.kind, causes(found)) == ("nondeterministic", ["network"])
    assert blamed(output).kind == "unknown"  # it has none


def test_noise_that_nothing_explains() -> None:
    found = blamed(lambda given: random.random())
    assert (found.kind, found.causes) == ("unknown", ())
    assert found.notes


# ---------------------------------------------------------------- since the original


def test_what_has_changed_with_the_date() -> None:
    found = blamed(lambda given: ORIGINAL if "clock" in given else "today")
    assert (found.kind, causes(found)) == ("changed", ["clock"])
    assert (found.causes[0].original, found.causes[0].now) == ("2024-03-31", "2026-11-22")


def test_what_has_changed_in_the_network() -> None:
    def output(given: dict[str, str]) -> str:
        return "failed" if given.get("network") == "none" else "new data"

    found = blamed(output, network="bridge")
    assert (found.kind, causes(found)) == ("changed", ["network"])


def test_what_has_changed_otherwise_is_named() -> None:
    found = blamed(lambda given: "new")
    assert (found.kind, found.causes) == ("changed", ())
    assert found.notes == ("packages: numpy: 1 -> 2",)
