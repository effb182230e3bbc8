"""`--engine`: which engine a command talks to."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from reprorun.errors import UsageError

if TYPE_CHECKING:
    from reprorun.engine import Engine
    from reprorun.model import RunSpec


def with_engine(command: Any) -> Any:
    """Decorates a command that talks to an engine."""
    text = "docker, podman, or (exec) local: no isolation. Default: what docker's client would use."
    return click.option("--engine", "engine", metavar="NAME", help=text)(command)


def chosen_engine(flag: str | None, directory: str | None = None) -> Callable[[], Engine]:
    """What reaches the engine that `--engine`, REPRORUN_ENGINE or the project names.

    Args:
        flag: of the command line, if it was given.
        directory: where the search for a project starts; the working directory by default.

    Raises:
        UsageError: there is no such engine, or none can take containers.
    """
    from functools import partial

    from reprorun import engine, settings

    kind, where = settings.engine_of(flag, directory or os.getcwd())
    if kind == "local":
        raise UsageError(
            f"{where}: local runs no containers, and this needs one. Name docker or podman with "
            "--engine; only `reprorun exec` and `run_experiment` run without."
        )
    return engine.connect if kind is None else partial(engine.connect, kind)


def is_local(flag: str | None, directory: str) -> bool:
    """Whether a launcher is to be run without a container.

    Raises:
        UsageError: there is no such engine.
    """
    from reprorun import settings

    return settings.engine_of(flag, directory)[0] == "local"


def directory_of(spec: RunSpec) -> str:
    """The script's own directory, where the search for its project starts."""
    return os.path.dirname(os.path.realpath(os.path.join(spec.cwd, spec.script)))
