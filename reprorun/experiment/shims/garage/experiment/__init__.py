"""garage.experiment, as far as it starts experiments and writes down how."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from reprorun.experiment import (
    ExperimentContext,
    ExperimentTemplate,
    run_experiment,
    to_local_command,
    wrap_experiment,
)

__all__ = [
    "ExperimentContext",
    "ExperimentTemplate",
    "run_experiment",
    "to_local_command",
    "wrap_experiment",
]

_MODULES = ("deterministic", "experiment", "experiment_wrapper")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .. import not_offered

    raise not_offered(f"{__name__}.{name}")
