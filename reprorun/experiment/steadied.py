"""Holds still, in a Python process, what else differs from run to run: random numbers and the like.

For finding out why an experiment does not come out the same: what makes it come out the same when
it is held still was the reason. See `reprorun.experiment.varied`.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing's own costs an import
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

FOREVER = 1e6  # seconds that a thread may go on while it waits for nothing


def seed(sources: List[str]) -> None:
    """Makes sources of random numbers give the same ones each time.

    Each of them alone: where one draws on another that is not named, it gets real entropy.

    Args:
        sources: Of `random`, `numpy`, `torch`, and `entropy`: the system's own, which os.urandom,
            uuid4 and secrets ask.
    """
    from reprorun.experiment.varied import after_import

    if "random" in sources:
        after_import("random", _seed_random)
    if "torch" in sources:
        after_import("torch", _seed_torch)
    if "numpy" in sources:
        after_import("numpy.random", _seed_numpy)
    elif "entropy" in sources:
        after_import("numpy.random", _leave_numpy_unseeded)
    if "entropy" in sources:
        _seed_entropy()


class _Numbers:
    """Bits that look random, and are the same in each process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def bytes(self, size: int) -> bytes:
        import hashlib

        self._count += 1
        text = "{} {}".format(self._name, self._count)
        return hashlib.shake_128(text.encode()).digest(size)

    def bits(self, number: int) -> int:
        return int.from_bytes(self.bytes((number + 7) // 8), "big") >> (-number % 8)


def _seed_random(module: Any) -> None:
    """Wherever `random` would ask the system for a seed."""
    numbers = _Numbers("random")
    real = module.Random.seed

    def seed_as_told(self: Any, a: Any = None, version: int = 2) -> None:
        real(self, numbers.bits(64) if a is None else a, version)

    module.Random.seed = seed_as_told
    module.seed = module._inst.seed
    module.seed()
    os.register_at_fork(after_in_child=module._inst.seed)  # its own asked the system


def _seed_numpy(module: Any) -> None:
    module.bit_generator.randbits = _Numbers("numpy").bits
    module.seed(0)


def _leave_numpy_unseeded(module: Any) -> None:
    module.bit_generator.randbits = lambda number: (
        int.from_bytes(_urandom((number + 7) // 8), "big") >> (-number % 8)
    )


def _seed_torch(module: Any) -> None:
    module.manual_seed(0)
    module.seed = module.random.seed = lambda: module.manual_seed(0) and 0


_urandom = os.urandom


def _seed_entropy() -> None:
    from reprorun.experiment.varied import Plain, after_import

    numbers = _Numbers("entropy")
    replacements = {
        "urandom": Plain(numbers.bytes, "urandom"),
        "getrandom": Plain(lambda size, flags=0: numbers.bytes(size), "getrandom"),
    }
    for name, function in replacements.items():
        setattr(os, name, function)
    after_import("random", lambda module: setattr(module, "_urandom", os.urandom))


# ---------------------------------------------------------------- threads and addresses


def one_thread_at_a_time(_: object) -> None:
    """Lets a Python thread go on until it waits for something, so that the order is the same."""
    sys.setswitchinterval(FOREVER)


def number_objects(_: object) -> None:
    """Gives objects numbers in the order in which they are asked for, in place of addresses.

    What has been given a number is never freed, so that none is given twice.
    """
    import builtins

    real, build = builtins.id, builtins.__build_class__
    known: Dict[int, Tuple[int, Any]] = {}

    def number(obj: Any) -> int:
        found = known.setdefault(real(obj), ((len(known) + 1) << 4, obj))
        return found[0]

    def build_class(*args: Any, **kwargs: Any) -> Any:
        made = build(*args, **kwargs)
        if getattr(made, "__hash__", None) is object.__hash__:
            try:
                made.__hash__ = number
            except (AttributeError, TypeError):
                pass  # a metaclass forbids it; such objects keep their addresses
        return made

    builtins.id = number
    builtins.__build_class__ = build_class
