"""Whether the engine gives the GPUs that were asked for: tried before anything is built."""

from __future__ import annotations

from reprorun.engine import Engine
from reprorun.errors import EngineError, EngineUnavailable
from reprorun.gpus import REMEDY, choose_gpus, gpu_variables, in_words, offered
from reprorun.model import BaseImage, RunSpec
from reprorun.workflow.base import ask_image


def require_gpus(spec: RunSpec, base: BaseImage, engine: Engine) -> None:
    """Have the engine start the base image with the GPUs that the run asks for by itself.

    How many of them the container then sees is measured when the run begins.

    Raises:
        EngineError: it refuses, with what it offers.
    """
    info = engine.info()
    request = choose_gpus(spec.gpus, info, spec.gpu_devices)
    if request is None or spec.gpus.kind == "auto":
        return
    image = engine.image(base.id)
    if image is None:
        return  # it was removed this moment, and the build will say so
    try:
        ask_image(
            image,
            (base.executable or "/bin/sh", "-c", ""),
            (),
            engine,
            gpus=request,
            env=gpu_variables(spec.gpus, request),
        )
    except EngineUnavailable:
        raise
    except EngineError as error:
        raise EngineError(
            f"GPUs were asked for ({in_words(request)}), and can't be had: {_first_line(error)}\n"
            f"{offered(info)}. {REMEDY}."
        ) from error


def _first_line(error: EngineError) -> str:
    return str(error).splitlines()[0][:400]
