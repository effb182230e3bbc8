"""garage.experiment.deterministic: one seed for every generator of random numbers.

Source:
    The semantics follow garage's documentation of `garage.experiment.deterministic`.
"""

from __future__ import annotations

import random
import sys
from typing import Any

_LARGEST = 4294967294  # seeds are taken modulo this, as in garage
_seed: int | None = None


def set_seed(seed: int) -> None:
    """Seeds `random`, numpy where it is installed, and torch and tensorflow where imported.

    Args:
        seed: A number; what it is modulo 4294967294 counts.
    """
    global _seed
    _seed = seed % _LARGEST
    random.seed(_seed)
    numpy = _numpy()
    if numpy is not None:
        numpy.random.seed(_seed)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].compat.v1.set_random_seed(_seed)
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.manual_seed(_seed)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def get_seed() -> int | None:
    """Returns the seed that was set last; None where none was."""
    return _seed


def _numpy() -> Any:
    try:
        import numpy
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        return None
    return numpy


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .. import not_offered

    raise not_offered(f"{__name__}.{name}")
