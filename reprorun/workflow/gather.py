"""Gathering the environment of a run: base image and lock, of what its sources need."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection

import msgspec

import reprorun
from reprorun.engine import Engine
from reprorun.environment.credentials import strip_in_text
from reprorun.environment.layers import environment_digest
from reprorun.environment.lock import Request, make_lock
from reprorun.environment.uv_settings import index_addresses
from reprorun.errors import EngineError, UsageError
from reprorun.experiment.git import commit_date
from reprorun.experiment.repository import RepositoryError
from reprorun.formats.read import read
from reprorun.formats.target import Target
from reprorun.formats.without import without_package
from reprorun.model import (
    BaseImage,
    Code,
    EngineInfo,
    EnvironmentPlan,
    Lock,
    Requirements,
    RunSpec,
    Value,
    Wanted,
)
from reprorun.plan import plan_environment
from reprorun.workflow.base import base_reference, find_base, recall_base
from reprorun.workflow.build import layer_titles
from reprorun.workflow.platforms import refuse_build_elsewhere
from reprorun.workflow.report import Reporter
from reprorun.workflow.sources import Sources
from reprorun.workflow.system import (
    add_system_packages,
    build_dockerfile,
    find_dockerfile,
    read_apt,
)
from reprorun.workflow.wheels import WheelBuilder

USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# user:password@, or a token alone, in an address; not ${VARIABLE}, which uv fills in
_PASSWORD = re.compile(r"\bhttps?://(?![^/\s@]*\$)[^/\s@]+@|://[^/\s@:]*:(?!\$)[^/\s@]+@")
_HOST_VARIABLE = re.compile(r"\$\{(\w+)\}")
Connect = Callable[[], Engine]


class Environment(Value, frozen=True, kw_only=True):
    """The environment as it will be: base image and lock, and the digest of all that is in it."""

    base: BaseImage
    lock: Lock
    engine: EngineInfo
    digest: str  # hex digits
    indexes: tuple[str, ...] = ()  # addresses that the requirements name; may hold credentials
    paths: tuple[str, ...] = ()  # of the working tree, on the search path for modules

    @property
    def plan(self) -> EnvironmentPlan:
        """The environment's image."""
        titles = layer_titles(self.lock, self.base)
        return plan_environment(reprorun.__version__, self.base, self.digest, titles)


def gather_environment(
    spec: RunSpec, sources: Sources, engine: Engine, report: Reporter
) -> Environment:
    """Find or build the base image, and lock the packages for its Python.

    Raises:
        ImageMissing, BuildFailed, LockFailed: with the reason.
    """
    base = _base(spec, sources, engine, report)
    return environment_on(base, spec, sources, engine, report)


def environment_on(
    base: BaseImage, spec: RunSpec, sources: Sources, engine: Engine, report: Reporter
) -> Environment:
    """Lock the packages for a base image.

    Raises:
        LockFailed, BuildFailed: with the reason.
    """
    wanted = _wanted(sources, base)
    for name in spec.without:
        wanted = without_package(wanted, name)
    if sources.foreign:
        refuse_host_variables(wanted, sources.given)
    lock = _lock(spec, sources, wanted, base, engine, report)
    for note in lock.notes:
        report.note(note)
    environment = _environment(base, lock, engine.info(), sources)
    directory = os.path.join(sources.code.root, os.path.dirname(sources.requirements.source or ""))
    indexes = index_addresses(wanted.options, directory)
    return msgspec.structs.replace(environment, indexes=indexes)


def _base(spec: RunSpec, sources: Sources, engine: Engine, report: Reporter) -> BaseImage:
    requirements, code = sources.requirements, sources.code
    if spec.dockerfile:
        base = _built(spec, sources, engine, report)
    else:
        base = find_base(spec, requirements, engine, report)
    if requirements.system_packages is None:
        return base
    names = read_apt(code.root, requirements.system_packages)
    return add_system_packages(base, names, spec, engine, report) if names else base


def _built(spec: RunSpec, sources: Sources, engine: Engine, report: Reporter) -> BaseImage:
    """A base image of the project's own Dockerfile, which is recorded by its place in the tree."""
    refuse_build_elsewhere(spec, engine.info())
    place = find_dockerfile(spec, sources.code)
    built = build_dockerfile(place, spec, sources.code, engine, report)
    named = msgspec.structs.replace(spec, base_image=built)
    base = find_base(named, sources.requirements, engine, report)
    return msgspec.structs.replace(base, dockerfile=place)


def _wanted(sources: Sources, base: BaseImage) -> Wanted:
    target = Target(python=base.python, machine=base.machine, libc=base.libc)
    wanted = read(sources.requirements, sources.code.root, target)
    _refuse_passwords(wanted, sources.requirements)
    return wanted


def _refuse_passwords(wanted: Wanted, requirements: Requirements) -> None:
    """What a file of the repository holds is in the archive and in the image, for everybody."""
    pinned = wanted.pinned or ()
    addresses = [file.url or "" for package in pinned for file in package.files]
    addresses += [package.git.url for package in pinned if package.git]
    for text in (*wanted.options, *wanted.lines, *wanted.constraints, *addresses):
        if _PASSWORD.search(text):
            raise UsageError(
                f"{requirements.source} holds a password or token in an address "
                f"({strip_in_text(text)}), which the record and the image would keep. Write "
                "${NAME} in its place and set that variable, or use uv's variables or ~/.netrc."
            )


def refuse_host_variables(wanted: Wanted, given: Collection[str]) -> None:
    """Files of somebody else's may not have uv put this host's variables into an address.

    Args:
        wanted: what the files say.
        given: names of the variables that the user gives.

    Raises:
        UsageError: naming the variables.
    """
    texts = (*wanted.lines, *wanted.constraints, *wanted.options)
    names = {name for text in texts for name in _HOST_VARIABLE.findall(text)} - set(given)
    if names:
        words = " ".join(f"-e {name}" for name in sorted(names))
        raise UsageError(
            f"the record's files ask for variables of this host ({', '.join(sorted(names))}), to "
            f"send them to an address that they name. If that is meant: {words}."
        )


def _lock(
    spec: RunSpec,
    sources: Sources,
    wanted: Wanted,
    base: BaseImage,
    engine: Engine,
    report: Reporter,
) -> Lock:
    code, requirements = sources.code, sources.requirements
    if requirements.kind != "none" or spec.extra_requirements:
        report.step("packages", requirements.source or ", ".join(_said(spec, requirements)))
    projects = [name for name in code.files if os.path.basename(name) == "pyproject.toml"]
    as_of = as_of_date(spec, code)
    request = Request(
        wanted=wanted,
        root=code.root,
        base=base,
        source=requirements.source,
        extra=spec.extra_requirements,
        projects=tuple(projects) if wanted.project else (),
        own_lock=requirements.kind == "lock",
        as_of=as_of,
        offline=spec.offline,
        foreign=sources.foreign,
    )
    build = WheelBuilder(
        base, engine, report, as_of=as_of, offline=spec.offline, fresh=spec.rebuild
    )
    return make_lock(request, build, fresh=spec.rebuild)


def _said(spec: RunSpec, requirements: Requirements) -> tuple[str, ...]:
    return (*requirements.lines, *spec.extra_requirements)


def recall_environment(spec: RunSpec, sources: Sources, connect: Connect) -> Environment:
    """The environment as far as it is known without starting anything; for a dry run."""
    ref = base_reference(spec, sources.requirements)
    unknown = BaseImage(ref=ref, id="unknown", digest="unknown", path=USUAL_PATH)
    try:
        engine = connect()
        base, info = recall_base(spec, sources.requirements, engine) or unknown, engine.info()
    except EngineError:
        base, info = unknown, EngineInfo(name="unknown", version="", api_version="")
    return _environment(base, Lock(), info, sources)


def _environment(base: BaseImage, lock: Lock, info: EngineInfo, sources: Sources) -> Environment:
    paths = tuple(dict.fromkeys((*sources.requirements.paths, *lock.paths)))
    digest = environment_digest(base, lock, paths)
    return Environment(base=base, lock=lock, engine=info, digest=digest, paths=paths)


def as_of_date(spec: RunSpec, code: Code) -> str | None:
    """The day whose packages are meant, as an ISO date.

    Raises:
        UsageError: `commit` was asked for where there is none.
    """
    if spec.as_of != "commit":
        return spec.as_of
    if code.commit is None:
        raise UsageError("--as-of commit: there is no commit. Name a date, such as 2024-03-31.")
    try:
        return commit_date(code.root, code.commit)
    except RepositoryError as error:
        raise UsageError(str(error)) from error
