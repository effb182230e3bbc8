"""reprorun's experiment API under garage's names, for launchers that need nothing else of garage.

Found as `garage` where the directory above is on the search path for modules (`--shim garage`).
What of garage is not here raises an ImportError that says so, instead of being half there.
"""

from __future__ import annotations

import sys
from typing import Any

from reprorun.experiment import wrap_experiment

__all__ = ["wrap_experiment"]

_OWN = ("experiment", "experiment.experiment", "experiment.experiment_wrapper")
_OWN_MODULES = {f"{__name__}.{name}" for name in (*_OWN, "experiment.deterministic")}


def not_offered(name: str) -> ImportError:
    """Returns the error for a part of garage that is not here, by its dotted name."""
    return ModuleNotFoundError(
        f"{name} is not offered: the shim has garage's experiment API only. "
        "Re-run without --shim, with garage itself installed",
        name=name,
    )


class _Refusal:
    """Finds no module; says so for those of garage in a sentence that helps."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name.startswith(f"{__name__}.") and name not in _OWN_MODULES:
            raise not_offered(name)


sys.meta_path.insert(0, _Refusal)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "experiment":
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise not_offered(f"{__name__}.{name}")
