"""What a run asks for and what the machine has -> how many runs at once, and on which GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from reprorun.errors import UsageError
from reprorun.sweeps.values import Ask, Machine, Slot

_ROUNDING = 1e-9  # 7 / 0.14 is a little less than 50
_MOST = 1000  # runs at once: each has a thread, even where it asks for next to nothing


def make_slots(ask: Ask, machine: Machine, at_once: int | None) -> tuple[tuple[Slot, ...], str]:
    """Places for as many runs at once as the machine has room for, and that in words.

    Args:
        ask: what one run asks for.
        machine: what there is.
        at_once: how many at most; None: as many as there is room for.

    Raises:
        UsageError: not even one run has room.
    """
    if at_once is not None and at_once < 1:
        raise UsageError(f"-j {at_once}: at least one run must be let run.")
    shares = _gpu_shares(ask, machine)
    room = {
        "processors": _by_processors(ask, machine),
        "memory": _by_memory(ask, machine),
        "GPUs": len(shares) if shares else None,
        "no more are let run": _MOST,
    }
    bounds = {what: number for what, number in room.items() if number is not None}
    bottleneck = min(bounds, key=bounds.__getitem__)
    number = min(bounds[bottleneck], at_once or _MOST)
    slots = tuple(
        Slot(number=place, devices=shares[place] if shares else ()) for place in range(number)
    )
    return slots, _words(number, at_once, bounds[bottleneck], bottleneck)


def _words(number: int, at_once: int | None, room: int, bottleneck: str) -> str:
    if at_once is None:
        return f"{number} at once: {bottleneck}"
    if at_once > room:
        return f"{number} at once: {bottleneck} (there is no room for -j {at_once})"
    return f"{number} at once, as -j says"


# ---------------------------------------------------------------- each resource


def _by_processors(ask: Ask, machine: Machine) -> int:
    if ask.cpus > machine.cpus:
        raise UsageError(
            f"each run asks for {ask.cpus:g} processors, and the machine has {machine.cpus}. "
            "Ask for fewer with --cpus."
        )
    return int(machine.cpus / ask.cpus + _ROUNDING)


def _by_memory(ask: Ask, machine: Machine) -> int | None:
    if not ask.memory:
        return None
    if ask.memory > machine.memory:
        raise UsageError(
            f"each run asks for {-(-ask.memory >> 20):,} MiB of memory, and the machine has "
            f"{machine.memory >> 20:,} MiB. Ask for less with --memory."
        )
    return machine.memory // ask.memory


def _gpu_shares(ask: Ask, machine: Machine) -> Sequence[tuple[str, ...]]:
    """The GPUs of each run at once; empty where runs ask for none. Idle GPUs come first."""
    if ask.devices:
        groups = [_named_gpus(ask, machine)]
    elif ask.gpus:
        groups = _groups(ask, machine)
    else:
        return ()
    return groups * ask.runs_per_gpu


def _named_gpus(ask: Ask, machine: Machine) -> tuple[str, ...]:
    missing = [device for device in ask.devices if device not in machine.gpus]
    if missing:
        raise UsageError(
            f"each run asks for GPU {', '.join(missing)}, and the machine has {_listed(machine)}."
            " Name others with --gpus."
        )
    return ask.devices


def _groups(ask: Ask, machine: Machine) -> list[tuple[str, ...]]:
    """The machine's GPUs, so many for each run; none is in two groups."""
    size = len(machine.gpus) if ask.gpus < 0 else ask.gpus
    if not machine.gpus or size > len(machine.gpus):
        asked = "all GPUs" if ask.gpus < 0 else f"{ask.gpus} GPU{'s' * (ask.gpus != 1)}"
        raise UsageError(
            f"each run asks for {asked}, and the machine has {_listed(machine)}. "
            "Ask for fewer with --gpus, or for none with --force-cpu."
        )
    starts = range(0, len(machine.gpus) - size + 1, size)
    return [machine.gpus[start : start + size] for start in starts]


def _listed(machine: Machine) -> str:
    names = ", ".join(machine.gpus)
    return f"{len(machine.gpus)} ({names})" if names else "none"
