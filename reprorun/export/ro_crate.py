"""Writes a record as a Process Run Crate: its files and `ro-crate-metadata.json` beside them.

So the crate is a record, too: reprorun takes it wherever it takes one.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from reprorun.errors import UsageError
from reprorun.export import files
from reprorun.export.crate import RO_CRATE_VERSION, TERMS, CrateContent
from reprorun.export.values import KeptFile
from reprorun.files import replacing

METADATA = "ro-crate-metadata.json"
Contents = list[tuple[str, Callable[[], Iterator[bytes]]]]
"""Paths in a crate, each with what gives the content piece by piece."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can hold


def check_library() -> None:
    """Raise UsageError where the package that makes crates is not installed."""
    try:
        import rocrate  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "RO-Crates are made with the package rocrate, which is not installed. "
            "Try: pip install 'reprorun[export]'"
        ) from error


def crate_metadata(content: CrateContent) -> dict[str, Any]:
    """`ro-crate-metadata.json` of a crate."""
    from rocrate.model import ContextEntity, DataEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version=RO_CRATE_VERSION)
    crate.metadata.extra_contexts.append(TERMS)
    for name, value in content.root.items():
        crate.root_dataset[name] = value
    for kind, entities in ((DataEntity, content.data), (ContextEntity, content.context)):
        for entity in entities:
            properties = {name: value for name, value in entity.items() if name != "@id"}
            crate.add(kind(crate, entity["@id"], properties))
    made: dict[str, Any] = crate.metadata.generate()
    return made


def write_crate(
    log_dir: str, kept: tuple[KeptFile, ...], metadata: dict[str, Any], target: str
) -> None:
    """Write a crate; it appears when it is complete.

    Args:
        log_dir: where the files lie.
        kept: the files.
        metadata: what the crate says.
        target: a directory, or a zip file, that does not exist yet.

    Raises:
        RecordError: a file is not what it was found to be.
        UsageError: a file's name can't be in a crate.
    """
    if any(file.path == METADATA for file in kept):
        raise UsageError(f"the run left a {METADATA} of its own, which is the name of the crate's.")
    text = (json.dumps(metadata, indent=2, allow_nan=False) + "\n").encode()
    contents: Contents = [(METADATA, lambda: iter([text]))]
    contents += [(file.path, partial(files.read, log_dir, file)) for file in kept]
    if target.endswith(".zip"):
        _write_zip(contents, target)
    else:
        _write_directory(contents, target)


def _write_directory(contents: Contents, target: str) -> None:
    place, name = os.path.split(os.path.abspath(target))
    unfinished = os.path.join(place, f".reprorun-{os.urandom(8).hex()}.tmp")
    os.mkdir(unfinished)
    try:
        for path, pieces in contents:
            whole = os.path.join(unfinished, path)
            os.makedirs(os.path.dirname(whole), exist_ok=True)
            with open(whole, "xb") as file:
                file.writelines(pieces())
        os.rename(unfinished, os.path.join(place, name))
    except BaseException:
        shutil.rmtree(unfinished)
        raise


def _write_zip(contents: Contents, target: str) -> None:
    with replacing(target) as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, pieces in contents:
            _refuse_bytes(path)
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            with archive.open(entry, "w", force_zip64=True) as file:
                for piece in pieces():
                    file.write(piece)


def _refuse_bytes(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the name {path!r} is not UTF-8, and a zip file can't hold it. Export to a directory."
        ) from error
