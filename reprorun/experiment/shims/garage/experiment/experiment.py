"""garage.experiment.experiment: reprorun's experiment API."""

from __future__ import annotations

from typing import Any

from reprorun.experiment import (
    ExperimentContext,
    ExperimentTemplate,
    LogEncoder,
    dump_json,
    get_metadata,
    make_launcher_archive,
    run_experiment,
    to_local_command,
    wrap_experiment,
)

__all__ = [
    "ExperimentContext",
    "ExperimentTemplate",
    "LogEncoder",
    "dump_json",
    "get_metadata",
    "make_launcher_archive",
    "run_experiment",
    "to_local_command",
    "wrap_experiment",
]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .. import not_offered

    raise not_offered(f"{__name__}.{name}")
