"""What the host does with the tasks of `run_experiment`: a run each, by the engine meant."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from reprorun.engine import Engine
    from reprorun.launch import Task
    from reprorun.model import RunSpec
    from reprorun.workflow.exec import Finished
    from reprorun.workflow.report import Reporter


def usual_engine() -> str:
    """The engine that the project names; empty where it names none.

    Raises:
        UsageError: there is no such engine.
    """
    import __main__
    from reprorun import settings

    script = getattr(__main__, "__file__", None)  # a notebook has none: it is of its directory
    project = os.path.dirname(os.path.abspath(script)) if script else os.getcwd()
    return settings.engine_of(None, project)[0] or ""


def run_task(task: Task, engine: str) -> int:
    """Run a task, and keep its record.

    Args:
        task: what to run.
        engine: docker, podman, local; empty: whatever answers where docker's client looks.

    Returns:
        Its exit code.

    Raises:
        ReprorunError: it can't be done as asked, or the engine or the build failed.
    """
    from reprorun.cli.report import make_reporter

    report = make_reporter(quiet=False, verbose=False, json=False)
    try:
        finished = _execute(task, engine, report)
        report.step(finished.record.status, finished.record.reason or "")
        report.step("record", finished.log_dir)
    finally:
        report.close()
    return finished.exit_code


def _execute(task: Task, engine: str, report: Reporter) -> Finished:
    if engine == "local":
        from reprorun.workflow.unisolated import execute_unisolated

        return execute_unisolated(_spec(task), report, task.python_command)
    from reprorun.workflow.connecting import connecting
    from reprorun.workflow.exec import execute
    from reprorun.workflow.recover import recover_by_the_way

    connect = _connect(engine)
    recover_by_the_way(connect, report)
    with connecting(connect) as reached:
        return execute(_spec(task), reached, report)


def run_side_by_side(tasks: Sequence[Task], parallel: int, engine: str) -> None:
    """Run tasks on one image, some at once, in containers.

    Args:
        tasks: what to run.
        parallel: how many at once, at most.
        engine: docker, podman; empty: whatever answers where docker's client looks.

    Raises:
        subprocess.CalledProcessError: one failed; the others have been run.
        ReprorunError: it can't be done as asked, or the engine or the build failed.
    """
    from reprorun.cli.shown import Shown
    from reprorun.workflow.batch import run_batch
    from reprorun.workflow.recover import recover_by_the_way

    shown = Shown(quiet=False, verbose=False)
    connect = _connect(engine)
    try:
        recover_by_the_way(connect, shown.report)
        specs = [_spec(task) for task in tasks]
        ended = run_batch(specs, parallel, connect, shown.begin, shown.of, shown.report)
    finally:
        shown.close()
    failed = [each for each in ended if each.exit_code]
    if failed:
        first = failed[0]
        if first.error:
            raise first.error
        raise subprocess.CalledProcessError(first.exit_code, tasks[first.job.number].command)


# ---------------------------------------------------------------- a task as a run


def _launcher() -> str:
    import __main__
    from reprorun.errors import UsageError

    path: str | None = getattr(__main__, "__file__", None)
    if not path:
        raise UsageError(
            "run_experiment archives the script that calls it, and there is none (an interactive "
            "Python or a notebook). Put the call in a script."
        )
    return os.path.abspath(path)


def _connect(engine: str) -> Callable[[], Engine]:
    from reprorun.engine import connect

    return partial(connect, cast(Any, engine)) if engine else connect


def _spec(task: Task) -> RunSpec:
    import cloudpickle

    from reprorun import settings
    from reprorun.model import Gpus, RunSpec

    launcher = _launcher()
    found = settings.resolve({}, os.path.dirname(launcher))
    if task.force_cpu:
        found["gpus"] = Gpus(kind="none")
    return RunSpec(
        script=launcher,
        args=tuple(sys.argv[1:]),
        cwd=os.getcwd(),
        command=("sh", "-c", task.command),
        extra_requirements=(f"cloudpickle=={cloudpickle.__version__}",),
        same_python=True,
        log_dir=task.log_dir,
        payloads=task.payloads,
        env=task.env,
        **found,
    )
