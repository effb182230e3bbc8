"""The base image of a record, once more; its packages are in `restore_lock`.

What can't be had exactly as it was is an error that names it, unless the user allows newer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from reprorun.engine import Engine
from reprorun.errors import ImageMissing, LockFailed, RecordError, UsageError
from reprorun.model import (
    BaseImage,
    Code,
    Image,
    Record,
    RunSpec,
    Value,
)
from reprorun.plan import TAG_LENGTH
from reprorun.platforms import machine_of, platform_of
from reprorun.workflow.base import describe_base, image_digest
from reprorun.workflow.report import Reporter
from reprorun.workflow.system import (
    add_system_packages,
    build_dockerfile,
    find_dockerfile,
    installed_packages,
    system_digest,
)

BASE_REPOSITORY = "reprorun/base"
"""Where base images that came out of a pack get a name, by their digest."""

Tree = Callable[[], Code]
"""Unpacks the record's archive when that is first needed: its code, with a root on this host."""


class Wish(Value, frozen=True, kw_only=True):
    """How the environment is to be restored."""

    offline: bool = False
    rebuild: bool = False
    allow_newer: bool = False
    given: tuple[str, ...] = ()  # variables of the host that the record's files may use


def base_tag(digest: str) -> str:
    """The name of a base image that came out of a pack."""
    return f"{BASE_REPOSITORY}:{digest.removeprefix('sha256:')[:TAG_LENGTH]}"


# ---------------------------------------------------------------- the base image


def restore_base(
    record: Record, engine: Engine, report: Reporter, wish: Wish, tree: Tree
) -> BaseImage:
    """The record's base image: as the engine has it, pulled by its digest, or built once more.

    Args:
        record: says which it was.
        engine: has it, or gets it.
        report: told what happens.
        wish: whether connections may be opened, its Dockerfile built, and others taken for it.
        tree: the record's code, for the Dockerfile that it may have been built from.

    Raises:
        ImageMissing: it can't be had as it was.
        RecordError: the record names none.
    """
    base = record.base_image
    if base is None:
        raise RecordError("the record does not say which base image it had; use --base-image.")
    found = _on_engine(base, engine) or _pulled(base, engine, report, wish)
    if found is None and base.dockerfile:
        found = _built(base, engine, report, wish, tree)
    elif found is None and base.apt:
        found = _with_packages(base, engine, report, wish)
    if found is None:
        raise ImageMissing(_gone(base, wish))
    if found.digest != base.digest and not wish.allow_newer:
        raise ImageMissing(_another(base, found))
    return found


def _on_engine(base: BaseImage, engine: Engine) -> BaseImage | None:
    for ref in dict.fromkeys((base.id, base_tag(base.digest), base.repo_digest, base.ref)):
        image = engine.image(ref) if ref else None
        if image and (found := _same(base, image, engine)):
            return found
    return None


def _same(base: BaseImage, image: Image, engine: Engine) -> BaseImage | None:
    """The image as a base, where it is the one that was meant."""
    if not base.apt:
        if image_digest(image) != base.digest:
            return None
        return _as_recorded(describe_base(base.ref, image, engine), base)
    if base.below is None or image_digest(image) == base.below:
        return None  # the one that they were added to
    with suppress(UsageError, LockFailed):
        installed = installed_packages(image, engine)
        if system_digest(base.below, installed) == base.digest:
            return _as_recorded(describe_base(base.ref, image, engine), base)
    return None


def _as_recorded(found: BaseImage, base: BaseImage) -> BaseImage:
    """What this engine says of the image, and what the record says of where it came from."""
    return msgspec.structs.replace(
        found,
        digest=base.digest,
        below=base.below,
        repo_digest=base.repo_digest,
        dockerfile=base.dockerfile,
        apt=base.apt,
        installed=base.installed,
    )


def _pulled(
    base: BaseImage, engine: Engine, report: Reporter, wish: Wish, below: str | None = None
) -> BaseImage | None:
    """Pulled by its digest, else by its name if that still means the same."""
    if wish.offline or base.dockerfile or (base.apt and below is None):
        return None
    for ref in dict.fromkeys((base.repo_digest, base.ref)):
        if ref is None or engine.image(ref):  # by name another one: it is the user's, and stays
            continue
        with suppress(ImageMissing):
            report.step("base image", f"pulling {ref}")
            image = engine.pull(ref, report.progress, platform=_platform(base, engine))
            if image_digest(image) == (below or base.digest):
                return _as_recorded(describe_base(base.ref, image, engine), base)
    return None


def _platform(base: BaseImage, engine: Engine) -> str | None:
    """The record's, where the engine would take another by itself."""
    here = machine_of(engine.info().machine)
    return platform_of(base.machine) if base.machine and base.machine != here else None


def _built(
    base: BaseImage, engine: Engine, report: Reporter, wish: Wish, tree: Tree
) -> BaseImage | None:
    if not wish.rebuild:
        raise ImageMissing(_not_unasked(base))
    code = tree()
    spec = RunSpec(
        script=code.launcher, cwd=code.root, dockerfile=base.dockerfile, offline=wish.offline
    )
    place = find_dockerfile(spec, code)
    built = build_dockerfile(place, spec, code, engine, report)
    image = engine.image(built)
    if image is None:
        return None
    found = describe_base(built, image, engine)
    plain = msgspec.structs.replace(found, dockerfile=base.dockerfile)
    return add_system_packages(plain, base.apt, spec, engine, report) if base.apt else plain


def _with_packages(
    base: BaseImage, engine: Engine, report: Reporter, wish: Wish
) -> BaseImage | None:
    """The image below, with the system packages installed that there are today."""
    plain = msgspec.structs.replace(base, digest=base.below or "", apt=(), below=None, installed=())
    below = _on_engine(plain, engine) or _pulled(plain, engine, report, wish)
    if below is None:
        return None
    spec = RunSpec(script="", cwd="/", offline=wish.offline)
    return add_system_packages(below, base.apt, spec, engine, report)


def _gone(base: BaseImage, wish: Wish) -> str:
    digest = base.repo_digest or f"no registry's digest, layers {base.digest[:19]}"
    why = "is not on the engine, and --offline lets none be pulled" if wish.offline else (
        "is neither on the engine nor to be had as it was"
    )  # fmt: skip
    return (
        f"the base image {base.ref} ({digest}) {why}.\nA pack of the record holds it (`reprorun "
        f"pack`); --base-image REF takes another, such as python:{base.python_minor}-slim."
    )


def _not_unasked(base: BaseImage) -> str:
    return (
        f"the base image, built from the record's own {base.dockerfile}, is not on the engine. If "
        "you trust what that runs, with network: --rebuild (of `rerun`, `check`, `shell`) builds "
        "it.\nA pack of the record holds the image (`reprorun pack`, where it still is); "
        f"--base-image REF takes another, such as python:{base.python_minor}-slim."
    )


def _another(base: BaseImage, found: BaseImage) -> str:
    changed = sorted(set(base.installed) ^ set(found.installed))
    names = ", ".join(dict.fromkeys(entry.partition("=")[0] for entry in changed))
    what = f"its system packages have changed ({names})" if names else "it comes out otherwise"
    how = f"built from {base.dockerfile}" if base.dockerfile else f"{base.ref} with apt.txt"
    flags = "--rebuild --allow-newer" if base.dockerfile else "--allow-newer"
    return (
        f"the base image ({how}) can't be had as it was: {what}.\n"
        f"{flags} takes it as it is today and records that; a pack holds the old one."
    )
