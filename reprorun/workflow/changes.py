"""What a re-run is told to do otherwise, and the launch that comes of it. Pure."""

from __future__ import annotations

import os

import msgspec

from reprorun.errors import EngineError, RecordError, UsageError
from reprorun.gpus import choose_gpus, offered, offers_gpus
from reprorun.model import (
    LOG_DIR,
    SHIMS,
    Changes,
    EngineInfo,
    Gpus,
    Network,
    Record,
    RunSpec,
    Secret,
)
from reprorun.plan import REDACTED
from reprorun.store import FUNCTION_FILE
from reprorun.workflow.python import PYTHON_PLACE

FUNCTION_MODULE = "reprorun.experiment.function"
SHIM_OF_GARAGE = "garage"


def respecify(
    record: Record,
    launcher: str,
    changes: Changes,
    cwd: str,
    payloads: dict[str, bytes],
    default_name: str,
) -> RunSpec:
    """The launch of a record once more, with the changes made.

    Args:
        record: the original.
        launcher: relative to the working tree's root.
        changes: what to do otherwise.
        cwd: on this host: where the new record goes by default, and relative paths start.
        payloads: files that the command is given.
        default_name: of the new record.

    Raises:
        UsageError: the changes contradict the record, or lack a value that it does not hold.
    """
    script, *args = record.argv
    if changes.function:
        args = []
    return RunSpec(
        script=script,
        args=tuple(args) if changes.args is None else changes.args,
        cwd=cwd,
        command=_command(record, launcher, changes),
        name=changes.name or (None if changes.log_dir else default_name),
        log_dir=changes.log_dir,
        payloads=payloads,
        params={**record.params, **changes.params},
        env=_variables(record, changes),
        passed=_passed(record, changes),
        secrets=_secrets(record, changes),
        inputs=changes.inputs,
        base_image=changes.base_image or _usual_base(record, changes),
        lock=changes.lock,
        python=changes.python,
        platform=changes.platform or record.platform,
        as_of=changes.as_of,
        gpus=changes.gpus or record.asked_gpus or Gpus(),
        gpu_devices=changes.gpu_devices,
        network=_network(record, changes),
        limits=msgspec.structs.replace(record.limits, **changes.limits),
        extra_requirements=_unpickler(record, changes),
        without=(SHIM_OF_GARAGE,) if changes.shim or _has_shims(record) else (),
        numerics=changes.numerics or record.numerics,
        variations=record.variations if changes.variations is None else changes.variations,
        rebuild=changes.rebuild,
        offline=changes.offline,
    )


def _usual_base(record: Record, changes: Changes) -> str | None:
    """The user's own base image: where the record names none, or another Python is wanted."""
    usual = changes.usual_base
    of_any_python = bool(usual and PYTHON_PLACE in usual and changes.python)
    return usual if of_any_python or record.base_image is None else None


def _network(record: Record, changes: Changes) -> Network:
    """The record's, but the host's own only for who says so: it reaches all that this host does."""
    if record.network == "host" and changes.network is None:
        raise UsageError(
            "the record's run had the host's own network, through which it reaches all that this "
            "machine does. --network host gives it that again; --network bridge or none does not."
        )
    return changes.network or record.network


def _unpickler(record: Record, changes: Changes) -> tuple[str, ...]:
    """What run_experiment adds to the packages that the files name."""
    if record.command[0] == "python" or changes.function:
        return ()
    return tuple(f"{p.name}=={p.version}" for p in record.packages if p.name == "cloudpickle")


def _has_shims(record: Record) -> bool:
    return SHIMS in record.environment.get("PYTHONPATH", "").split(":")


def _command(record: Record, launcher: str, changes: Changes) -> tuple[str, ...]:
    if changes.params and record.command[0] != "python" and not changes.function:
        raise UsageError("the run was launched by run_experiment: it takes no parameters with -P.")
    if changes.function and changes.args is not None:
        raise UsageError("--function calls one function, with parameters (-P): it takes no ARGS.")
    if changes.function:
        file = f"{LOG_DIR}/{FUNCTION_FILE}"
        return ("python", "-m", FUNCTION_MODULE, launcher, changes.function, file)
    if changes.args is None:
        return record.command
    if record.command[0] != "python" or record.command[1:2] in ((), ("-m",)):
        raise UsageError(
            "the run was launched as one function, with all that it was given in the record: it "
            "takes no arguments."
        )
    return ("python", record.command[1], *changes.args)


def _variables(record: Record, changes: Changes) -> dict[str, str]:
    env = {**record.environment, **changes.env}
    missing = [name for name, value in env.items() if value == REDACTED]
    if missing:
        words = " ".join(f"-e {name}" for name in missing)
        raise UsageError(
            f"the record does not hold the values of {', '.join(missing)}, which look secret or "
            f"were passed on by name alone. Give them again: {words} (or NAME=VALUE)."
        )
    if not changes.shim or _has_shims(record):
        return env
    return {**env, "PYTHONPATH": ":".join(filter(None, (SHIMS, env.get("PYTHONPATH"))))}


def _passed(record: Record, changes: Changes) -> tuple[str, ...]:
    """What the original did not keep is not kept now, however it is given."""
    not_kept = [name for name, value in record.environment.items() if value == REDACTED]
    return tuple(dict.fromkeys((*not_kept, *changes.passed)))


def _secrets(record: Record, changes: Changes) -> tuple[Secret, ...]:
    given = {secret.id for secret in changes.secrets}
    missing = [name for name in record.secrets if name not in given]
    if missing:
        words = " ".join(f"--secret id={name},src=FILE" for name in missing)
        raise UsageError(
            f"the run was given secrets that no record holds: {', '.join(missing)}. Give them "
            f"again: {words}."
        )
    return changes.secrets


def same_gpus(record: Record, changes: Changes, info: EngineInfo) -> Gpus:
    """The GPUs of a re-run: those of the record's runtime, never silently another.

    Where the engine does not say what it has, the request is tried before anything is built.

    Raises:
        RecordError: it ran on GPUs, and the engine offers none, or not those.
    """
    if changes.gpus:
        return changes.gpus
    asked = record.asked_gpus or Gpus()
    if record.runtime == "cpu":
        return Gpus(kind="none") if asked.kind == "auto" and offers_gpus(info) else asked
    if asked.kind == "auto" and not offers_gpus(info):
        raise _no_gpus(record, f"offers none ({offered(info)})")
    try:
        choose_gpus(asked, info)
    except EngineError as error:
        raise _no_gpus(record, f"has not those: {str(error).splitlines()[0]}") from error
    return asked


def _no_gpus(record: Record, why: str) -> RecordError:
    seen = tuple(gpu.name for gpu in record.gpus_seen.gpus) if record.gpus_seen else ()
    names = ", ".join(seen or record.host.gpus) or "GPUs"
    return RecordError(
        f"the record was made on {names}; the engine here {why}.\n"
        "--force-cpu runs it without, and records the difference; --gpus names others."
    )


def name_of(path: str) -> str:
    """What a re-run is called by default: as its original's directory, or its pack."""
    return os.path.basename(os.path.realpath(path)).removesuffix(".rrpack")
