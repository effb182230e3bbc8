"""The experiment API: garage's names and semantics, standard library only.

This package runs in the container as well as outside, on Python 3.8 and newer, and imports nothing
of the rest of reprorun. `run_experiment` and `sweep`, which start containers, are handed on from
there. Each name is imported when it is first used: the container's main process needs none of them.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own costs an import
if TYPE_CHECKING:
    from typing import Any

    from reprorun.experiment.archive import make_launcher_archive
    from reprorun.experiment.command import to_local_command
    from reprorun.experiment.encoder import LogEncoder, dump_json
    from reprorun.experiment.metadata import get_metadata
    from reprorun.experiment.template import ExperimentContext, ExperimentTemplate, wrap_experiment
    from reprorun.launch import run_experiment
    from reprorun.launch_sweep import sweep

_HOMES = {
    "ExperimentContext": "reprorun.experiment.template",
    "ExperimentTemplate": "reprorun.experiment.template",
    "LogEncoder": "reprorun.experiment.encoder",
    "dump_json": "reprorun.experiment.encoder",
    "get_metadata": "reprorun.experiment.metadata",
    "make_launcher_archive": "reprorun.experiment.archive",
    "run_experiment": "reprorun.launch",
    "sweep": "reprorun.launch_sweep",
    "to_local_command": "reprorun.experiment.command",
    "wrap_experiment": "reprorun.experiment.template",
}

__all__ = [
    "ExperimentContext",
    "ExperimentTemplate",
    "LogEncoder",
    "dump_json",
    "get_metadata",
    "make_launcher_archive",
    "run_experiment",
    "sweep",
    "to_local_command",
    "wrap_experiment",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
