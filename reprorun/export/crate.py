"""A record as the entities of a Process Run Crate: plain values, before the crate is made.

https://w3id.org/ro/wfrun/process/0.5
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator
from mimetypes import MimeTypes
from typing import Any
from urllib.parse import quote

from reprorun.export import values
from reprorun.export.values import KeptFile
from reprorun.model import BaseImage, InputFile, Package, Record, Value

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
TERMS = "https://w3id.org/ro/terms/workflow-run/context"
RO_CRATE_VERSION = "1.1"  # which that profile extends
_DOCKER_IMAGE = "https://w3id.org/ro/terms/workflow-run#DockerImage"
_BYTES = "application/octet-stream"
_LICENSE = "Not stated in the record; ask whoever made the run."

Json = dict[str, Any]


class CrateContent(Value, frozen=True, kw_only=True):
    """What a crate says. Entities have `@id` and `@type`; all else are their properties."""

    root: Json
    data: tuple[Json, ...]  # the files that it holds
    context: tuple[Json, ...]  # all other entities


def describe_run(
    record: Record, outputs: tuple[KeptFile, ...], others: tuple[KeptFile, ...]
) -> CrateContent:
    """What a crate says of a run.

    Args:
        record: of a run that has ended.
        outputs: what the run left.
        others: the other files of the record.

    Raises:
        RecordError: the record says something that can't be.
    """
    entities = (_launcher(record), *_software(record), *_values(record), *_image(record))
    action = _action(record, outputs, others)
    return CrateContent(
        root=values.plain(_root(record, action)),
        data=tuple(_file(file) for file in (*others, *outputs)),
        context=tuple(values.plain(each) for each in (_profile(), action, *entities)),
    )


def _root(record: Record, action: Json) -> Json:
    based = {"isBasedOn": values.record_uri(record.rerun_of)} if record.rerun_of else {}
    return {
        "name": f"Run of {_command(record)}",
        "description": (
            f"The run {record.id} with all that is needed to run it again; "
            "made with reprorun, which takes this crate as a record"
        ),
        "identifier": values.record_uri(record.id),
        "datePublished": _time(record.ended or record.created),
        "license": _LICENSE,
        "conformsTo": {"@id": PROFILE},
        "mentions": [{"@id": action["@id"]}, *_references(_tools(record))],
        **based,
    }


def _profile() -> Json:
    return {
        "@id": PROFILE,
        "@type": "CreativeWork",
        "name": "Process Run Crate",
        "version": PROFILE.rpartition("/")[2],
    }


# ---------------------------------------------------------------- the run


def _action(record: Record, outputs: tuple[KeptFile, ...], others: tuple[KeptFile, ...]) -> Json:
    given = [_file_id(file.path) for file in others if file.given]
    given += [each["@id"] for each in (*_inputs(record), *_parameters(record))]
    failed = record.status != "finished" or record.exit_code != 0
    action: Json = {
        "@id": f"#run-{quote(values.text(record.id), safe='')}",
        "@type": "CreateAction",
        "name": f"Run of {_command(record)}",
        "description": _description(record),
        "instrument": {"@id": "#launcher"},
        "object": [{"@id": each} for each in given],
        "result": [{"@id": _file_id(output.path)} for output in outputs],
        "actionStatus": f"http://schema.org/{'Failed' if failed else 'Completed'}ActionStatus",
    }
    if failed:
        action["error"] = record.reason or f"exit code {record.exit_code}"
    for name, time in (("startTime", record.started), ("endTime", record.ended)):
        if time is not None:
            action[name] = _time(time)
    if record.environment:
        action["environment"] = _references(_variables(record))
    if record.base_image:
        action["containerImage"] = {"@id": "#base-image"}
    return {key: _single(value) for key, value in action.items() if value != []}


def _description(record: Record) -> str:
    engine = f"{record.engine.name} {record.engine.version}" if record.engine else ""
    where = f"in a container of {engine}" if record.isolated and engine else "on the host"
    return f"{_command(record)} in the directory {record.cwd} of the repository, {where}"


def _command(record: Record) -> str:
    return shlex.join(record.argv)


def _time(time: str) -> str:
    return values.moment(time, digits="milliseconds", zone="+00:00")


# ---------------------------------------------------------------- what ran


def _launcher(record: Record) -> Json:
    version = {"version": record.githash} if record.githash else {}
    archived = {"isPartOf": {"@id": "launch_archive.tar.xz"}} if record.archive else {}
    needed = _references(_requirements(record))
    return {
        "@id": "#launcher",
        "@type": "SoftwareApplication",
        "name": record.launcher or _command(record),
        **version,
        **archived,
        **({"softwareRequirements": _single(needed)} if needed else {}),
    }


def _software(record: Record) -> Iterator[Json]:
    yield from _requirements(record)
    yield from _tools(record)


def _requirements(record: Record) -> Iterator[Json]:
    """What the launcher needs: Python and the packages."""
    if record.base_image and record.base_image.python:
        python = record.base_image.python
        yield _application("#python", "Python", python, url="https://www.python.org/")
    for package in record.packages:
        yield _package(package)


def _package(package: Package) -> Json:
    digest = values.sha256(package.wheel.sha256, f"the package {package.name!r}")
    entity = _application(values.package_uri(package), package.name, package.version)
    return {**entity, "identifier": f"sha256:{digest}", "alternateName": package.wheel.name}


def _tools(record: Record) -> Iterator[Json]:
    """What carried the run out; the profile has no better place for it than the crate's root."""
    yield _application("#reprorun", "reprorun", record.reprorun.version)
    if record.engine:
        yield _application("#engine", record.engine.name, record.engine.version)


def _application(identity: str, name: str, version: str, **more: str) -> Json:
    known = {"softwareVersion": version} if version else {}
    return {"@id": identity, "@type": "SoftwareApplication", "name": name, **known, **more}


# ---------------------------------------------------------------- what it was given


def _values(record: Record) -> Iterator[Json]:
    yield from _inputs(record)
    yield from _parameters(record)
    yield from _variables(record)


def _inputs(record: Record) -> Iterator[Json]:
    for number, entry in enumerate(record.inputs, 1):
        yield _input(f"#input-{number}", entry)


def _input(identity: str, entry: InputFile) -> Json:
    """Data that the crate does not hold, by its digest."""
    digest = values.sha256(entry.sha256, f"the input {entry.target!r}")
    kind = "of its bytes" if entry.files == 1 else f"of the listing of its {entry.files} files"
    return {
        "@id": identity,
        "@type": "CreativeWork",
        "name": entry.target,
        "description": f"Read-only input, not part of the crate; its sha256 is that {kind}",
        "contentSize": str(entry.size),
        "sha256": digest,
    }


def _parameters(record: Record) -> Iterator[Json]:
    for name, value in record.params.items():
        yield _property("param", name, value)


def _variables(record: Record) -> Iterator[Json]:
    for name, value in record.environment.items():
        yield _property("env", name, value)


def _property(kind: str, name: str, value: Any) -> Json:
    scalar = isinstance(value, str | bool | int | float)
    return {
        "@id": f"#{kind}-{quote(values.text(name), safe='')}",
        "@type": "PropertyValue",
        "name": name,
        "value": value if scalar else json.dumps(values.plain(value)),
    }


# ---------------------------------------------------------------- the image


def _image(record: Record) -> Iterator[Json]:
    if record.base_image:
        yield _container_image(record.base_image)


def _container_image(image: BaseImage) -> Json:
    """The base image; the run's own was made from it and is on no registry."""
    registry, name, tag = _parts_of(image.ref)
    known = (image.repo_digest or "").partition("@sha256:")[2]
    entity: Json = {
        "@id": "#base-image",
        "@type": "ContainerImage",
        "additionalType": {"@id": _DOCKER_IMAGE},
        "name": name,
        "identifier": image.digest,
        "description": "The base image; packages and code were added to it, see Dockerfile",
    }
    if known:
        entity["sha256"] = values.sha256(known, "its base image")
    if tag:
        entity["tag"] = tag
    if registry or known:  # an image that was only ever here is of no registry
        entity["registry"] = registry or "docker.io"
    return entity


def _parts_of(ref: str) -> tuple[str, str, str]:
    """Registry, name and tag of an image's reference; "" where it has none."""
    whole = ref.partition("@")[0]
    first, slash, rest = whole.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    registry, whole = (first, rest) if named else ("", whole)
    name, colon, tag = whole.rpartition(":")
    return (registry, name, tag) if colon else (registry, whole, "")


# ---------------------------------------------------------------- files


def _file(file: KeptFile) -> Json:
    entity: Json = {
        "@id": _file_id(file.path),
        "@type": "File",
        "name": values.text(os.path.basename(file.path)),
        "contentSize": str(file.size),
        "sha256": file.sha256,
        "encodingFormat": _media_type(file.path),
    }
    return {**entity, "description": file.what} if file.what else entity


def _media_type(path: str) -> str:
    """By the name alone, and the same on every machine."""
    found, packed = MimeTypes().guess_type(f"file:{quote(os.fsencode(os.path.basename(path)))}")
    if packed:
        return {"gzip": "application/gzip", "xz": "application/x-xz"}.get(packed, _BYTES)
    return found or ("text/plain" if path.endswith((".log", ".lock")) else _BYTES)


def _file_id(path: str) -> str:
    """A relative URI. Names that are not UTF-8 keep their bytes."""
    return quote(os.fsencode(path))


def _references(entities: Iterable[Json]) -> list[Json]:
    return [{"@id": entity["@id"]} for entity in entities]


def _single(value: Any) -> Any:
    """A list of one as that one, which is how crates have it."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
