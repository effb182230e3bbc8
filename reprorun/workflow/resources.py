"""What a run asks of a machine, and what a machine has."""

from __future__ import annotations

from reprorun.errors import UsageError
from reprorun.gpus import gpu_numbers, offers_gpus
from reprorun.model import EngineInfo, RunSpec
from reprorun.probe.hardware import hardware_of
from reprorun.sweeps.values import Ask, Machine


def ask_of(spec: RunSpec, engine: EngineInfo | None, runs_per_gpu: int = 1) -> Ask:
    """What one run asks for. Where it says nothing of processors, it is taken to need one.

    Args:
        spec: of the run.
        engine: which may give GPUs unasked; None: the runs are made elsewhere, and get none so.
        runs_per_gpu: how many may share one.
    """
    gpus, kind = 0, spec.gpus.kind
    if kind == "all" or (kind == "auto" and engine and offers_gpus(engine) and _gpus(engine)):
        gpus = -1
    elif kind == "count":
        gpus = spec.gpus.count
    return Ask(
        cpus=spec.limits.cpus or 1.0,
        memory=spec.limits.memory,
        gpus=gpus,
        devices=spec.gpus.devices if kind == "device" else (),
        runs_per_gpu=runs_per_gpu,
    )


def machine_of(engine: EngineInfo, ask: Ask) -> Machine:
    """What the engine's machine has.

    Args:
        engine: says so.
        ask: of a run. GPUs that it names otherwise than by number are taken to be there, and on
            another machine all that it names: the engine knows them, and refuses what is none.

    Raises:
        UsageError: how many GPUs there are is not known.
    """
    here = hardware_of(engine)
    gpus = _gpus(engine)
    if engine.remote and not gpus:
        _refuse_number(engine, ask)
        gpus = ask.devices
    by_other_names = tuple(device for device in ask.devices if not device.isdecimal())
    return Machine(
        cpus=engine.cpus or here.cpu_count,
        memory=engine.memory or here.memory,
        gpus=by_other_names or gpus,
    )


def _refuse_number(engine: EngineInfo, ask: Ask) -> None:
    if ask.gpus:
        raise UsageError(
            f"each run is to have GPUs of its own, but the engine at {engine.address} does not say "
            "which its machine has. Name them (--gpus device=0), or run the sweep there."
        )


def _gpus(engine: EngineInfo) -> tuple[str, ...]:
    """The GPUs of the engine's machine by number, as `--gpus device=` takes them."""
    here = tuple(str(number) for number in range(len(hardware_of(engine).gpus)))
    return gpu_numbers(engine) or here
