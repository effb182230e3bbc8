"""The engine `local`: a run without a container, in a virtual environment of the lock.

For debugging: what `exec` or `run_experiment` would run in a container is a plain subprocess here.
It runs in the working tree as it is, with the user's rights, and can read and write all that they
can. The record says so (`isolated: false`), and no re-run calls it reproduced.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from contextlib import suppress
from typing import Any, cast

import msgspec

from reprorun import files, store
from reprorun.engine import Engine
from reprorun.environment.lock_text import lock_text
from reprorun.environment.on_host import find_interpreter, make_venv
from reprorun.errors import EngineError, UsageError
from reprorun.experiment.guest import VARIABLE as GUEST_VARIABLE
from reprorun.model import Code, EngineInfo, Gpus, Limits, Outcome, RunSpec
from reprorun.probe.hardware import find_hardware
from reprorun.workflow.attend import GRACE
from reprorun.workflow.console import Console
from reprorun.workflow.exec import Finished
from reprorun.workflow.finish import close_record
from reprorun.workflow.gather import Environment, environment_on
from reprorun.workflow.keeper import Keeper, utc_now
from reprorun.workflow.opening import archive_code, describe_code, first_record, open_record
from reprorun.workflow.outcome import BY_USER, INTERRUPTED, TIMED_OUT
from reprorun.workflow.python import host_python, wanted_python
from reprorun.workflow.report import Reporter
from reprorun.workflow.sources import Sources, gather_sources

NOTE = "run without a container (engine local): nothing isolated or limited it"
_PIECE = 1 << 16


def execute_unisolated(spec: RunSpec, report: Reporter, python_command: str = "python") -> Finished:
    """Run an experiment on the host itself, with the packages of its lock, and keep a record.

    Args:
        spec: what the user asked for. Only --timeout counts of its limits.
        report: told what happens.
        python_command: what starts Python in the spec's command; it may be another Python.

    Raises:
        UsageError: it can't be done as asked.
        LockFailed: the packages can't be had.
    """
    if spec.secrets:
        raise UsageError("--secret needs a container, in which to mount it; take -e KEY.")
    notes = (NOTE, *_left_aside(spec))
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"} if spec.gpus.kind == "none" else {}
    spec = msgspec.structs.replace(
        spec,
        gpus=Gpus(kind="none"),
        network="host",
        base_image=None,
        dockerfile=None,
        numerics="native",
        limits=Limits(shm_size=0, pids=0, timeout=spec.limits.timeout),
    )
    sources = gather_sources(spec)
    report.step("code", describe_code(sources.code))
    for note in (*notes, *sources.notes):
        report.note(note)
    with files.cache_lock():
        environment = _environment(spec, sources, report)
        venv = make_venv(
            environment.base,
            environment.lock,
            environment.paths,
            sources.code.root,
            environment.digest,
            offline=spec.offline,
        )
        record = first_record(spec, sources, environment)
        keeper = open_record(spec, sources.code.metadata, record)
    with keeper.telling_failures():
        for note in notes:
            keeper.note(note)
        archive = archive_code(sources, os.path.join(keeper.log_dir, store.ARCHIVE_FILE))
        lock = lock_text(environment.lock).encode()
        files.write(os.path.join(keeper.log_dir, store.LOCK_FILE), lock)
        keeper.update(archive=archive, isolated=False, host=find_hardware())
        variables = {**hidden, **_variables(spec, sources, venv, keeper)}
        strange = _another_python(python_command, sources.code, variables)
        if strange:
            keeper.note(strange)
            report.note(strange)
        outcome = _run(spec, sources.code, variables, keeper, report)
        unused = close_record(outcome, keeper)
    code = UsageError.exit_code if unused else outcome.exit_code
    return Finished(record=keeper.record, log_dir=keeper.log_dir, exit_code=code, error=unused)


def _left_aside(spec: RunSpec) -> tuple[str, ...]:
    """A note on what was asked for that only a container could do."""
    odd = {
        "base image": spec.base_image or spec.dockerfile,
        "platform": spec.platform,
        "GPUs": spec.gpus.kind not in ("auto", "none"),
        "memory limit": spec.limits.memory,
        "cpu limit": spec.limits.cpus,
        "portable numerics": spec.numerics != "native",
    }
    names = ", ".join(name for name, asked in odd.items() if asked)
    return (f"left aside, for there is no container: {names}",) if names else ()


def _environment(spec: RunSpec, sources: Sources, report: Reporter) -> Environment:
    version = wanted_python(spec, sources.requirements)
    if spec.same_python and version != host_python():
        raise UsageError(
            f"the function was pickled by Python {host_python()}, but {version} is asked for "
            "(python), and pickled functions don't move between versions. Launch with that Python."
        )
    base = find_interpreter(version)
    return environment_on(base, spec, sources, cast(Engine, _NoEngine()), report)


class _NoEngine:
    """Stands where an engine would: only what is to be built from source would ask it."""

    def info(self) -> EngineInfo:
        return EngineInfo(name="local", version="", api_version="")

    def __getattr__(self, name: str) -> Any:
        raise EngineError(
            "a package is offered as source only, and is built in a container; --engine local has "
            "none. Run it once with --engine docker, or take a version that has a wheel."
        )


# ---------------------------------------------------------------- the run


def _run(
    spec: RunSpec, code: Code, variables: dict[str, str], keeper: Keeper, report: Reporter
) -> Outcome:
    launcher = os.path.join(code.root, code.launcher)
    command = spec.command or ("python", launcher, *spec.args)
    report.step("running", shlex.join(spec.command or ("python", spec.script, *spec.args)))
    keeper.update(status="running", started=utc_now())
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=_workdir(code), env=variables,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,  # it is interrupted with all that it has started
    )  # fmt: skip
    outcome = _until_it_ends(process, spec.limits.timeout, keeper, report)
    keeper.remember(ended=utc_now())
    keeper.write_outcome(
        exit_code=outcome.exit_code,
        reason=outcome.reason,
        seconds=round(time.monotonic() - began, 6),
    )
    return outcome


def _workdir(code: Code) -> str:
    return os.path.normpath(os.path.join(code.root, code.workdir))


def _another_python(command: str, code: Code, variables: dict[str, str]) -> str | None:
    """A line for a `python_command` that leads out of the virtual environment."""
    if command == "python":
        return None
    ask = ("sh", "-c", f"{command} -c 'import sys; print(sys.prefix)'")
    done = subprocess.run(
        ask, cwd=_workdir(code), env=variables, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = done.stdout.strip()
    venv = os.path.realpath(variables["VIRTUAL_ENV"])
    if done.returncode != 0 or os.path.realpath(found) == venv:
        return None  # it can't be run, which the run will show; or it is ours
    return f"python_command {command!r} is the Python of {found}: its packages are not the lock's"


def _variables(spec: RunSpec, sources: Sources, venv: str, keeper: Keeper) -> dict[str, str]:
    guest = {
        "log_dir": keeper.log_dir,
        "root": sources.code.root,
        "metadata": sources.code.metadata,
        "params": spec.params,
    }
    path = os.pathsep.join([os.path.join(venv, "bin"), os.environ.get("PATH", os.defpath)])
    usual = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", "MPLBACKEND": "Agg"}
    own = {"PATH": path, "VIRTUAL_ENV": venv, GUEST_VARIABLE: json.dumps(guest)}
    strange = ("PYTHONPATH", "PYTHONHOME")
    here = {name: value for name, value in os.environ.items() if name not in strange}
    return {**here, **usual, **spec.env, **own}


def _until_it_ends(
    process: subprocess.Popen[bytes], timeout: float | None, keeper: Keeper, report: Reporter
) -> Outcome:
    """Pass on what it prints; end it when the time is over, or the user says so."""
    import threading

    cause: list[str] = []
    timer = threading.Timer(timeout or 0, lambda: _time_out(process, cause))
    if timeout:
        timer.start()
    try:
        with Console(keeper.log_dir, report) as console:
            assert process.stdout
            while piece := os.read(process.stdout.fileno(), _PIECE):
                console.write("stdout", piece)
            code = process.wait()
        if console.failure:
            keeper.note(console.failure)
    except KeyboardInterrupt:
        _stop(process)
        return Outcome(status="interrupted", exit_code=INTERRUPTED, reason=BY_USER)
    finally:
        timer.cancel()
        if process.stdout:
            process.stdout.close()
    if cause:
        reason = f"exceeded its time limit of {timeout:g} s (--timeout)"
        return Outcome(status="failed", exit_code=TIMED_OUT, reason=reason)
    if code == 0:
        return Outcome(status="finished", exit_code=0)
    code = code if code > 0 else 128 - code
    return Outcome(status="failed", exit_code=code, reason=f"ended with exit code {code}")


def _time_out(process: subprocess.Popen[bytes], cause: list[str]) -> None:
    cause.append("timeout")
    _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Interrupt it and all that it has started, and kill what still runs after a while."""
    import signal

    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
