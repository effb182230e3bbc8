"""Runs and checks on a Ray cluster: Ray places them, and each node's own engine runs them.

    capacity     what a run asks + what the nodes have -> how many at once, or why none ever
    connection   the cluster that is there, found and left again
    depot        an actor on the submitting machine: gives images and records out, tells of Ctrl-C
    dispatch     tasks under way: begun, waited for, lost, interrupted
    taking       what a task gives, item by item
    nodes        which live; what is said when none is left
    arriving     records on their way back
    ray_runner   the runner of a sweep
    ray_check    `check` of many records                    check_images  what they need of images

On a node, inside a task:

    aboard       sees that reprorun is there, in the same version
    place        a worker's directory, its engine, and its leash
    leash        a small process that cleans up behind a worker, however that ends
    images       what runs are made from, brought where it is missing
    inputs       data that must be there already
    running      a run from its beginning to its record      checking    the same of a check

Between them go bytes: `messages` as JSON, and `trees`, directories in pieces of a tar. `ray` is
imported only here, inside functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from reprorun.engine import Engine
    from reprorun.sweeps.values import Ask
    from reprorun.workflow.prepared import Prepared
    from reprorun.workflow.report import Reporter
    from reprorun.workflow.runner import Runner
    from reprorun.workflow.sweep import MakeRunner


def on_ray(
    address: str | None,
    registry: str | None,
    at_once: int | None,
    report: Reporter,
    note: Callable[[str], None],
    verbose: bool,
) -> MakeRunner:
    """Makes runners for a Ray cluster; each is connected with it when it is made.

    Args:
        address: of the cluster; None: RAY_ADDRESS, or the one of this machine.
        registry: HOST/NAME that brings the image to the nodes; None: this machine does.
        at_once: how many runs are handed out at most; None: as many as the cluster takes.
        report: told how many that is.
        note: told, in a line, when the cluster has no node left that could take a run.
        verbose: let Ray talk on the terminal.
    """

    def make(launch: Prepared, engine: Engine, ask: Ask) -> Runner:
        from reprorun.cluster.ray_runner import RayRunner

        runner = RayRunner(
            launch,
            engine,
            ask,
            report,
            note,
            address=address,
            jobs=at_once,
            registry=registry,
            verbose=verbose,
        )
        runner.open()
        return runner

    return make
