"""How an engine is asked for GPUs, and whether it can have them. Pure.

There are four ways, and the first that an engine is known to have is taken: devices by their CDI
names, the `nvidia` runtime, AMD's device nodes. An engine does not say whether it takes the last
one, a device request, which is what `docker run --gpus` makes: it has to be tried.
"""

from __future__ import annotations

from reprorun.errors import EngineError
from reprorun.experiment.gpus import VARIABLE
from reprorun.model import EngineInfo, GpuRequest, Gpus

RUNTIME = "nvidia"
KINDS = ("nvidia.com/gpu", "amd.com/gpu")
"""CDI's names for GPUs, without the device's own."""

KFD = "/dev/kfd"
"""Through which all of AMD's GPUs are used, each with a node of its own beside."""

REMEDY = "--force-cpu runs it without"


def choose_gpus(
    asked: Gpus, engine: EngineInfo, assigned: tuple[str, ...] = ()
) -> GpuRequest | None:
    """How the engine is asked for GPUs; None means the CPU runtime.

    Args:
        asked: `auto` takes all where the engine is known to give some, else none.
        engine: what it offers.
        assigned: the very GPUs, where a number of them is asked for.

    Raises:
        EngineError: it is known not to have what is asked for.
    """
    if asked.kind == "none":
        return None
    names = asked.devices if asked.kind == "device" else assigned
    count = asked.count if asked.kind == "count" else -1
    if any("=" in name for name in names):
        return GpuRequest(driver="cdi", devices=_known(names, engine))
    if _cdi_kind(engine):
        return GpuRequest(driver="cdi", devices=_by_cdi(names, count, engine))
    if RUNTIME in engine.runtimes:
        return GpuRequest(runtime=RUNTIME, devices=names, count=0 if names else count)
    if engine.gpu_nodes:
        return GpuRequest(nodes=_nodes(names, count, engine))
    if asked.kind == "auto":
        return None
    return GpuRequest(devices=names, count=0 if names else count)


def offers_gpus(engine: EngineInfo) -> bool:
    """Whether an engine is known to give GPUs: whether `auto` takes them."""
    return choose_gpus(Gpus(), engine) is not None


def gpu_numbers(engine: EngineInfo) -> tuple[str, ...]:
    """The GPUs that an engine says it has, by number; empty where it does not say."""
    kind = _cdi_kind(engine)
    if kind is None:
        return tuple(str(number) for number, _ in enumerate(engine.gpu_nodes[1:]))
    numbers = [name.partition("=")[2] for name in engine.cdi if name.startswith(f"{kind}=")]
    return tuple(sorted((number for number in numbers if number.isdecimal()), key=int))


def offered(engine: EngineInfo) -> str:
    """What an engine says that it offers, for people."""
    runtimes, cdi = ", ".join(engine.runtimes) or "none", ", ".join(engine.cdi) or "none"
    nodes = f"; {', '.join(node.path for node in engine.gpu_nodes)}" if engine.gpu_nodes else ""
    return f"{engine.name} {engine.version} has runtimes: {runtimes}; CDI devices: {cdi}{nodes}"


def gpu_variables(asked: Gpus, request: GpuRequest | None) -> dict[str, str]:
    """Variables of the container that go with a request."""
    if asked.kind == "none":
        return {"CUDA_VISIBLE_DEVICES": "-1"}
    if request is None:
        return {}
    expected = {VARIABLE: str(_expected(asked, request))}
    if not request.runtime:
        return expected
    names = request.devices or tuple(str(number) for number in range(max(request.count, 0)))
    return {**expected, "NVIDIA_VISIBLE_DEVICES": ",".join(names) or "all"}


def gpu_groups(request: GpuRequest | None, engine: EngineInfo) -> tuple[str, ...]:
    """Groups that the user must be in to open AMD's device nodes, which are not everybody's."""
    if request is None or not (request.nodes or any(d.startswith("amd") for d in request.devices)):
        return ()
    return tuple(sorted({str(node.group) for node in engine.gpu_nodes if node.group}))


def in_words(request: GpuRequest) -> str:
    """What is asked for, and how, such as `2 by the nvidia runtime`, or `number 2` of them."""
    which = ", ".join(request.devices or request.nodes)
    if any(device.isdecimal() for device in request.devices):
        which = f"number {which}"
    which = which or ("all" if request.count < 0 else str(request.count))
    if request.runtime:
        return f"{which} by the {request.runtime} runtime"
    if request.nodes:
        return f"{which} by device nodes"
    return f"{which} by {'CDI' if request.driver == 'cdi' else 'device request'}"


def _expected(asked: Gpus, request: GpuRequest) -> int:
    """How many the container has to see at least; of its own accord it need not see any."""
    if asked.kind == "auto":
        return 0
    names = request.devices or request.nodes[1:]
    every = any(name.rpartition("=")[2] == "all" for name in names)
    return 1 if every else len(names) or max(request.count, 1)


# ---------------------------------------------------------------- by CDI


def _cdi_kind(engine: EngineInfo) -> str | None:
    """The kind of GPUs that the engine has by CDI, NVIDIA's first."""
    found = {name.partition("=")[0] for name in engine.cdi}
    return next((kind for kind in KINDS if kind in found), None)


def _by_cdi(names: tuple[str, ...], count: int, engine: EngineInfo) -> tuple[str, ...]:
    kind = _cdi_kind(engine)
    if names:
        return _known(tuple(f"{kind}={name}" for name in names), engine)
    if count < 0 and f"{kind}=all" in engine.cdi:
        return (f"{kind}=all",)
    return tuple(f"{kind}={n}" for n in _enough(gpu_numbers(engine), count, engine))


def _known(names: tuple[str, ...], engine: EngineInfo) -> tuple[str, ...]:
    """Names of CDI devices, where the engine has them or does not say which it has."""
    if "cdi" in engine.lacks:
        raise _missing(f"{', '.join(names)}, names of CDI", engine)
    missing = [name for name in names if engine.cdi and name not in engine.cdi]
    if missing:
        raise _missing(", ".join(missing), engine)
    return names


# ---------------------------------------------------------------- by device nodes


def _nodes(names: tuple[str, ...], count: int, engine: EngineInfo) -> tuple[str, ...]:
    cards = [node.path for node in engine.gpu_nodes if node.path != KFD]
    numbers = gpu_numbers(engine)
    unknown = [name for name in names if name not in numbers]
    if unknown:
        raise _missing(f"GPU {', '.join(unknown)}", engine)
    return (KFD, *(cards[int(name)] for name in names or _enough(numbers, count, engine)))


def _enough(cards: tuple[str, ...], count: int, engine: EngineInfo) -> tuple[str, ...]:
    if count > len(cards) or not cards:
        asked = "all GPUs" if count < 0 else f"{count} GPU{'s' * (count != 1)}"
        raise _missing(asked, engine)
    return cards if count < 0 else cards[:count]


def _missing(what: str, engine: EngineInfo) -> EngineError:
    return EngineError(
        f"{what}: asked for, but the engine has none such: {offered(engine)}.\n"
        f"Ask for what it has (--gpus), or leave it to the CPU: {REMEDY}."
    )
