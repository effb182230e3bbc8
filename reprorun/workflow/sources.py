"""What a run is made from, as the host alone can tell: code, requirements, inputs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from reprorun.errors import UsageError
from reprorun.model import Code, InputFile, Requirements, RunSpec, Value
from reprorun.plan import container_command
from reprorun.probe.code import find_code
from reprorun.probe.inputs import find_inputs
from reprorun.probe.requirements import find_requirements


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
