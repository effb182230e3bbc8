"""Spec + facts -> plan: every decision about a run, made before anything is done. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Collection
from typing import Any

from reprorun.errors import UsageError
from reprorun.experiment.archive import ARCHIVE_NAME
from reprorun.experiment.guest import VARIABLE as GUEST_VARIABLE
from reprorun.files import digest_of
from reprorun.gpus import choose_gpus, gpu_groups, gpu_variables
from reprorun.model import (
    HOSTNAME,
    HOSTS_FILE,
    LOG_DIR,
    RUN_LABEL,
    SECRETS,
    STOP_SIGNAL,
    WORKSPACE,
    BaseImage,
    Code,
    ContainerSpec,
    EngineInfo,
    EnvironmentPlan,
    InputFile,
    Mount,
    Plan,
    RunSpec,
    Value,
)

ENVIRONMENT_REPOSITORY = "reprorun/environment"
RUN_REPOSITORY = "reprorun/run"
BUILD_REPOSITORY = "reprorun/build"
TAG_LENGTH = 24  # hex digits of a digest in a tag
REDACTED = "<redacted>"

# What looks secret; compiled by `re` when there is a variable to look at.
_NAMES = (
    r"(?i)secret|token|passw|passphrase|_pass|_pwd|credential|private|auth|cookie|dsn"
    r"|key_?\d*$|(^|_)(api_?)?key_|(^|_)pat$"
)
# in an address: a login, which may be a token alone; with ssh, where all have users, a password
_LOGIN = r"(?i)(?<!ssh)(?<!sftp)://[^/\s@]+@|://[^/\s@:]*:[^/\s@]+@"
_ASKED = r"[?&#;]([^?&#;=\s]{1,99})=[^?&#;\s]"  # NAME=VALUE in an address or its like
_SIGNATURE = r"(?i)(^|[-_])sig(nature)?$"
_KNOWN = (  # how keys begin that say what they are
    r"(?<![A-Za-z0-9])("
    r"gh[opsru]_|github_pat_|glpat-|xox[a-z]-|[sr]k_live_|eyJ[\w-]{8,99}\.eyJ"
    r"|(hf|npm)_(?=[A-Za-z0-9]{16})|pypi-(?=\w{16})|AIza(?=[\w-]{16})|A[KS]IA(?=[A-Z0-9]{12})"
    r"|sk-(?=[\w-]{16})(?=[\w-]{0,99}\d)"
    r")|-----BEGIN [A-Z ]{0,20}PRIVATE KEY"
)
_GITHASH = re.compile(r"[0-9a-f]{7,64}(-dirty)?")


class Facts(Value, frozen=True, kw_only=True):
    """What was found on the host and the engine."""

    code: Code
    inputs: tuple[InputFile, ...]
    engine: EngineInfo
    uid: int
    gid: int
    log_dir: str
    run_id: str
    version: str  # of reprorun


def make_plan(
    spec: RunSpec, facts: Facts, environment: EnvironmentPlan, archive_sha256: str
) -> Plan:
    """Decide everything.

    Args:
        spec: what the user asked for.
        facts: what was found.
        environment: the image that the run's is made from.
        archive_sha256: of the launch archive.

    Raises:
        UsageError: the code claims to be at a commit that git would not name so.
    """
    githash = _checked_githash(facts.code)
    made_in = made_directories(facts.code, facts.inputs)
    digest = digest_of("run 2", environment.digest, archive_sha256, githash or "", *made_in)
    tag = f"{RUN_REPOSITORY}:{digest[:TAG_LENGTH]}"
    return Plan(
        version=facts.version,
        environment=environment,
        githash=githash,
        run_digest=f"sha256:{digest}",
        run_tag=tag,
        container=_varied(spec, _container(spec, facts, tag), environment.base.machine),
    )


def plan_environment(
    version: str, base: BaseImage, digest: str, layers: tuple[str, ...]
) -> EnvironmentPlan:
    """Name the environment's image.

    Args:
        version: of reprorun.
        base: the image that it is made from.
        digest: hex digits, of all that is in it.
        layers: what each of them holds.
    """
    return EnvironmentPlan(
        version=version,
        base=base,
        layers=layers,
        digest=f"sha256:{digest}",
        tag=f"{ENVIRONMENT_REPOSITORY}:{digest[:TAG_LENGTH]}",
    )


def _container(spec: RunSpec, facts: Facts, image: str) -> ContainerSpec:
    gpus = choose_gpus(spec.gpus, facts.engine, spec.gpu_devices)
    log_mount = Mount(source=facts.log_dir, target=LOG_DIR, read_only=False)
    # over its place in there: all runs of this code share that file, and none may write it
    source, target = (posixpath.join(place, ARCHIVE_NAME) for place in (facts.log_dir, LOG_DIR))
    archive = Mount(source=source, target=target)
    inputs = tuple(Mount(source=i.path, target=i.target) for i in facts.inputs)
    secrets = tuple(Mount(source=s.source, target=f"{SECRETS}/{s.id}") for s in spec.secrets)
    return ContainerSpec(
        image=image,
        command=container_command(spec, facts.code),
        name=f"reprorun-{facts.run_id}",
        env={**gpu_variables(spec.gpus, gpus), **spec.env, GUEST_VARIABLE: _guest(spec, facts)},
        passed=spec.passed,
        mounts=(log_mount, archive, *inputs, *secrets),
        user=f"{facts.uid}:{facts.gid}",
        groups=gpu_groups(gpus, facts.engine),
        hostname="" if spec.network == "host" else HOSTNAME,
        workdir=_join(WORKSPACE, facts.code.workdir),
        network=spec.network,
        hosts=posixpath.join(facts.log_dir, HOSTS_FILE),
        limits=spec.limits,
        gpus=gpus,
        labels={"reprorun": facts.version, RUN_LABEL: facts.run_id},
        stop_signal=STOP_SIGNAL,
    )


def _varied(spec: RunSpec, container: ContainerSpec, machine: str) -> ContainerSpec:
    """With what is varied about the run, and the numerical libraries pinned where that is asked."""
    if spec.variations:
        from reprorun.vary.applying import vary

        container = vary(container, spec.variations)
    if spec.numerics == "portable":
        from reprorun.vary.applying import pin

        container = pin(container, machine, spec.env)
    return container


def container_command(spec: RunSpec, code: Code) -> tuple[str, ...]:
    """What runs in the container: the launcher as it would be started from the same directory."""
    if spec.command is not None:
        return spec.command
    return ("python", _script_inside(spec, code), *spec.args)


def _script_inside(spec: RunSpec, code: Code) -> str:
    """The script as typed where that means the same inside, else its place in the working tree."""
    as_typed = not spec.script.startswith("/") and _join(code.workdir, spec.script) == code.launcher
    if not as_typed:
        return f"{WORKSPACE}/{code.launcher}"
    return f"./{spec.script}" if spec.script.startswith("-") else spec.script


def _join(*parts: str) -> str:
    return posixpath.normpath(posixpath.join(*parts))


def _guest(spec: RunSpec, facts: Facts) -> str:
    guest: dict[str, Any] = {
        "log_dir": LOG_DIR,
        "root": WORKSPACE,
        "metadata": facts.code.metadata,
        "params": spec.params,
    }
    return json.dumps(guest)


def made_directories(code: Code, inputs: tuple[InputFile, ...]) -> tuple[str, ...]:
    """Directories that the image must have, relative to the working tree.

    The working directory, which may hold no archived file, and those in which inputs are mounted:
    an engine that finds them missing makes them for root alone.
    """
    archived = any(name.startswith(f"{code.workdir}/") for name in code.files)
    found = set() if archived or code.workdir == "." else {code.workdir, *_parents(code.workdir)}
    for entry in inputs:
        if entry.target.startswith(WORKSPACE + "/"):
            found.update(_parents(entry.target[len(WORKSPACE) + 1 :]))
    return tuple(sorted(found))


def _parents(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:n]) for n in range(1, len(parts))}


def redact(env: dict[str, str], passed: Collection[str] = ()) -> dict[str, str]:
    """The variables as a record keeps them and as they are shown.

    Args:
        env: all of them.
        passed: names whose values are not to be kept; neither are those that look secret.
    """
    return {
        name: REDACTED if name in passed or _is_secret(name, value) else value
        for name, value in env.items()
    }


def _is_secret(name: str, value: str) -> bool:
    if re.search(_NAMES, name) or re.search(_LOGIN, value) or re.search(_KNOWN, value):
        return True
    asked = re.findall(_ASKED, value)
    return any(re.search(_NAMES, each) or re.search(_SIGNATURE, each) for each in asked)


def _checked_githash(code: Code) -> str | None:
    """The githash, for a label. Raises UsageError for anything that git would not give."""
    githash = code.githash
    if githash is not None and not _GITHASH.fullmatch(githash):
        raise UsageError(f"{githash!r} is no git commit.")
    return githash
