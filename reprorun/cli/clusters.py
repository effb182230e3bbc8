"""`--on ray`: where runs are carried out, for `sweep` and `check`."""

from __future__ import annotations

import os
from typing import Any

import click

from reprorun.cli.options import with_options
from reprorun.errors import UsageError

with_place = with_options(
    click.option("--on", "place", type=click.Choice(["here", "ray"]), default="here",
                 help="This machine's engine (default), or a Ray cluster (no GPUs unasked)."),
    click.option("--address", metavar="ADDRESS",
                 help="Of the Ray cluster (default: $RAY_ADDRESS, or the one that is here)."),
    click.option("--registry", metavar="HOST/NAME",
                 help="With --on ray: the registry that brings images to the nodes."),
)  # fmt: skip
"""Decorates a command whose runs can be carried out on a cluster."""


def on_cluster(given: dict[str, Any]) -> bool:
    """Whether the flags say that runs are carried out on a cluster.

    Args:
        given: the flags.

    Raises:
        UsageError: flags of a cluster are given, and none is meant; or an engine beside a cluster,
            by a flag, a variable or the project.
    """
    if given["place"] == "ray":
        _refuse_engine(given)
        return True
    for name in ("address", "registry"):
        if given[name] is not None:
            raise UsageError(f"--{name} is for --on ray.")
    return False


def _refuse_engine(given: dict[str, Any]) -> None:
    """Refuse an engine that is named: nobody on a cluster would go by it."""
    from reprorun import settings

    if given["engine"] is not None:
        raise UsageError("--engine is for this machine; on a cluster each node has its own.")
    script = given.get("script")  # of a sweep; its project counts, as for the engine here
    directory = os.path.dirname(os.path.realpath(script)) if script else os.getcwd()
    kind, where = settings.engine_of(None, directory)
    if kind is not None:
        raise UsageError(
            f"{where} asks for {kind}, but with --on ray this machine and each node take the "
            "engine that docker's client would use there.\nTake that setting away for --on ray; "
            "DOCKER_HOST names an engine, on each of them."
        )
