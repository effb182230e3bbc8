"""How many runs at once, and on which GPUs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reprorun.errors import UsageError
from reprorun.sweeps.slots import make_slots
from reprorun.sweeps.values import Ask, Machine

GIB = 1 << 30
LAB = Machine(cpus=16, memory=64 * GIB, gpus=("0", "1", "2", "3"))
PLAIN = Machine(cpus=16, memory=64 * GIB)


def devices(ask: Ask, at_once: int | None = None, machine: Machine = LAB) -> list[str]:
    return [",".join(slot.devices) for slot in make_slots(ask, machine, at_once)[0]]


@pytest.mark.parametrize(
    ("ask", "at_once", "number", "words"),
    [
        ({}, None, 16, "16 at once: processors"),
        ({"cpus": 8}, None, 2, "2 at once: processors"),
        ({"cpus": 5}, None, 3, "3 at once: processors"),
        ({"cpus": 16}, None, 1, "1 at once: processors"),
        ({"cpus": 0.5}, None, 32, "32 at once: processors"),
        ({"cpus": 0.1}, None, 160, "160 at once: processors"),
        ({"cpus": 1.5}, None, 10, "10 at once: processors"),
        ({"cpus": 1e-9}, None, 1000, "1000 at once: no more are let run"),
        ({"memory": 20 * GIB}, None, 3, "3 at once: memory"),
        ({"memory": 64 * GIB}, None, 1, "1 at once: memory"),
        ({"gpus": 1}, None, 4, "4 at once: GPUs"),
        ({"gpus": 1, "cpus": 8}, None, 2, "2 at once: processors"),
        ({}, 3, 3, "3 at once, as -j says"),
        ({}, 16, 16, "16 at once, as -j says"),
        ({}, 17, 16, "16 at once: processors (there is no room for -j 17)"),
        ({"gpus": 2}, 8, 2, "2 at once: GPUs (there is no room for -j 8)"),
    ],
)
def test_how_many_and_why(
    ask: dict[str, Any], at_once: int | None, number: int, words: str
) -> None:
    slots, said = make_slots(Ask(**ask), LAB, at_once)
    assert [slot.number for slot in slots] == list(range(number))
    assert said == words


@pytest.mark.parametrize(
    ("machine", "cpus", "number"), [(7, 0.7, 10), (7, 0.14, 50), (14, 0.28, 50), (1, 0.3, 3)]
)
def test_fractions_of_processors(machine: int, cpus: float, number: int) -> None:
    slots, _ = make_slots(Ask(cpus=cpus), Machine(cpus=machine, memory=GIB), None)
    assert len(slots) == number


@pytest.mark.parametrize(
    ("ask", "at_once", "wanted"),
    [
        ({}, 2, ["", ""]),
        ({"gpus": 1}, None, ["0", "1", "2", "3"]),
        ({"gpus": 2}, None, ["0,1", "2,3"]),
        ({"gpus": 3}, None, ["0,1,2"]),
        ({"gpus": -1}, None, ["0,1,2,3"]),
        ({"gpus": -1, "runs_per_gpu": 2}, None, ["0,1,2,3"] * 2),
        ({"gpus": 1, "runs_per_gpu": 2}, None, ["0", "1", "2", "3"] * 2),
        ({"gpus": 1, "runs_per_gpu": 2}, 3, ["0", "1", "2"]),  # idle ones before shared ones
        ({"gpus": 2, "runs_per_gpu": 3}, 3, ["0,1", "2,3", "0,1"]),
        ({"devices": ("2", "0")}, None, ["2,0"]),
        ({"devices": ("2", "0"), "runs_per_gpu": 2}, None, ["2,0"] * 2),
    ],
)
def test_gpus(ask: dict[str, Any], at_once: int | None, wanted: list[str]) -> None:
    assert devices(Ask(**ask), at_once) == wanted


@pytest.mark.parametrize(
    ("ask", "machine", "words"),
    [
        ({"cpus": 17}, LAB, "asks for 17 processors, and the machine has 16"),
        ({"cpus": 16.5}, LAB, "asks for 16.5 processors, and the machine has 16"),
        ({"memory": 64 * GIB + 1}, LAB, "asks for 65,537 MiB of memory.*has 65,536 MiB"),
        ({"gpus": 5}, LAB, r"asks for 5 GPUs, and the machine has 4 \(0, 1, 2, 3\)"),
        ({"gpus": 1}, PLAIN, "asks for 1 GPU, and the machine has none"),
        ({"gpus": -1}, PLAIN, "asks for all GPUs, and the machine has none.*--force-cpu"),
        ({"devices": ("0", "7", "GPU-1")}, LAB, r"GPU 7, GPU-1, and the machine has 4 \(0,"),
        ({"devices": ("0",)}, PLAIN, "GPU 0, and the machine has none"),
    ],
)
@pytest.mark.parametrize("at_once", [None, 1])
def test_one_run_that_has_no_room(
    ask: dict[str, Any], machine: Machine, words: str, at_once: int | None
) -> None:
    with pytest.raises(UsageError, match=words):
        make_slots(Ask(**ask), machine, at_once)


@pytest.mark.parametrize("at_once", [0, -1])
def test_no_run_at_all(at_once: int) -> None:
    with pytest.raises(UsageError, match="at least one run"):
        make_slots(Ask(), LAB, at_once)


@given(
    cpus=st.floats(0.01, 20),
    memory=st.none() | st.integers(1 << 20, 80 * GIB),
    gpus=st.integers(-1, 5),
    runs_per_gpu=st.integers(1, 3),
    at_once=st.none() | st.integers(1, 50),
)
def test_the_machine_holds_all_of_them(
    cpus: float, memory: int | None, gpus: int, runs_per_gpu: int, at_once: int | None
) -> None:
    ask = Ask(cpus=cpus, memory=memory, gpus=gpus, runs_per_gpu=runs_per_gpu)
    try:
        slots, _ = make_slots(ask, LAB, at_once)
    except UsageError:
        assume(False)
    number = len(slots)
    assert number >= 1
    assert number * cpus <= LAB.cpus + 1e-6
    assert number * (memory or 0) <= LAB.memory
    assert at_once is None or number <= at_once
    used = [device for slot in slots for device in slot.devices]
    assert all(used.count(device) <= runs_per_gpu for device in LAB.gpus)
    wanted = len(LAB.gpus) if gpus < 0 else gpus
    assert all(len(set(slot.devices)) == wanted for slot in slots)
