"""The experiment API: garage's names and semantics, standard library only.

This package runs in the container as well as outside, on Python 3.8 and newer, and imports nothing
of the rest of reprorun. `run_experiment`, which starts containers, is handed on from there.
"""

from __future__ import annotations

from typing import Any

from reprorun.experiment.archive import make_launcher_archive
from reprorun.experiment.command import to_local_command
from reprorun.experiment.encoder import LogEncoder, dump_json
from reprorun.experiment.metadata import get_metadata
from reprorun.experiment.template import ExperimentContext, ExperimentTemplate, wrap_experiment

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

_HOST_MODULE = "reprorun.launch"


def __getattr__(name: str) -> Any:
    if name != "run_experiment":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return import_module(_HOST_MODULE).run_experiment
    except ModuleNotFoundError as error:
        if error.name != _HOST_MODULE:
            raise
        return _no_run_experiment


def _no_run_experiment(*_args: Any, **_kwargs: Any) -> None:
    """Stands in where reprorun itself is missing, so that `from ... import` works there too."""
    raise RuntimeError("run_experiment starts containers and can't be called inside one")
