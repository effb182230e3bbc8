"""A record as an in-toto Statement with SLSA provenance v1.

The run is the build: its outputs are the subjects, code, packages, base image and inputs are what
they were made from. https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from reprorun.errors import UsageError
from reprorun.export import values
from reprorun.export.values import KeptFile, plain
from reprorun.model import BaseImage, InputFile, Package, Record

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:reprorun:run:1"
BUILDER = "urn:reprorun:builder:1"

Json = dict[str, Any]


def statement(record: Record, outputs: tuple[KeptFile, ...], others: tuple[KeptFile, ...]) -> Json:
    """The statement.

    Args:
        record: of a run that has ended.
        outputs: what the run left, verified.
        others: the other files of the record.

    Raises:
        RecordError: the record says something that can't be.
        UsageError: the run left nothing that could be vouched for.
    """
    if not outputs:
        raise UsageError(
            "the run left no output, and SLSA provenance is always that of some file. "
            "--format ro-crate takes such a record."
        )
    return {
        "_type": STATEMENT,
        "subject": [_file(output) for output in outputs],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": plain(_external(record)),
                "internalParameters": plain(_internal(record)),
                "resolvedDependencies": [plain(each) for each in _dependencies(record, others)],
            },
            "runDetails": _details(record, others),
        },
    }


def _file(file: KeptFile) -> Json:
    return {"name": values.text(file.path), "digest": {"sha256": file.sha256}}


# ---------------------------------------------------------------- what was asked for


def _external(record: Record) -> Json:
    """What the user chose."""
    return {
        "argv": record.argv,
        "command": record.command,
        "workingDirectory": record.cwd,
        "launcher": record.launcher,
        "parameters": record.params,
        "environment": record.environment,
        "inputs": [{"target": entry.target, "sha256": entry.sha256} for entry in record.inputs],
        **({"rerunOf": values.record_uri(record.rerun_of)} if record.rerun_of else {}),
    }


def _internal(record: Record) -> Json:
    """What the run was given beside that."""
    return {
        "limits": msgspec.to_builtins(record.limits),
        "network": record.network,
        "runtime": record.runtime,
        "isolated": record.isolated,
        "environmentDigest": record.environment_digest,
        "packagesResolved": record.packages_resolved,
        "requirements": record.requirements,
    }


# ---------------------------------------------------------------- what it was made from


def _dependencies(record: Record, others: tuple[KeptFile, ...]) -> Iterator[Json]:
    yield from (_file(file) for file in others if file.given)
    yield from _commit(record)
    if record.base_image:
        yield _base_image(record.base_image)
    yield from (_wheel(package) for package in record.packages)
    yield from (_input(entry) for entry in record.inputs)


def _commit(record: Record) -> Iterator[Json]:
    commit = values.commit_of(record.githash)
    if commit:
        yield {
            "name": "source repository",
            "digest": {"gitCommit": commit},
            "annotations": {"uncommittedChanges": record.dirty},
        }


def _base_image(image: BaseImage) -> Json:
    """By a registry's digest where it has one; an image's id means something to its engine only."""
    known = (image.repo_digest or "").partition("@sha256:")[2]
    digest = {"sha256": values.sha256(known, "its base image")} if known else {}
    return {
        "name": image.ref,
        "uri": f"urn:reprorun:image:{quote(values.text(image.digest), safe=':')}",
        **({"digest": digest} if digest else {}),
        "annotations": {"imageId": image.id, "python": image.python, "machine": image.machine},
    }


def _wheel(package: Package) -> Json:
    digest = values.sha256(package.wheel.sha256, f"the package {package.name!r}")
    return {
        "name": package.wheel.name,
        "uri": values.package_uri(package),
        "digest": {"sha256": digest},
    }


def _input(entry: InputFile) -> Json:
    """The digest of a directory is one of its listing, as the annotation says."""
    digest = values.sha256(entry.sha256, f"the input {entry.target!r}")
    return {
        "name": entry.target,
        "digest": {"sha256": digest},
        "annotations": {"files": entry.files, "size": entry.size},
    }


# ---------------------------------------------------------------- the run


def _details(record: Record, others: tuple[KeptFile, ...]) -> Json:
    versions = {"reprorun": record.reprorun.version}
    if record.engine:
        versions[record.engine.name] = record.engine.version
    return {
        "builder": {"id": BUILDER, "version": plain(versions)},
        "metadata": _metadata(record),
        "byproducts": [_byproduct(file, record) for file in others if not file.given],
    }


def _metadata(record: Record) -> Json:
    times = {"startedOn": record.started, "finishedOn": record.ended}
    known = {
        name: values.moment(time, digits="seconds", zone="Z")
        for name, time in times.items()
        if time is not None
    }
    return {"invocationId": values.record_uri(record.id), **known}


def _byproduct(file: KeptFile, record: Record) -> Json:
    described = _file(file)
    if file.path == "run.json":
        described["annotations"] = plain({"status": record.status, "exitCode": record.exit_code})
    return described
