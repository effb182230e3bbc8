"""The environment of a re-run: as it was, with one thing changed, or as of the record's day."""

from __future__ import annotations

import os

import msgspec

from reprorun.engine import Engine
from reprorun.environment.fetch import cached
from reprorun.environment.layers import environment_digest
from reprorun.errors import BuildFailed, ImageMissing, LockFailed, UsageError
from reprorun.model import DIGEST_LABEL, BaseImage, Lock, Record, Requirements, RunSpec
from reprorun.probe.requirements import find_requirements
from reprorun.workflow.base import find_base
from reprorun.workflow.code_again import CodeAgain
from reprorun.workflow.gather import Environment, environment_on, gather_environment
from reprorun.workflow.platforms import check_platform
from reprorun.workflow.python import PYTHON_PLACE, pythons_of_day
from reprorun.workflow.report import Reporter
from reprorun.workflow.restore import Wish, restore_base
from reprorun.workflow.restore_lock import recorded_lock, restore_lock
from reprorun.workflow.sources import Sources
from reprorun.workflow.system import add_system_packages


def recorded_requirements(record: Record) -> Requirements:
    """What decided on the packages of a record, as far as it says so."""
    return Requirements(
        kind="lock" if record.packages else "none",
        source=record.requirements,
        paths=record.import_paths,
        python_source=record.python_source,
    )


def requirements_again(spec: RunSpec, again: CodeAgain) -> Requirements:
    """What the code's own files say, or the lock that is named now."""
    lock = os.path.join(spec.cwd, spec.lock) if spec.lock else None
    return find_requirements(again.tree(), lock, installed=False, without=spec.without)


def environment_again(
    record: Record,
    spec: RunSpec,
    sources: Sources,
    again: CodeAgain,
    wish: Wish,
    engine: Engine,
    report: Reporter,
) -> Environment:
    """The environment of a record of ours, with what `spec` changes.

    Args:
        record: the original.
        spec: names a base image, a Python, a lock or a day where that is to be another.
        sources: with the requirements of the record, or those of its code where they are resolved.
        again: the code.
        wish: whether connections may be opened, and newer versions taken.
        engine: has the base image, or gets it.
        report: told what happens.

    Raises:
        ImageMissing, LockFailed: naming what can't be had.
    """
    _refuse_another_python(record, spec)
    base = _base(record, spec, again, wish, engine, report)
    _refuse_pickles_elsewhere(record, base)
    if spec.lock or spec.as_of:
        here = msgspec.structs.replace(sources, code=again.tree())
        return environment_on(base, spec, here, engine, report)
    if not wish.rebuild and (made := _made(record, base, engine)):
        return made
    lock = restore_lock(record, base, engine, report, wish, again.tree)
    return environment_of(base, lock, record.import_paths, engine)


def _made(record: Record, base: BaseImage, engine: Engine) -> Environment | None:
    """The environment as it was, where an image of it takes the place of wheels that are not here.

    So the nodes of a cluster need no index: the image is brought to them.
    """
    if all(cached(package.wheel) for package in record.packages):
        return None
    environment = environment_of(base, recorded_lock(record), record.import_paths, engine)
    plan = environment.plan
    image = engine.image(plan.tag)
    return environment if image and image.labels.get(DIGEST_LABEL) == plan.digest else None


def environment_of(
    base: BaseImage, lock: Lock, paths: tuple[str, ...], engine: Engine
) -> Environment:
    """An environment of which everything is known."""
    digest = environment_digest(base, lock, paths)
    return Environment(base=base, lock=lock, engine=engine.info(), digest=digest, paths=paths)


def _base(
    record: Record,
    spec: RunSpec,
    again: CodeAgain,
    wish: Wish,
    engine: Engine,
    report: Reporter,
) -> BaseImage:
    if not (spec.base_image or spec.python):
        base = restore_base(record, engine, report, wish, again.tree)
        check_platform(base, spec, engine.info(), report)
        return base
    base = find_base(spec, Requirements(), engine, report)
    apt = record.base_image.apt if record.base_image else ()
    return add_system_packages(base, apt, spec, engine, report) if apt else base


def _refuse_another_python(record: Record, spec: RunSpec) -> None:
    """A Dockerfile of the project's own decides on its Python itself."""
    if spec.python and not spec.base_image and record.base_image and record.base_image.dockerfile:
        raise UsageError(
            f"the base image was built from {record.base_image.dockerfile}, which decides on its "
            "Python. Name another with --base-image."
        )


def _refuse_pickles_elsewhere(record: Record, base: BaseImage) -> None:
    """What run_experiment pickled can be unpickled by the same Python only."""
    was = record.base_image.python_minor if record.base_image else base.python_minor
    if record.command[0] != "python" and base.python_minor != was:
        raise UsageError(
            f"the function was pickled by Python {was}, but {base.ref} has {base.python}, and "
            "pickled functions don't move between versions. Leave --python and --base-image."
        )


# ---------------------------------------------------------------- as of a day


def environment_of_day(
    spec: RunSpec, sources: Sources, engine: Engine, report: Reporter
) -> Environment:
    """The packages of a day, on the newest Python of that day for which they can be had.

    Args:
        spec: with `as_of`. A Python or a base image that it names is taken.
        sources: the code, with its root on this host.
        engine: has the base images, or gets them.
        report: told what was tried.

    Raises:
        ImageMissing, LockFailed: naming what was tried.
    """
    if python_is_given(spec, sources.requirements):
        return gather_environment(spec, sources, engine, report)
    failures: list[tuple[str, ImageMissing | LockFailed | BuildFailed]] = []
    for version in pythons_of_day(spec.as_of or "", sources.requirements):
        attempt = msgspec.structs.replace(spec, python=version)
        try:
            return gather_environment(attempt, sources, engine, report)
        except (ImageMissing, LockFailed, BuildFailed) as error:
            report.note(f"not with Python {version}: {_first_line(error)}")
            failures.append((version, error))
    raise _none_will_do(spec, failures)


def python_is_given(spec: RunSpec, requirements: Requirements) -> bool:
    """Whether the Python is settled, by the user or by a file, not by what can be had."""
    named = spec.base_image and PYTHON_PLACE not in spec.base_image
    return bool(named or spec.python or requirements.python or spec.dockerfile)


def _none_will_do(
    spec: RunSpec, failures: list[tuple[str, ImageMissing | LockFailed | BuildFailed]]
) -> ImageMissing | LockFailed:
    if not failures:
        return ImageMissing(
            f"no Python that reprorun knows was out on {spec.as_of} and is allowed by the code's "
            "files. Name a --python, or another day with --as-of."
        )
    lines = "\n".join(f"  Python {version}: {_first_line(error)}" for version, error in failures)
    if all(isinstance(error, ImageMissing) for _, error in failures):
        return ImageMissing(
            f"no base image with a Python of {spec.as_of} or before can be had:\n{lines}\n"
            "Name one with --base-image; in the name {python} stands for the version."
        )
    return LockFailed(
        f"no Python of {spec.as_of} or before has the packages that are needed:\n{lines}\n"
        "Name a --python, another day with --as-of, or a lock with --lock."
    )


def _first_line(error: Exception) -> str:
    """What went wrong without what to try, which is another thing here."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    shown = lines[:1] if isinstance(error, ImageMissing) else lines
    return " ".join(shown)[:300]
