"""Images as files: reading what an engine saves, whatever its version, and writing what any loads.

Engines up to 24 save each layer as `ID/layer.tar`, and a link where it is there already; later ones
save an OCI layout, whose layers may be packed with gzip. In both `manifest.json` says which file
is which layer; it can come last, so what a file is has to be seen by its content.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Generic, Protocol, TypeVar, cast

import msgspec
from isal import igzip, isal_zlib

from reprorun.engine.archive import tar_file, tar_header
from reprorun.engine.references import in_full
from reprorun.errors import EngineError
from reprorun.model import Image
from reprorun.streams import stream_tar

T = TypeVar("T")
Found = TypeVar("Found")
_PIECE = 1 << 20  # bytes
_LARGEST_DOCUMENT = 8 << 20  # bytes; settings and manifests are held in memory, layers are not
_MANIFEST = "manifest.json"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_MOST_LINKS = 10  # one after the other
_DAMAGE = (
    *(tarfile.TarError, EOFError, OSError, zlib.error),
    cast(type[Exception], isal_zlib.error),  # isal says that it is an instance
)


class LayerFile(Protocol):
    """A layer with known content."""

    @property
    def diff_id(self) -> str:
        """The digest of its tar, `sha256:...`."""
        ...

    @property
    def size(self) -> int:
        """Bytes of its tar."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Its tar, in pieces."""
        ...


class _Config(msgspec.Struct, rename="pascal"):
    env: list[str] | None = None


class _Layers(msgspec.Struct):
    diff_ids: list[str]


class _Settings(msgspec.Struct):
    """What is needed here of an image's settings."""

    rootfs: _Layers
    config: _Config | None = None
    architecture: str = ""


class _Entry(msgspec.Struct, rename="pascal"):
    """What `manifest.json` says of an image."""

    config: str
    layers: list[str]


# ---------------------------------------------------------------- reading


def read_saved(
    pieces: Iterable[bytes], keep: Callable[[Iterator[bytes]], T]
) -> tuple[bytes, tuple[T, ...]]:
    """Read an image as an engine saves it, once and in order.

    Args:
        pieces: what `Engine.save` gives.
        keep: takes the tar of a layer as it comes, in pieces, to its end; what it returns stands
            for the layer.

    Returns:
        The image's settings as they stand, and what stands for its layers, lowest first.

    Raises:
        EngineError: it is no image, or one in a form that is not known here.
    """
    saved = _Saved(keep)
    try:
        with stream_tar(pieces) as archive:
            for member in archive:
                saved.take(archive, member)
    except tarfile.TarError as error:
        raise _unlike(str(error)) from error
    return saved.sorted()


def describe(settings: bytes) -> Image:
    """An image as its settings have it; which engine has it, and under which id, is not known.

    Raises:
        EngineError: they are none.
    """
    try:
        told = msgspec.json.decode(settings, type=_Settings)
    except msgspec.MsgspecError as error:
        raise EngineError(f"these are no settings of an image: {error}.") from error
    env = told.config.env if told.config else None
    return Image(
        id="", layers=tuple(told.rootfs.diff_ids), env=tuple(env or ()), machine=told.architecture
    )


class _Saved(Generic[T]):
    """What has come of an image so far, by name."""

    def __init__(self, keep: Callable[[Iterator[bytes]], T]) -> None:
        self._keep = keep
        self._layers: dict[str, T] = {}
        self._documents: dict[str, bytes] = {}
        self._links: dict[str, str] = {}

    def take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Take one file of the archive."""
        name = posixpath.normpath(member.name)
        if member.issym():
            self._links[name] = posixpath.join(posixpath.dirname(name), member.linkname)
        elif member.islnk():
            self._links[name] = member.linkname
        elif content := archive.extractfile(member):
            self._take_file(name, member.size, content)

    def _take_file(self, name: str, size: int, content: IO[bytes]) -> None:
        if size <= _LARGEST_DOCUMENT:
            data = content.read()
            if _is_document(data):
                self._documents[name] = data
                return
            content = io.BytesIO(data)
        self._layers[name] = self._keep(_unpacked(content))

    def sorted(self) -> tuple[bytes, tuple[T, ...]]:
        """The settings, and the layers in their order."""
        manifest = self._find(self._documents, _MANIFEST)
        try:
            (entry,) = msgspec.json.decode(manifest, type=list[_Entry])
        except (ValueError, msgspec.MsgspecError) as error:
            raise _unlike(f"its {_MANIFEST} does not describe one image") from error
        layers = tuple(self._find(self._layers, name) for name in entry.layers)
        return self._find(self._documents, entry.config), layers

    def _find(self, among: Mapping[str, Found], name: str) -> Found:
        for _ in range(_MOST_LINKS):
            name = posixpath.normpath(name)
            if name in among:
                return among[name]
            name = self._links.get(name, name)
        raise _unlike(f"it has no {name}")


def _is_document(data: bytes) -> bool:
    """Whether it is JSON, as is all in an image but its layers."""
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _unpacked(content: IO[bytes]) -> Iterator[bytes]:
    """The tar of a layer, however it is packed."""
    source = io.BufferedReader(cast(io.RawIOBase, content))
    start = source.peek(len(_ZSTD))
    if start.startswith(_ZSTD):
        raise _unlike(
            "its layers are packed with zstd, which is not known here; push and pull it once with "
            "an engine that packs with gzip"
        )
    unpacked = cast(Any, igzip).open(source) if start.startswith(_GZIP) else source
    try:
        while piece := unpacked.read(_PIECE):
            yield piece
    except _DAMAGE as error:
        raise _unlike(str(error)) from error


def _unlike(what: str) -> EngineError:
    return EngineError(f"the engine saves the image in a way that can't be read: {what}.")


# ---------------------------------------------------------------- writing


def write_loadable(
    tags: Sequence[str], config: bytes, layers: Sequence[LayerFile]
) -> Iterator[bytes]:
    """An image as every engine loads it, in pieces.

    The settings stay as they are, byte for byte: to many engines their digest is the image's id.
    What makes an image of all this comes last, so that nothing comes of what breaks on the way.

    Args:
        tags: what it is called.
        config: its settings.
        layers: lowest first.
    """
    names: dict[str, str] = {}
    for layer in layers:
        if layer.diff_id not in names:
            names[layer.diff_id] = f"layer-{len(names)}.tar"
            yield tar_header(names[layer.diff_id], layer.size)
            yield from layer.pieces()
            yield b"\0" * (-layer.size % tarfile.BLOCKSIZE)
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = {
        "Config": config_name,
        "RepoTags": [in_full(tag) for tag in tags],
        "Layers": [names[layer.diff_id] for layer in layers],
    }
    yield from tar_file(config_name, config)
    yield from tar_file(_MANIFEST, json.dumps([manifest]).encode())
    yield b"\0" * (2 * tarfile.BLOCKSIZE)
