"""The factors: values that are chosen, given by hand, and come out of records."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reprorun.errors import RecordError, UsageError
from reprorun.experiment.varied import VARIABLE
from reprorun.model import Changes, Hardware, Limits, Variation
from reprorun.vary.applying import change, choose, factor_of, parse_wanted, vary
from reprorun.vary.factors import FACTORS
from reprorun.vary.steady import HELD, steadying

from .situations import CONTAINER, situation

EVERY = pytest.mark.parametrize("factor", [*FACTORS, *HELD], ids=lambda factor: factor.name)
ALL = "all,network,packages,device"


def chosen(text: str = ALL, seed: int = 0, **given: Any) -> dict[str, str]:
    return {v.factor: v.value for v in choose(parse_wanted(text), seed, situation(**given))[0]}


def told(text: str) -> dict[str, Any]:
    """What the processes of a container that is so varied are told."""
    variations, _ = choose(parse_wanted(text), 0, situation())
    return json.loads(vary(CONTAINER, variations).env[VARIABLE])


@EVERY
def test_each_says_what_it_is(factor: Any) -> None:
    assert factor.words
    assert factor.remedy.endswith(".")
    assert "\n" not in factor.remedy
    wanted = parse_wanted(f"{factor.name}={factor.example}")
    assert wanted == ((factor.name, factor.example),)


@pytest.mark.parametrize("seed", range(25))
def test_what_is_chosen_is_another_value(seed: int) -> None:
    here = situation()
    for variation in choose(parse_wanted(ALL), seed, here)[0]:
        factor = factor_of(variation)  # and one of its own
        assert variation.value != factor.original(here)
        assert variation.seed == seed


@pytest.mark.parametrize("factor", FACTORS, ids=lambda factor: factor.name)
def test_each_changes_something(factor: Any) -> None:
    variation = Variation(factor=factor.name, value=factor.example)
    container = vary(CONTAINER, (variation,))
    changes = change(Changes(), (variation,), situation())
    asked = changes != Changes(variations=(variation,))
    assert (container != CONTAINER) is not asked


def test_the_same_seed_chooses_the_same() -> None:
    assert chosen(seed=3) == chosen(seed=3)
    assert chosen(seed=3) != chosen(seed=4)
    assert chosen("hashseed", seed=3)["hashseed"] == chosen(seed=3)["hashseed"]


def test_all_is_what_needs_nothing_from_outside() -> None:
    assert set(chosen("all")) == {f.name for f in FACTORS} - {"network", "packages", "device"}


def test_values_by_hand() -> None:
    found = chosen("all,hashseed=42,clock=2030-01-01T00:00:00")
    assert (found["hashseed"], found["clock"]) == ("42", "2030-01-01T00:00:00")
    assert chosen("hashseed=42,all")["hashseed"] == "42"
    assert choose(parse_wanted("hashseed=42"), 5, situation())[0][0].seed is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("moon", "no such factor"),
        ("", "no such factor"),
        ("hashseed,", "no such factor"),
        ("all=1", "no such factor"),
        ("hashseed=red", "hashseed=42 would be"),
        ("hashseed=", "no value"),
        ("random", "random=seeded"),
        ("user=0:0", "no value"),
        ("umask=9", "no value"),
        ("clock=tomorrow", "no value"),
        ("extraenv=REPRORUN_GUEST=x", "no value"),
    ],
)
def test_what_can_not_be_meant(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_wanted(text)


@pytest.mark.parametrize(
    ("factor", "value"),
    [
        ("moon", "full"),
        ("user", "0:0"),
        ("user", "20000:0"),
        ("home", "/workspace/../etc"),
        ("extraenv", "REPRORUN_GUEST={}"),
        ("instructions", "z80"),
        ("timezone", "UTC\n"),
    ],
)
def test_a_record_may_say_anything(factor: str, value: str) -> None:
    with pytest.raises(RecordError):
        vary(CONTAINER, (Variation(factor=factor, value=value),))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cpus", {"cpus": 1, "of_record": {"host": Hardware(cpu_count=1)}}),
        ("memory", {"of_record": {"peak_memory": None}}),
        ("memory", {"of_record": {"limits": Limits(memory=128 << 20)}}),
        ("instructions", {"of_record": {"host": Hardware(machine="aarch64")}}),
        ("instructions", {"of_record": {"numerics": "portable"}}),
        ("instructions", {"features": ()}),
        ("device", {}),
    ],
)
def test_what_can_not_be_varied_here_is_said(name: str, given: dict[str, Any]) -> None:
    variations, left_out = choose(parse_wanted(name), 0, situation(**given))
    assert variations == ()
    assert left_out[0].startswith(f"{name} is not varied: ")


def test_an_original_in_one_thread_is_run_in_two() -> None:
    of_record = {"environment": {"OMP_NUM_THREADS": "1"}}
    assert chosen("threads", of_record=of_record) == {"threads": "2"}


def test_a_run_on_a_gpu_is_tried_without() -> None:
    found = chosen("device,network", of_record={"runtime": "gpu", "network": "bridge"})
    assert found == {"device": "cpu", "network": "none"}
    assert chosen("device,network", offers_gpus=True) == {"device": "gpu", "network": "bridge"}


def test_what_a_rerun_is_asked_for() -> None:
    here = situation()
    variations, _ = choose(parse_wanted("memory,network,packages"), 0, here)
    changes = change(Changes(limits={"cpus": 1.0}), variations, here)
    assert changes.limits == {"cpus": 1.0, "memory": (2 * 100 + 64) << 20}
    assert (changes.network, changes.as_of) == ("bridge", "2026-11-22")
    assert changes.variations == variations
    assert {"network", "limits", "packages"} <= changes.wanted


def test_what_the_original_was_varied_in_stays() -> None:
    before = (Variation(factor="umask", value="077"), Variation(factor="hashseed", value="1"))
    here = situation({"variations": before})
    now = (Variation(factor="hashseed", value="2"),)
    assert change(Changes(), now, here).variations == (before[0], now[0])


def test_several_tell_their_processes() -> None:
    found = told("dirorder=7,umask=077,clock=2030-01-01T00:00:00,home=/tmp/h,cpus=1")
    assert found == {
        "order": "7",
        "umask": 0o77,
        "clock": {"start": 1893456000.0},
        "home": True,
        "cpus": 1,
    }


def test_another_user_is_in_the_group_of_the_original() -> None:
    found = vary(CONTAINER, (Variation(factor="user", value="20001:20002"),))
    assert (found.user, found.groups) == ("20001:20002", ("1001",))


def test_all_that_is_held_still_can_be_held_at_once() -> None:
    here = situation()
    found = vary(CONTAINER, steadying(here.record))
    assert json.loads(found.env[VARIABLE]) == {
        "seeded": ["entropy", "numpy", "random", "torch"],
        "clock": {"frozen": 1711886400.0},
        "schedule": "serial",
        "addresses": "numbered",
        "order": "sorted",
    }
    assert (found.env["OMP_NUM_THREADS"], found.env["PYTHONHASHSEED"]) == ("1", "0")
