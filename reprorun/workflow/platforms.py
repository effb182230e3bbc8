"""Platforms: the kind of processor that a base image is for, and an engine that emulates it."""

from __future__ import annotations

from reprorun.engine import Engine
from reprorun.errors import ImageMissing, UsageError
from reprorun.model import BaseImage, EngineInfo, Image, RunSpec
from reprorun.platforms import machine_of, platform_of
from reprorun.workflow.report import Reporter


def is_foreign(image: Image, info: EngineInfo) -> bool:
    """Whether an engine can run an image only by emulation, as far as both say what they are."""
    here, there = machine_of(info.machine), machine_of(image.machine)
    return bool(here and there and here != there)


def image_of_platform(
    ref: str, image: Image | None, spec: RunSpec, engine: Engine, report: Reporter
) -> Image:
    """The image of that name for the platform that is asked for; pulled where it is not there.

    Args:
        ref: its name.
        image: as the engine has it, if it has any.
        spec: which platform, and whether connections may be opened.
        engine: has the image, or gets it.
        report: told when it is pulled.

    Raises:
        ImageMissing: it is neither there nor to be had.
    """
    if image and (spec.platform is None or _is_for(image, spec.platform)):
        return image
    if spec.offline:
        raise ImageMissing(
            f"the base image {ref} {_found(image, spec)}, and --offline lets none be pulled. "
            "Name one that is there with --base-image."
        )
    wanted = f" for {spec.platform}" if spec.platform else ""
    report.step("base image", f"pulling {ref}{wanted}")
    try:
        pulled = engine.pull(ref, report.progress, platform=spec.platform)
    except ImageMissing as error:
        if image is None:
            raise
        why, _, remedy = str(error).partition("\n")
        raise ImageMissing(
            f"the base image {ref} {_found(image, spec)}: {why}\n{remedy}"
        ) from error
    if spec.platform and not _is_for(pulled, spec.platform):
        raise UsageError(
            f"the base image {ref} {_found(pulled, spec)}, and what its registry has is no other. "
            "Name one for that platform with --base-image."
        )
    return pulled


def refuse_build_elsewhere(spec: RunSpec, info: EngineInfo) -> None:
    """A Dockerfile of the project's own is built for the engine's own platform.

    Raises:
        UsageError: another one is asked for.
    """
    here = machine_of(info.machine)
    if spec.platform and here and machine_of(spec.platform) != here:
        raise UsageError(
            f"--file {spec.dockerfile} is built for the engine's own platform, {platform_of(here)},"
            f" but {spec.platform} is asked for (--platform). Build it with `docker buildx build "
            f"--platform {spec.platform} --load -t NAME .`,\nand name that with --base-image."
        )


def check_platform(base: BaseImage, spec: RunSpec, info: EngineInfo, report: Reporter) -> None:
    """A base image whose Python has been asked what it runs on.

    Raises:
        UsageError: it is for another platform than the one that is asked for.
    """
    if spec.platform and base.machine != machine_of(spec.platform):
        raise UsageError(
            f"the base image {base.ref} is for {platform_of(base.machine)}, but {spec.platform} is "
            "asked for (--platform). Name an image for that platform with --base-image."
        )
    here = machine_of(info.machine)
    if here and base.machine and base.machine != here:
        report.note(
            f"{base.ref} is for {base.machine} processors: the engine's machine, {here}, emulates "
            "them, which is slow"
        )


def cannot_run(ref: str, image: Image, info: EngineInfo) -> UsageError:
    """An image that the engine can't run, for it is another machine's."""
    wanted, name = machine_of(image.machine), image.machine or "arm64"
    return UsageError(
        f"the base image {ref} is for {wanted} processors, but the engine runs on "
        f"{machine_of(info.machine)} and has no emulation for others. Name an image for this "
        "machine with --base-image,\nor register an emulator there: `docker run --privileged --rm "
        f"tonistiigi/binfmt --install {name}` (or Debian's qemu-user-static)."
    )


def _is_for(image: Image, platform: str) -> bool:
    return not image.machine or machine_of(image.machine) == machine_of(platform)


def _found(image: Image | None, spec: RunSpec) -> str:
    if image is None:
        return "is not on the engine"
    there = platform_of(machine_of(image.machine))
    return f"is there for {there}, but {spec.platform} is asked for (--platform)"
