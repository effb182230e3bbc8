"""Running a launched command as a plain subprocess, for debugging: nothing isolates it.

The record says so (`isolated: false`), and that its packages are those of the host.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import msgspec

from reprorun import store
from reprorun.model import BaseImage, EngineInfo, Gpus, Limits, Lock, Requirements, RunSpec
from reprorun.probe.code import find_code
from reprorun.probe.hardware import find_hardware
from reprorun.workflow.gather import Environment, Sources
from reprorun.workflow.keeper import utc_now
from reprorun.workflow.opening import archive_code, first_record, open_record

NOTE = (
    "run without a container (engine local): nothing isolated or limited it, "
    "and its packages are the host's"
)
NO_LIMITS = Limits(shm_size=0, pids=0)


def execute_locally(spec: RunSpec, command: str, variables: dict[str, str]) -> int:
    """Run a shell command on the host and keep a record that says so.

    Args:
        spec: what was asked for; only its code, parameters and log directory count here.
        command: a shell command line.
        variables: environment variables to add to the spec's.

    Returns:
        The command's exit code; 128+n when it was killed by signal n.
    """
    code = find_code(spec.script, spec.cwd)
    spec = msgspec.structs.replace(spec, limits=NO_LIMITS, gpus=Gpus(kind="none"))
    sources = Sources(code=code, requirements=Requirements(), inputs=(), notes=(NOTE,))
    record = first_record(spec, sources, _host())
    keeper = open_record(spec, sources.code.metadata, record)
    with keeper.telling_failures():
        archive = archive_code(sources, os.path.join(keeper.log_dir, store.ARCHIVE_FILE))
        keeper.update(
            archive=archive,
            isolated=False,
            network="host",
            host=find_hardware(),
            status="running",
            started=utc_now(),
        )
        began = time.monotonic()
        done = subprocess.run(
            command,
            shell=True,
            cwd=spec.cwd,
            env={**os.environ, "PATH": _search_path(), **variables, **spec.env},
            check=False,
        )
        exit_code = done.returncode if done.returncode >= 0 else 128 - done.returncode
        keeper.free_reserve()
        outputs, odd = store.list_outputs(keeper.log_dir)
        keeper.close(
            status="finished" if exit_code == 0 else "failed",
            reason=None if exit_code == 0 else f"ended with exit code {exit_code}",
            exit_code=exit_code,
            seconds=round(time.monotonic() - began, 6),
            ended=utc_now(),
            outputs=outputs,
            not_kept=odd,
        )
    return exit_code


def _search_path() -> str:
    """The launcher's own interpreter comes first: the record names it, and it has reprorun."""
    return os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])


def _host() -> Environment:
    """The host in the place of an environment."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    base = BaseImage(ref="", id="", digest="", python=python, executable=sys.executable)
    engine = EngineInfo(name="local", version="", api_version="")
    return Environment(base=base, lock=Lock(), engine=engine, digest="")
