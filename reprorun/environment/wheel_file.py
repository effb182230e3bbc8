"""A wheel as a file: what it says about itself, and what its members hold. Nothing is unpacked."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING, NamedTuple

from reprorun.environment.tar import DAMAGE
from reprorun.errors import LockFailed

if TYPE_CHECKING:
    from email.message import Message

_LARGEST_TEXT = 64 << 20  # bytes of metadata, or of a script that is rewritten: held in memory


class WheelMetadata(NamedTuple):
    """What a wheel says about itself."""

    name: str
    version: str
    requires: tuple[str, ...]  # PEP 508
    extras: tuple[str, ...]
    requires_python: str | None


def read_metadata(path: str) -> WheelMetadata:
    """What a wheel says about itself.

    Raises:
        LockFailed: it is no wheel.
    """
    with opened(path) as archive:
        info = dist_info(archive, path)
        text = text_of(archive, f"{info}/METADATA", path)
    found = headers_of(text)
    if not found["Name"] or not found["Version"]:
        raise LockFailed(f"{os.path.basename(path)} does not say its name and version.")
    return WheelMetadata(
        name=found["Name"],
        version=found["Version"],
        requires=tuple(found.get_all("Requires-Dist", ())),
        extras=tuple(found.get_all("Provides-Extra", ())),
        requires_python=found["Requires-Python"],
    )


def opened(path: str) -> zipfile.ZipFile:
    """Open a wheel.

    Raises:
        LockFailed: it is no zip file, or a damaged one.
    """
    try:
        return zipfile.ZipFile(path)
    except DAMAGE as error:
        raise LockFailed(f"{os.path.basename(path)} is no wheel: {error}.") from error


def dist_info(archive: zipfile.ZipFile, path: str) -> str:
    """The name of the one `NAME-VERSION.dist-info` directory.

    Raises:
        LockFailed: there is none, or several.
    """
    tops = {name.split("/", 1)[0] for name in archive.namelist() if "/" in name}
    found = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(found) != 1:
        what = "no .dist-info directory" if not found else f"several of them: {', '.join(found)}"
        raise LockFailed(f"{os.path.basename(path)} is no wheel: it has {what}.")
    return found[0]


def text_of(archive: zipfile.ZipFile, name: str, path: str) -> str:
    """The text of a file that every wheel has.

    Raises:
        LockFailed: this one has not.
    """
    if name not in archive.NameToInfo:
        raise LockFailed(f"{os.path.basename(path)} is no wheel: it has no {name}.")
    return content_of(archive, name, path).decode("utf-8", "replace")


def headers_of(text: str) -> Message:
    """The fields of METADATA or WHEEL."""
    from email.parser import HeaderParser  # a run whose environment is there needs none of it

    return HeaderParser().parsestr(text)


def content_of(archive: zipfile.ZipFile, name: str, path: str) -> bytes:
    """What a member holds.

    Raises:
        LockFailed: it is damaged, or too large to be held in memory.
    """
    try:
        if archive.getinfo(name).file_size > _LARGEST_TEXT:
            raise LockFailed(
                f"{os.path.basename(path)}: {name} is larger than {_LARGEST_TEXT >> 20} MiB."
            )
        return archive.read(name)
    except DAMAGE as error:
        raise LockFailed(f"{os.path.basename(path)} is damaged: {name}: {error}.") from error
