"""The machine that an engine runs containers on, measured before there is a run."""

from __future__ import annotations

from reprorun.engine import Engine
from reprorun.model import BaseImage, EngineInfo, Hardware, Image
from reprorun.probe.hardware import hardware_of, processor_in, with_processor
from reprorun.workflow.base import ask_image

# the first processor's lines; of a shell's own, for an image may have nothing else
_FIRST = 'while read -r line && [ -n "$line" ]; do printf "%s\\n" "$line"; done </proc/cpuinfo'

_measured: dict[EngineInfo, tuple[str, str]] = {}  # by this process


def find_machine(engine: Engine, base: BaseImage | None) -> Hardware:
    """The machine that containers run on. Another than this one is looked at from a container.

    Args:
        engine: runs them.
        base: an image that it may have. Without any of ours, the processor stays unknown.

    Raises:
        EngineError: it refused.
    """
    info = engine.info()
    hardware = hardware_of(info)
    if not info.remote:
        return hardware
    if info not in _measured:
        image = _some_image(engine, base)
        if image is None:
            return hardware
        _, said, _ = ask_image(image, ("/bin/sh", "-c", _FIRST), (), engine)
        _measured[info] = processor_in(said.decode(errors="replace"))
    return with_processor(hardware, *_measured[info])


def _some_image(engine: Engine, base: BaseImage | None) -> Image | None:
    """One that the engine has: the base image, else any of ours."""
    for ref in (base.id, base.ref) if base else ():
        image = engine.image(ref) if ref else None
        if image:
            return image
    return next(iter(engine.labelled_images("reprorun")), None)
