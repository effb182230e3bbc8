"""The base image: found or pulled, and asked once which interpreter it has."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing

import msgspec

from reprorun import files
from reprorun.engine import Engine
from reprorun.errors import EngineError, EngineUnavailable, UsageError
from reprorun.held import Hold, holding
from reprorun.model import (
    RUN_LABEL,
    BaseImage,
    ContainerSpec,
    GpuRequest,
    Image,
    Requirements,
    RunSpec,
)
from reprorun.notes import read_note, write_note
from reprorun.workflow.platforms import (
    cannot_run,
    check_platform,
    image_of_platform,
    is_foreign,
)
from reprorun.workflow.python import PYTHON_PLACE, check_python, wanted_python
from reprorun.workflow.report import Reporter

# Runs in the image, on whatever Python it has: old syntax, standard library only.
PROBE = """
import json, os, platform, sys
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or "musl"
except (ValueError, OSError):
    libc = "musl"
print(json.dumps({
    "python": platform.python_version(),
    "executable": os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable),
    "machine": platform.machine(),
    "libc": libc,
    "path": os.environ.get("PATH", ""),
}))
"""
DEFAULT = f"python:{PYTHON_PLACE}-slim"
_SHELL = 'exec "$(command -v python3 || command -v python)" -I -c "$0"'


def base_reference(spec: RunSpec, requirements: Requirements) -> str:
    """The base image that a spec means: the one it names, else Python's own of that version.

    `{python}` in a name stands for the version that is wanted.
    """
    named = spec.base_image or DEFAULT
    if PYTHON_PLACE not in named:
        return named
    return named.replace(PYTHON_PLACE, wanted_python(spec, requirements))


def find_base(
    spec: RunSpec, requirements: Requirements, engine: Engine, report: Reporter
) -> BaseImage:
    """Find the base image, pull it when the engine has none, and look at its Python.

    Raises:
        ImageMissing: it is neither there nor to be had.
        UsageError: its Python or its platform is not the one that was asked for, or it has none.
    """
    ref = base_reference(spec, requirements)
    image = engine.image(ref)
    image = image_of_platform(ref, image, spec, engine, report)
    base = describe_base(ref, image, engine)
    check_platform(base, spec, engine.info(), report)
    note = check_python(base, spec, requirements)
    if note:
        report.note(note)
    return base


def describe_base(ref: str, image: Image, engine: Engine) -> BaseImage:
    """An image and the Python in it, which it is asked for once.

    One for other processors is asked each time: the emulation may be gone.

    Raises:
        UsageError: it has none, or can't be run on the engine's machine.
    """
    known = None if is_foreign(image, engine.info()) else _known(ref, image)
    return known or _asked(ref, image, engine)


def recall_base(spec: RunSpec, requirements: Requirements, engine: Engine) -> BaseImage | None:
    """The base image as far as it is known without starting anything; for a dry run."""
    ref = base_reference(spec, requirements)
    image = engine.image(ref)
    return None if image is None else _known(ref, image)


def _known(ref: str, image: Image) -> BaseImage | None:
    try:
        return _described(ref, image, json.loads(read_note(_cache_file(image)) or b""))
    except (ValueError, KeyError, TypeError):  # there is none, or one that another version wrote
        return None


def _asked(ref: str, image: Image, engine: Engine) -> BaseImage:
    found = _ask(ref, image, engine)
    try:
        base = _described(ref, image, found)
    except KeyError as error:
        raise UsageError(f"the Python of the base image {ref} does not say its {error}.") from error
    write_note(_cache_file(image), json.dumps(found).encode())
    return base


def _cache_file(image: Image) -> str:
    return os.path.join(files.cache_directory("bases"), f"{image.id.removeprefix('sha256:')}.json")


def _ask(ref: str, image: Image, engine: Engine) -> dict[str, str]:
    try:
        code, answer, said = ask_image(image, ("/bin/sh", "-c", _SHELL), (PROBE,), engine)
    except EngineUnavailable:
        raise
    except EngineError as error:  # some start nothing that is for another machine
        if is_foreign(image, engine.info()):
            raise cannot_run(ref, image, engine.info()) from error
        raise
    if code != 0:
        if is_foreign(image, engine.info()):
            raise cannot_run(ref, image, engine.info())
        raise UsageError(
            f"the base image {ref} has no usable Python ({said or f'exit code {code}'}). "
            "Name one that has with --base-image, such as python:3.12-slim."
        )
    try:
        return msgspec.json.decode(answer, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise UsageError(f"the Python of the base image {ref} answers oddly: {error}") from error


def ask_image(
    image: Image,
    entrypoint: tuple[str, ...],
    command: tuple[str, ...],
    engine: Engine,
    *,
    gpus: GpuRequest | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[int | None, bytes, str]:
    """Run a program of an image, without network: its exit code, its stdout, all that it said."""
    identity = os.urandom(6).hex()
    spec = ContainerSpec(
        image=image.id,
        entrypoint=entrypoint,
        command=command,
        name=f"reprorun-probe-{identity}",
        workdir="/",
        gpus=gpus,
        env=dict(env or {}),
        labels={"reprorun": "probe", RUN_LABEL: identity},
    )
    with holding(identity, engine=engine.info().address) as held:
        container = _created(spec, engine, held)
        try:
            with closing(engine.attach(container)) as pieces:
                engine.start(container)
                printed = list(pieces)
            code = engine.wait(container).exit_code
        finally:
            engine.remove(container)
            held.end()
    said = b"".join(piece for _, piece in printed).decode(errors="replace").strip()
    return code, b"".join(piece for stream, piece in printed if stream == "stdout"), said


def _created(spec: ContainerSpec, engine: Engine, held: Hold) -> str:
    try:
        return engine.create(spec)
    except EngineUnavailable:  # who knows what it was about to do
        raise
    except EngineError:
        held.end()
        raise


def image_digest(image: Image) -> str:
    """The digest of an image's layers and variables, the same on every engine."""
    return f"sha256:{files.digest_of('base 1', *image.layers, 'env', *sorted(image.env))}"


def _described(ref: str, image: Image, found: dict[str, str]) -> BaseImage:
    return BaseImage(
        ref=ref,
        id=image.id,
        digest=image_digest(image),
        repo_digest=next(iter(image.repo_digests), None),
        python=found["python"],
        executable=found["executable"],
        machine=found["machine"],
        libc=found["libc"],
        path=found["path"],
    )
