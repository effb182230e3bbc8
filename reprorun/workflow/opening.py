"""Opening a record: its directory is claimed, its first state written, the code archived."""

from __future__ import annotations

import hashlib
import os
import shutil

from msgspec.structs import replace

import reprorun
from reprorun import files, store
from reprorun.errors import EngineError, RecordError, UsageError
from reprorun.experiment import archive_cache, dump_json
from reprorun.experiment.archive import write_archive
from reprorun.experiment.repository import LeftOut as TreeLeftOut
from reprorun.experiment.repository import RepositoryError, Tree
from reprorun.gpus import choose_gpus
from reprorun.held import hold_log_dir
from reprorun.known import remember_record
from reprorun.model import Archive, Code, EngineUsed, Output, Package, Record, RunSpec, SchemaMark
from reprorun.plan import container_command, redact
from reprorun.workflow.gather import Environment
from reprorun.workflow.keeper import Keeper, explain, utc_now
from reprorun.workflow.python import python_source
from reprorun.workflow.sources import Sources

PREFIX = "experiment"  # garage's default: data/local/experiment/NAME
LONGEST_NAME = 200  # bytes, which leaves room for a number within a file system's 255


def describe_code(code: Code) -> str:
    """The repository in a few words."""
    name, number = os.path.basename(code.root), len(code.files)
    count = f"{number} file{'s' * (number != 1)}"
    if code.commit is None:
        return f"{name}, {count}"
    dirty = " with uncommitted changes" if code.dirty else ""
    return f"{name} at {code.commit[:12]}{dirty}, {count}"


def log_directory(spec: RunSpec, prefix: str = PREFIX) -> str:
    """Where the record goes, before a number is put behind it.

    Args:
        spec: names it, or not.
        prefix: where it goes by default, below data/local.

    Raises:
        UsageError: the name can't be a directory's.
    """
    if spec.log_dir:
        return os.path.join(spec.cwd, spec.log_dir)
    return os.path.join(spec.cwd, "data", "local", prefix, _name(spec))


def _name(spec: RunSpec) -> str:
    if spec.name is None:
        stem = os.path.splitext(os.path.basename(spec.script))[0]
        return os.fsencode(stem)[:LONGEST_NAME].decode(errors="ignore")
    too_long = len(os.fsencode(spec.name)) > LONGEST_NAME
    if too_long or spec.name in ("", ".", "..") or "/" in spec.name or "\0" in spec.name:
        raise UsageError(
            f"--name {spec.name!r} can't be the name of a directory: it must not be empty, hold a "
            f"slash or be longer than {LONGEST_NAME} bytes."
        )
    return spec.name


def open_record(spec: RunSpec, metadata: dict[str, str], record: Record) -> Keeper:
    """Claim the log directory and begin the record.

    Args:
        spec: says where, and what files the command is given.
        metadata: garage's two keys.
        record: in its first state.

    Raises:
        UsageError: the directory can't be made, or holds something.
        EngineError: its disk is full.
    """
    path = log_directory(spec)
    claim = store.use_log_dir if spec.log_dir else store.claim_log_dir
    held = hold_log_dir(record.id, path, lambda: claim(path))
    log_dir = held.mark.log_dir or path
    try:
        # first of all: it marks the directory as a log directory, which no other run archives
        dump_json(os.path.join(log_dir, store.METADATA_FILE), metadata)
        for name, data in spec.payloads.items():
            files.write(os.path.join(log_dir, name), data)
        keeper = Keeper(os.path.realpath(log_dir), record, held)
        remember_record(keeper.record.id, keeper.log_dir)
        keeper.begin()
        return keeper
    except OSError as error:
        held.let_go()
        raise EngineError(explain(error, log_dir)) from error


def first_record(spec: RunSpec, sources: Sources, environment: Environment) -> Record:
    """The record of a run that is about to begin."""
    code, engine = sources.code, environment.engine
    gpus = choose_gpus(spec.gpus, engine, spec.gpu_devices)
    return Record(
        reprorun=SchemaMark(version=reprorun.__version__),
        id=os.urandom(8).hex(),
        status="created",
        created=utc_now(),
        argv=(spec.script, *spec.args),
        cwd=code.workdir,
        command=container_command(spec, code),
        params=spec.params,
        environment=redact(spec.env, spec.passed),
        secrets=tuple(secret.id for secret in spec.secrets),
        githash=code.githash,
        dirty=code.dirty,
        launcher=code.metadata["launcher"],
        left_out=code.left_out,
        submodules=code.submodules,
        inputs=sources.inputs,
        payloads=tuple(
            Output(path=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
            for name, data in spec.payloads.items()
        ),
        requirements=sources.requirements.source,
        packages=tuple(_recorded(package) for package in environment.lock.packages),
        import_paths=environment.paths,
        packages_resolved=environment.lock.resolved or None,
        python_source=python_source(spec, sources.requirements),
        environment_digest=f"sha256:{environment.digest}" if environment.digest else "",
        base_image=environment.base,
        engine=EngineUsed(
            name=engine.name,
            version=engine.version,
            api_version=engine.api_version,
            remote=engine.remote,
        ),
        runtime="gpu" if gpus else "cpu",
        gpus=gpus,
        asked_gpus=spec.gpus,
        limits=spec.limits,
        network=spec.network,
        platform=spec.platform,
        numerics=spec.numerics,
        variations=spec.variations,
        notes=(*sources.notes, *environment.lock.notes),
    )


def _recorded(package: Package) -> Package:
    """Without the address that it came from: that is the user's, and may hold a secret."""
    return replace(package, wheel=replace(package.wheel, url=None))


def archive_code(sources: Sources, path: str) -> Archive:
    """Write the launch archive: made of the code, or the one that is there.

    Args:
        sources: the code.
        path: of the file to write.

    Raises:
        UsageError: there is nothing to archive, or a file can't be read.
    """
    if sources.archive:
        digest = sources.archive_sha256
        if not archive_cache.place(sources.archive, digest, path):
            _copy_archive(sources.archive, digest, path)
    else:
        digest = _write_archive(sources.code, path)
    count = len(sources.code.files)
    return Archive(sha256=digest, size=os.path.getsize(path), files=count)


def _copy_archive(archive: str, digest: str, path: str) -> None:
    shutil.copyfile(archive, path)
    if files.sha256_of(path) != digest:
        raise RecordError(f"{archive} was changed while it was read. Try again.")


def _write_archive(code: Code, path: str) -> str:
    left_out = tuple(
        TreeLeftOut(path=e.path, size=e.size, sha256=e.sha256, reason=e.reason)
        for e in code.left_out
    )
    try:
        digest = write_archive(code.root, Tree(code.files, left_out, code.state), path)
    except RepositoryError as error:
        raise UsageError(str(error)) from error
    return digest.removeprefix("sha256:")
