"""What a run asks of a machine, and what a machine has."""

from __future__ import annotations

from reprorun.gpus import choose_gpus, gpu_numbers
from reprorun.model import EngineInfo, RunSpec
from reprorun.probe.hardware import find_hardware
from reprorun.sweeps.values import Ask, Machine


def ask_of(spec: RunSpec, engine: EngineInfo, runs_per_gpu: int = 1) -> Ask:
    """What one run asks for. Where it says nothing of processors, it is taken to need one.

    Args:
        spec: of the run.
        engine: which may give GPUs unasked.
        runs_per_gpu: how many may share one.
    """
    gpus, kind = 0, spec.gpus.kind
    if kind == "all" or (kind == "auto" and choose_gpus(spec.gpus, engine) and _gpus(engine)):
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
        ask: of a run. GPUs that it names otherwise than by number are taken to be there: the
            engine knows these names, and refuses what is none.
    """
    here = find_hardware()
    by_other_names = tuple(device for device in ask.devices if not device.isdecimal())
    return Machine(
        cpus=engine.cpus or here.cpu_count,
        memory=engine.memory or here.memory,
        gpus=by_other_names or _gpus(engine),
    )


def _gpus(engine: EngineInfo) -> tuple[str, ...]:
    """The GPUs of the engine's machine by number, as `--gpus device=` takes them."""
    here = tuple(str(number) for number in range(len(find_hardware().gpus)))
    return gpu_numbers(engine) or here
