"""What can be held still to find out why an experiment differs from run to run."""

from __future__ import annotations

from collections.abc import Callable

from reprorun.model import ContainerSpec, Record, Variation
from reprorun.vary.changing import FROZEN, SORTED
from reprorun.vary.container import telling, told
from reprorun.vary.factor import Factor


def _seeding(source: str) -> Callable[[ContainerSpec, str], ContainerSpec]:
    def container(container: ContainerSpec, value: str) -> ContainerSpec:
        before = told(container, "seeded") or []
        return telling(container, seeded=sorted({*before, source}))

    return container


def _held(name: str, words: str, remedy: str, value: str, source: str | None = None) -> Factor:
    """A factor that has one value, and is changed by telling Python's processes."""

    def tell(container: ContainerSpec, value: str) -> ContainerSpec:
        return telling(container, **{name: value})

    return Factor(
        name=name,
        words=words,
        remedy=remedy,
        form=value,
        example=value,
        original=lambda _: "another each time",
        container=_seeding(source) if source else tell,
    )


HELD: tuple[Factor, ...] = (
    _held(
        "random",
        "numbers of Python's `random` that no seed decides",
        "Call random.seed(SEED) at the start, before the first number is drawn.",
        "seeded",
        "random",
    ),
    _held(
        "numpy",
        "numpy's random numbers that no seed decides",
        "Call numpy.random.seed(SEED) before the first number is drawn, and give every "
        "numpy.random.default_rng(SEED) a seed.",
        "seeded",
        "numpy",
    ),
    _held(
        "torch",
        "torch's random numbers that no seed decides",
        "Call torch.manual_seed(SEED) at the start, and torch.use_deterministic_algorithms(True).",
        "seeded",
        "torch",
    ),
    _held(
        "entropy",
        "random bytes of the system (os.urandom, uuid4, secrets)",
        "Take what becomes part of a result from random.Random(SEED), such as "
        "uuid.UUID(int=rng.getrandbits(128)).",
        "seeded",
        "entropy",
    ),
    _held(
        "schedule",
        "the order in which threads come to run",
        "Put results in order by their task, as pool.map does, not as they are done; guard what "
        "threads share with a lock.",
        "serial",
    ),
    _held(
        "addresses",
        "addresses of objects in memory (id, and the hash of objects)",
        "Order and name things by what they hold: give the class a __hash__, and sort by a key "
        "instead of id().",
        "numbered",
    ),
)
"""Beside those of `factors`, which have values that hold them still."""

_REASONS = {  # of the others, where holding them still is what helps
    "threads": "the order in which threads of numerical libraries add up",
    "dirorder": "order of directory listings",
    "clock": "the time",
    "hashseed": "the hash seed, and with it the order of sets",
}


def steadying(record: Record) -> tuple[Variation, ...]:
    """All that can be held still, most likely first.

    Args:
        record: the original; a clock that is held still shows its time.
    """
    moment = (record.started or record.created)[:19]
    values = {
        **{factor.name: factor.form for factor in HELD[:4]},
        "clock": f"{FROZEN}{moment}",
        "threads": "1",
        "schedule": "serial",
        "hashseed": "0",
        "addresses": "numbered",
        "dirorder": SORTED,
    }
    return tuple(Variation(factor=name, value=value) for name, value in values.items())


def reason(factor: Factor) -> str:
    """What differs from run to run where holding this still makes it come out the same."""
    return _REASONS.get(factor.name, factor.words)
