"""The format of a pack: a zip of which `pack.json`, written last, says what everything in it is.

    record/PATH             the record's files
    wheels/NAME             the packages
    image/settings.json     the base image's settings, byte for byte
    image/layer-N.tar.gz    its layers
    inputs/N, inputs/N/...  the inputs
    content/N               what has a name that is no UTF-8, or one that is taken
    pack.json               the index

Nothing is compressed but the layers, by themselves. What is in a pack more than once stands in it
once. The names are for people: only the index says what an entry is, and it is believed in
nothing: `check` refuses an index that could not come from here, and `reading` all that is not as
the index says.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from reprorun.errors import RecordError
from reprorun.model import InputFile, LeftOut, SchemaMark, Value
from reprorun.pack.contents import directory_digest
from reprorun.printable import quoted

SCHEMA = 1
"""Version of the format. It grows when a field changes its meaning; new fields don't need it."""

INDEX = "pack.json"
LARGEST_INDEX = 64 << 20  # bytes; it is read into memory
LARGEST_SETTINGS = 8 << 20  # bytes, of an image
_LARGEST_LAYER = 1 << 43  # bytes, once it is unpacked
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.:/@-]*")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]{0,250}")


class Stored(Value, frozen=True, kw_only=True):
    """Some content, and the entry of the zip that it is."""

    sha256: str
    size: int  # bytes
    entry: str


class StoredFile(Stored, frozen=True, kw_only=True):
    """A file."""

    path: str  # relative
    executable: bool = False


class StoredWheel(Stored, frozen=True, kw_only=True):
    """A package's file."""

    name: str


class StoredLayer(Value, frozen=True, kw_only=True):
    """A layer of the image. Its entry is packed with gzip."""

    diff_id: str  # sha256:..., of the tar
    size: int  # bytes of the tar
    entry: str


class StoredImage(Value, frozen=True, kw_only=True):
    """The base image."""

    ref: str
    id: str  # on the engine that it is from
    digest: str  # as the record has it
    repo_digest: str | None = None
    settings: Stored
    layers: tuple[StoredLayer, ...]  # lowest first


class StoredInput(Value, frozen=True, kw_only=True):
    """An input: a file, or a directory with its files."""

    target: str  # in the container
    sha256: str  # as the record has it
    file: Stored | None = None
    files: tuple[StoredFile, ...] = ()  # of a directory


class Index(Value, frozen=True, kw_only=True):
    """`pack.json`."""

    pack: SchemaMark
    name: str  # of the record's directory
    record: tuple[StoredFile, ...]
    left_out: tuple[LeftOut, ...] = ()  # of the record's directory: what is no regular file
    wheels: tuple[StoredWheel, ...] = ()
    image: StoredImage
    inputs: tuple[StoredInput, ...] = ()
    inputs_left_out: tuple[InputFile, ...] = ()


def check(index: Index, entries: Mapping[str, int]) -> None:
    """Refuse an index that no pack of ours has.

    Args:
        index: as it was read.
        entries: the zip's, with their sizes.

    Raises:
        RecordError: naming what is wrong.
    """
    if "/" in index.name:
        raise RecordError(f"{quoted(index.name)} can't be the name of a record.")
    _check_paths([index.name])
    _check_paths([file.path for file in index.record])
    for each in index.inputs:
        _check_paths([file.path for file in each.files])
        if _digest(each) != each.sha256:
            raise RecordError(f"the input {quoted(each.target)} is another than it says.")
    for wheel in index.wheels:
        if not _NAME.fullmatch(wheel.name):
            raise RecordError(f"{quoted(wheel.name)} can't be the name of a package's file.")
    for stored in _contents(index):
        _check_stored(stored, entries)
    for ref in (index.image.ref, index.image.id, index.image.repo_digest):
        if ref is not None and not _REFERENCE.fullmatch(ref):
            raise RecordError(f"{quoted(ref)} can't be the name of an image.")
    if index.image.settings.size > LARGEST_SETTINGS:
        raise RecordError("the settings of the image are too large.")
    for layer in index.image.layers:
        _check_layer(layer, entries)


def _digest(each: StoredInput) -> str:
    """What the digest of an input must be."""
    if each.file:
        return each.file.sha256
    return directory_digest([(file.path, file.sha256) for file in each.files])


def _contents(index: Index) -> Iterable[Stored]:
    yield from index.record
    yield from index.wheels
    yield index.image.settings
    for each in index.inputs:
        yield from each.files
        if each.file:
            yield each.file


def _check_stored(stored: Stored, entries: Mapping[str, int]) -> None:
    if stored.entry not in entries:
        raise RecordError(f"{quoted(stored.entry)} is missing.")
    if entries[stored.entry] != stored.size:
        raise RecordError(
            f"{quoted(stored.entry)} has {entries[stored.entry]} bytes, {stored.size} were wanted."
        )
    if not _SHA256.fullmatch(stored.sha256):
        raise RecordError(f"{quoted(stored.entry)} has no digest.")


def _check_layer(layer: StoredLayer, entries: Mapping[str, int]) -> None:
    if layer.entry not in entries:
        raise RecordError(f"{quoted(layer.entry)} is missing.")
    if not 0 <= layer.size <= _LARGEST_LAYER or not _DIFF_ID.fullmatch(layer.diff_id):
        raise RecordError(f"{quoted(layer.entry)} can't be a layer.")


def _check_paths(paths: Iterable[str]) -> None:
    """Each path is relative, in its shortest form, and no other's parent; none stands twice."""
    seen: set[str] = set()
    parents: set[str] = set()
    for path in paths:
        _check_path(path)
        if path in seen:
            raise RecordError(f"the path {quoted(path)} is in it twice.")
        seen.add(path)
        parts = path.split("/")
        parents.update("/".join(parts[:n]) for n in range(1, len(parts)))
    if both := seen & parents:
        raise RecordError(f"the path {quoted(min(both))} is a file and a directory at once.")


def _check_path(path: str) -> None:
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise RecordError(f"the path {quoted(path)} may lead out of where it belongs.")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise RecordError(f"the path {quoted(path)} can't be a file's.") from None
