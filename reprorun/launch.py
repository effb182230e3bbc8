"""`run_experiment`: launch a function, pickled, in a container of its own.

The host's counterpart of the command line for Python. It is also carried into the container, where
a launcher that calls `run_experiment` starts a plain subprocess, being isolated already; so it runs
on Python 3.8, and what the host does with its tasks is in `launch_on_host`.
"""

from __future__ import annotations

import base64
import itertools
import os
import subprocess
import time
from typing import Any, Callable, Dict, NamedTuple

from reprorun.experiment.command import bare_command, to_local_command, user_variables
from reprorun.experiment.guest import current_guest
from reprorun.experiment.log_directory import directory_in_container, make_log_dir

ENGINES = ("docker", "podman", "local")
LARGEST_ARGUMENT = 32 * 1024  # bytes; the whole command is one argument, and Linux allows 128 KiB
TIMESTAMP = time.strftime("%Y_%m_%d_%H_%M_%S")
_count = itertools.count(1)

_FOR_ALL = {"exp_prefix", "script", "python_command", "dry", "force_cpu", "engine", "batch_tasks"}

Json = Dict[str, Any]  # evaluated, so in the form of Python 3.8


class Task(NamedTuple):
    """One launch, ready to go."""

    shown: str  # what is printed: with the variables of REPRORUN_ENV in front
    command: str  # what is run and recorded: with these in `env`
    log_dir: str
    env: dict[str, str]
    payloads: dict[str, bytes]  # files for the log directory
    force_cpu: bool
    python_command: str


def run_experiment(
    method_call: Callable[..., Any] | None = None,
    batch_tasks: list[Any] | None = None,
    exp_prefix: str = "experiment",
    exp_name: str | None = None,
    log_dir: str | None = None,
    script: str = "reprorun.experiment_wrapper",
    python_command: str = "python",
    dry: bool = False,
    env: dict[str, str] | None = None,
    variant: Json | None = None,
    force_cpu: bool = False,
    pre_commands: str | None = None,
    *,
    parallel: int = 1,
    **kwargs: Any,
) -> None:
    """Pickle a function and run it in a container, or several one after the other or some at once.

    The function is called as `method_call(snapshot_config, variant, resume_from_dir,
    resume_from_epoch)`. The engine, base image and limits are those of `REPRORUN_*` and of
    `[tool.reprorun]` in pyproject.toml.

    Args:
        method_call: The function to run.
        batch_tasks: Functions, or dicts with a function as `method_call` and its own `exp_name`,
            `log_dir`, `env`, `variant` or options of the script, in place of `method_call`.
        exp_prefix: First part of the default name, and the directory under `data/local`.
        exp_name: Name of the experiment; `{exp_prefix}_{time}_{number}` by default.
        log_dir: Log directory; `data/local/{exp_prefix}/{exp_name}` by default.
        script: Module that is run with `python -m`.
        python_command: The Python to run it with, in the container.
        dry: Only print the commands.
        env: Extra environment variables.
        variant: Parameters, passed on to the function and kept in `variant.json`.
        force_cpu: Use the CPU runtime and hide the GPUs.
        pre_commands: Printed, not executed, as in garage.
        parallel: How many of `batch_tasks` are run at once, on one image; then one that fails does
            not stop the others, and what they print is in their records only.
        **kwargs: Options of the script, such as `seed=1` or `snapshot_mode="all"`, and
            `engine="local"` to run it as a plain subprocess, with the packages of the lock.

    Raises:
        ValueError: Neither function nor tasks are given, or one of them can't be called.
        subprocess.CalledProcessError: The experiment failed; it holds the exit code.
        reprorun.errors.ReprorunError: The engine or the build failed.

    Source: garage's `run_experiment` (2020.06), with the container in place of the subprocess.
    """
    engine = _engine(kwargs.pop("engine", None))
    if not isinstance(parallel, int) or parallel < 1:
        raise ValueError("parallel={!r}: how many tasks run at once, 1 or more".format(parallel))
    common = dict(
        kwargs,
        pre_commands=pre_commands,
        exp_name=exp_name,
        log_dir=log_dir,
        env=env,
        variant=variant,
    )
    given = _given(method_call, batch_tasks)
    if len(given) > 1 and (exp_name or log_dir):
        raise ValueError("several tasks can't share one exp_name or log_dir; give each its own")
    options = [{**common, **task} for task in given]
    tasks = [_task(o, exp_prefix, python_command, script, force_cpu) for o in options]
    if not dry and current_guest() is None:
        from reprorun import launch_on_host

        engine = engine or launch_on_host.usual_engine()
    if parallel > 1 and len(tasks) > 1 and engine != "local" and not current_guest():
        _launch_side_by_side(tasks, parallel, engine, dry)
        return
    for task in tasks:
        print(task.shown, flush=True)
        if not dry:
            _launch(task, engine)


def _given(method_call: Any, batch_tasks: list[Any] | None) -> list[Json]:
    if method_call is None and batch_tasks is None:
        raise ValueError("run_experiment needs a method_call or batch_tasks; neither was given")
    tasks = [method_call] if batch_tasks is None else batch_tasks
    given = [dict(task) if isinstance(task, dict) else {"method_call": task} for task in tasks]
    for task in given:
        if not callable(task.get("method_call")):
            raise ValueError(
                "run_experiment calls a function, but was given {!r}".format(
                    task.get("method_call")
                )
            )
        misplaced = sorted(_FOR_ALL.intersection(task))
        if misplaced:
            raise ValueError(f"{misplaced[0]} goes to run_experiment itself, not to one task")
    return given


def _engine(named: str | None) -> str:
    engine = named or os.environ.get("REPRORUN_ENGINE") or ""
    if engine and engine not in ENGINES:
        raise ValueError("engine {!r} is none of {}".format(engine, ", ".join(ENGINES)))
    return engine


def _task(
    options: Json, exp_prefix: str, python_command: str, script: str, force_cpu: bool
) -> Task:
    import cloudpickle

    params = dict(options)
    number = next(_count)
    if params["exp_name"] is None:
        params["exp_name"] = f"{exp_prefix}_{TIMESTAMP}_{number:04n}"
    if params["log_dir"] is None:
        where = os.path.join(os.getcwd(), "data", "local", exp_prefix.replace("_", "-"))
        params["log_dir"] = os.path.join(where, params["exp_name"])
    variant = {"exp_name": params["exp_name"], **(params.pop("variant") or {})}
    env = {"REPRORUN_FORCE_CPU": str(force_cpu), **user_variables(), **_texts(params.pop("env"))}
    payloads: dict[str, bytes] = {}
    params["args_data"] = _payload("args_data", params.pop("method_call"), payloads, cloudpickle)
    params["variant_data"] = _payload("variant_data", variant, payloads, cloudpickle)
    shown = to_local_command(params, python_command=python_command, script=script)
    command = bare_command(params, python_command, script)
    return Task(shown, command, params["log_dir"], env, payloads, force_cpu, python_command)


def _texts(env: dict[str, str] | None) -> dict[str, str]:
    for name, value in (env or {}).items():
        if not isinstance(value, str):
            raise ValueError(f"env: {name} is {value!r}; variables are strings")
    return dict(env or {})


def _payload(name: str, value: Any, payloads: dict[str, bytes], cloudpickle: Any) -> str:
    """A value as an argument; one that is too large goes through a file of the log directory."""
    data = base64.b64encode(cloudpickle.dumps(value))
    if len(data) <= LARGEST_ARGUMENT:
        return data.decode()
    payloads[name + ".b64"] = data
    return f"file:{name}.b64"


def _launch(task: Task, engine: str) -> None:
    if current_guest() is not None:
        code = _run_inside(task)
    else:
        from reprorun.launch_on_host import run_task

        code = run_task(task, engine)
    if code != 0:
        raise subprocess.CalledProcessError(code, task.command)


def _run_inside(task: Task) -> int:
    """In a container already: a subprocess, with a directory of its own in the record."""
    guest = current_guest()
    assert guest is not None
    wanted = directory_in_container(guest.log_dir, task.log_dir, task.log_dir)
    log_dir = make_log_dir(wanted, use_existing=False)  # of tasks whose names end alike, too
    for name, data in task.payloads.items():
        with open(os.path.join(log_dir, name), "wb") as file:
            file.write(data)
    return subprocess.call(task.command, shell=True, env=_environment(task, guest, log_dir))


def _environment(task: Task, guest: Any, log_dir: str) -> dict[str, str]:
    import json

    told = json.dumps(dict(guest._asdict(), log_dir=log_dir))
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"} if task.force_cpu else {}
    return {**os.environ, **hidden, **task.env, "REPRORUN_GUEST": told}


def _launch_side_by_side(tasks: list[Task], parallel: int, engine: str, dry: bool) -> None:
    for task in tasks:
        print(task.shown, flush=True)
    if not dry:
        from reprorun.launch_on_host import run_side_by_side

        run_side_by_side(tasks, parallel, engine)
