"""reprorun: run an experiment in a container, keep what is needed to run it again, and prove it.

The names of garage's experiment module are here; they are imported when they are first used, so
that `import reprorun` costs nothing. This file also runs inside the container (Python 3.8+).
"""

__version__ = "0.1.0"

__all__ = [
    "wrap_experiment",
    "ExperimentTemplate",
    "ExperimentContext",
    "run_experiment",
    "sweep",
    "to_local_command",
    "get_metadata",
    "make_launcher_archive",
    "dump_json",
    "LogEncoder",
]

TYPE_CHECKING = False  # typing's own constant, without importing typing in the guest
if TYPE_CHECKING:
    from reprorun.experiment import (
        ExperimentContext,
        ExperimentTemplate,
        LogEncoder,
        dump_json,
        get_metadata,
        make_launcher_archive,
        run_experiment,
        sweep,
        to_local_command,
        wrap_experiment,
    )


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'reprorun' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("reprorun.experiment"), name)


def __dir__() -> "list[str]":
    return sorted([*globals(), *__all__])
