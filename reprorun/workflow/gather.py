"""Gathering what a plan is made from: code, inputs, engine, base image, lock."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence

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
    InputFile,
    Lock,
    Requirements,
    RunSpec,
    Value,
    Wanted,
)
from reprorun.plan import container_command, plan_environment
from reprorun.probe.code import find_code
from reprorun.probe.inputs import find_inputs
from reprorun.probe.requirements import find_requirements
from reprorun.workflow.base import base_reference, find_base, recall_base
from reprorun.workflow.build import layer_titles
from reprorun.workflow.platforms import refuse_build_elsewhere
from reprorun.workflow.report import Reporter
from reprorun.workflow.system import add_system_packages, build_dockerfile, read_apt
from reprorun.workflow.wheels import WheelBuilder

USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# user:password@, or a token alone, in an address; not ${VARIABLE}, which uv fills in
_PASSWORD = re.compile(r"\bhttps?://(?![^/\s@]*\$)[^/\s@]+@|://[^/\s@:]*:(?!\$)[^/\s@]+@")
_HOST_VARIABLE = re.compile(r"\$\{(\w+)\}")
Connect = Callable[[], Engine]


class Sources(Value, frozen=True, kw_only=True):
    """What the host itself can tell, without an engine."""

    code: Code
    requirements: Requirements
    inputs: tuple[InputFile, ...]
    notes: tuple[str, ...]
    archive: str | None = None  # a launch archive that is taken as it is; None: one is made
    archive_sha256: str = ""  # of that one
    foreign: bool = False  # the code came out of a record: somebody else may have written it
    given: tuple[str, ...] = ()  # variables of the host that foreign files may use all the same


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


def gather_sources(spec: RunSpec) -> Sources:
    """Look at the launcher's code, its requirements and its inputs.

    Raises:
        UsageError: something that was named is not there or can't be taken, or is not UTF-8.
    """
    code = find_code(spec.script, spec.cwd)
    requirements = find_requirements(code, _lock_path(spec))
    inputs = find_inputs(spec.inputs, spec.cwd, code)
    refuse_what_engines_change(spec, code, inputs)
    _refuse_archived_secrets(spec, code, inputs)
    return Sources(
        code=code,
        requirements=requirements,
        inputs=inputs,
        notes=tuple(_notes(spec, code, requirements)),
    )


def _lock_path(spec: RunSpec) -> str | None:
    return None if spec.lock is None else os.path.join(spec.cwd, spec.lock)


def refuse_what_engines_change(spec: RunSpec, code: Code, inputs: Sequence[InputFile]) -> None:
    """Engines speak JSON: a byte that is no UTF-8 would reach the container as another.

    Raises:
        UsageError: there is one in the command, a variable or a path.
    """
    paths = (code.workdir, *(entry.path for entry in inputs))
    for word in (*container_command(spec, code), *spec.env.values(), *paths):
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{word!r} is not UTF-8, and engines pass nothing else on unchanged. Rename it, "
                "or hand it over in a file."
            ) from error


def _refuse_archived_secrets(spec: RunSpec, code: Code, inputs: Sequence[InputFile]) -> None:
    """Raise UsageError where a secret is a file that is kept after all."""
    root, archived = os.path.realpath(code.root), set(code.files)
    for secret in spec.secrets:
        if os.path.relpath(secret.source, root) in archived:
            raise UsageError(
                f"--secret id={secret.id}: {secret.source} is in the repository, of which the "
                "record keeps every file that git does not ignore. Have git ignore it, or move it."
            )
        for entry in inputs:
            if f"{secret.source}/".startswith(f"{os.path.realpath(entry.path)}/"):
                raise UsageError(
                    f"--secret id={secret.id}: {secret.source} lies in the input {entry.path}, "
                    "which is kept by its digest and goes into packs. Move it."
                )


def _notes(spec: RunSpec, code: Code, requirements: Requirements) -> list[str]:
    notes = []
    if not code.in_git:
        notes.append(f"{code.root} is no git repository: the whole directory is archived")
    elif code.commit is None:
        notes.append("the repository has no commit yet: the archive is the only copy of the code")
    if os.path.relpath(os.path.realpath(spec.cwd), code.root).startswith(".."):
        notes.append("you are outside the repository: the run's working directory is its root")
    notes += requirements.notes
    if requirements.kind == "none" and not spec.extra_requirements:
        notes.append(
            "nothing says that packages are needed: the run has the standard library and reprorun"
        )
    return [*notes, *notes_on_left_out(code)]


def notes_on_left_out(code: Code) -> list[str]:
    """What a reader should know of what the launch archive does not hold."""
    notes = []
    links = [entry.path for entry in code.left_out if entry.reason.startswith("a link")]
    if links:
        notes.append(
            "links that lead out of the repository, and what lies there is not kept (`--input` "
            f"keeps data by its digest): {_first_few(links)}"
        )
    large = [entry for entry in code.left_out if entry.size is not None]
    if large:
        names = [f"{entry.path} ({(entry.size or 0) >> 20} MiB)" for entry in large]
        notes.append(
            "of 8 MiB or more, so not archived but mounted, and recorded by digest: "
            f"{_first_few(names)}"
        )
    return notes


def _first_few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


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
        refuse_build_elsewhere(spec, engine.info())
        built = build_dockerfile(spec, code, engine, report)
        spec = msgspec.structs.replace(spec, base_image=built)
    base = find_base(spec, requirements, engine, report)
    if spec.dockerfile:
        base = msgspec.structs.replace(base, dockerfile=spec.dockerfile)
    if requirements.system_packages is None:
        return base
    names = read_apt(code.root, requirements.system_packages)
    return add_system_packages(base, names, spec, engine, report) if names else base


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
