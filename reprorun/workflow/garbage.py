"""`reprorun gc`: what no record on this machine needs, and how it is removed.

Finding out is separate from removing, so that `--dry-run` shows exactly what would go.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from reprorun import files
from reprorun.engine import Engine
from reprorun.engine.references import PARENT_REPOSITORY
from reprorun.errors import EngineError
from reprorun.experiment import archive_cache
from reprorun.known import forget_image, known_images, stale_notes
from reprorun.model import KIND_LABEL, Image, ListedContainer, Lock, Value
from reprorun.notes import read_note
from reprorun.record_index import stale_indexes
from reprorun.workflow.dockerfile import SHELF as DOCKERFILES
from reprorun.workflow.needed import Needed, what_is_needed
from reprorun.workflow.restore import BASE_REPOSITORY
from reprorun.workflow.same_files import SHELF as UNSEEN

DAY = 86400  # seconds; what is younger than that in the scratch directory may be in use
_PACKED = (".whl", ".gz", ".zip", ".bz2", ".xz", ".tgz")
_SOON_MADE_AGAIN = {  # parts of the cache, and what lies in each
    "local": "environment without a container",
    DOCKERFILES: "Dockerfile",
    UNSEEN: "note of an engine",
}
_BY_THEMSELVES = ("probe", "build")  # containers that belong to no run


class Garbage(Value, frozen=True, kw_only=True):
    """Something that nothing needs."""

    kind: str  # image, container, or the part of the cache
    name: str
    size: int = 0  # bytes that its removal frees
    path: str = ""  # of what lies in the cache
    id: str = ""  # of what the engine has
    ours: bool = True  # else another user of the engine may need it, or be making it


def find_garbage(directories: Sequence[str], engine: Engine | None) -> list[Garbage]:
    """What no record needs.

    Args:
        directories: where there are records beside those that were made on this machine.
        engine: to look for images and containers on; None to look at the cache alone.

    Raises:
        RecordError: a record can't be read, so that nobody knows what it needs.
    """
    needed = what_is_needed(directories)
    found = [*_in_cache(needed)]
    if engine:
        found += [*_containers(engine, needed), *_parents(engine), *_images(engine, needed)]
    return found


def remove(garbage: Iterable[Garbage], engine: Engine | None, note: Callable[[str], None]) -> None:
    """Remove what was found. What turns out to be in use stays, and is told."""
    for entry in garbage:
        try:
            if entry.path:
                files.remove(entry.path)
            elif engine and entry.kind == "container":
                engine.remove(entry.id)
            elif engine:
                engine.remove_image(entry.id)
                forget_image(entry.name)
        except (OSError, EngineError) as error:
            note(f"{entry.kind} {entry.name} stays: {error}")


# ---------------------------------------------------------------- the engine


def _images(engine: Engine, needed: Needed) -> Iterator[Garbage]:
    # base images that came out of a pack have a name of ours, but no label
    found = (*engine.labelled_images(KIND_LABEL), *engine.tagged_images(BASE_REPOSITORY))
    images = {image.id: image for image in found}.values()
    below = {image.layers: image.size for image in (*images, *_bases(engine))}
    used = known_images()
    # what is built on others goes first
    for image in sorted(images, key=lambda image: -len(image.layers)):
        if image.id not in needed.images and not needed.images.intersection(image.tags):
            own = image.size - _size_below(image, below)
            for name in _our_names(image):
                ours = name in used
                yield Garbage(kind="image", name=name, size=max(own, 0), id=name, ours=ours)
                own = 0


def _parents(engine: Engine) -> Iterator[Garbage]:
    """Names that images had while others were built on them, of builds that were killed."""
    for image in engine.tagged_images(PARENT_REPOSITORY):
        names = [tag for tag in image.tags if tag.startswith(f"{PARENT_REPOSITORY}:")]
        if image.repo_digests or len(image.tags) > len(names):  # the last one is the image itself
            yield from (Garbage(kind="name", name=name, id=name, ours=False) for name in names)


def _our_names(image: Image) -> tuple[str, ...]:
    """The names to remove: all of an image of ours, of another one those that we gave it."""
    if KIND_LABEL in image.labels:
        named = (tag for tag in image.tags if not tag.startswith(f"{PARENT_REPOSITORY}:"))
        return tuple(named) or (image.id,)
    return tuple(tag for tag in image.tags if tag.startswith(f"{BASE_REPOSITORY}:"))


def _bases(engine: Engine) -> Iterator[Image]:
    """The base images that the cache knows."""
    for path in _files("bases"):
        if path.endswith(".json"):
            name = os.path.basename(path).removesuffix(".json")
            image = engine.image(f"sha256:{name}")
            if image:
                yield image


def _size_below(image: Image, known: dict[tuple[str, ...], int]) -> int:
    """The size of the largest other image that it is built on."""
    layers = image.layers
    return max((known[layers[:n]] for n in range(len(layers)) if layers[:n] in known), default=0)


def _containers(engine: Engine, needed: Needed) -> Iterator[Garbage]:
    for container in engine.labelled_containers("reprorun"):
        by_itself = container.labels["reprorun"] in _BY_THEMSELVES
        if not container.running and (by_itself or _is_over(container, needed)):
            # what asks or builds something may be about to be started
            ours = not by_itself
            yield Garbage(kind="container", name=container.name, id=container.id, ours=ours)


def _is_over(container: ListedContainer, needed: Needed) -> bool:
    """A container that was kept because its outputs could not be had is their only copy."""
    return container.labels.get("reprorun.run", "") in needed.finished


# ---------------------------------------------------------------- the cache


def _in_cache(needed: Needed) -> Iterator[Garbage]:
    yield from _wheels(needed)
    for path in _files("layers"):
        if os.path.basename(path).removesuffix(".tar") not in needed.layers:
            yield _cached("layer", path)
    for path in _files("locks"):
        if not _wheels_of_lock(path) <= needed.wheels:
            yield _cached("lock", path)
    for path in _files("built"):
        if not _wheels_of_note(path) <= needed.wheels:
            yield _cached("built wheel", path)
    for path in _files("inputs"):
        # a young one may be in use by a shell, say, without a record
        if os.path.basename(path) not in needed.inputs and _is_old(path):
            yield _cached("input", path)
    yield from _archives(needed)
    for path in stale_notes():
        yield _cached("note", path)
    for path in stale_indexes():
        yield _cached("index", path)
    for path in _files("scratch"):
        if _is_old(path) and not files.is_held(path):
            yield _cached("scratch", path)
    for shelf, kind in _SOON_MADE_AGAIN.items():
        yield from (_cached(kind, path) for path in _files(shelf) if _is_old(path))
    for path in (*_files("cluster"), *_files("cluster", "digests")):
        if os.path.isfile(path) and _is_old(path):
            yield _cached("note of a cluster", path)


def _wheels(needed: Needed) -> Iterator[Garbage]:
    for shelf in _files("wheels"):
        for path in _listed(shelf):
            if os.path.basename(path) not in needed.wheels:
                names = [os.path.basename(name) for name in _listed(path)]
                packed = [name for name in names if name.endswith(_PACKED)]
                yield _cached("wheel", path, packed[0] if packed else os.path.basename(path))


def _archives(needed: Needed) -> Iterator[Garbage]:
    """Launch archives of no record; one that records have a link to takes no room of its own."""
    for path in _files("archives"):
        stem, ending = os.path.basename(path).partition(".")[::2]
        if ending == "tar.xz" and stem not in needed.archives:
            yield _cached("archive", path, size=0 if os.lstat(path).st_nlink > 1 else None)
        elif ending == "state":
            if archive_cache.named_in(path) not in needed.archives:
                yield _cached("note", path)
        elif ending != "tar.xz" and _is_old(path):
            yield _cached("note", path)


def _is_old(path: str) -> bool:
    return time.time() - os.lstat(path).st_mtime > DAY


def _listed(directory: str) -> list[str]:
    """What lies in a directory; nothing where it is none, or a link to one."""
    if os.path.islink(directory) or not os.path.isdir(directory):
        return []
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory))]


def _files(*part: str) -> list[str]:
    return _listed(files.cache_directory(*part))


def _wheels_of_lock(path: str) -> set[str]:
    try:
        lock = msgspec.json.decode(read_note(path) or b"", type=Lock)
    except msgspec.MsgspecError:
        return {"unreadable"}
    return {package.wheel.sha256 for package in lock.packages}


def _wheels_of_note(path: str) -> set[str]:
    try:
        return {str(msgspec.json.decode(read_note(path) or b"")["wheel"]["sha256"])}
    except (msgspec.MsgspecError, KeyError, TypeError):
        return {"unreadable"}


def _cached(kind: str, path: str, name: str = "", size: int | None = None) -> Garbage:
    size = _size(path) if size is None else size
    return Garbage(kind=kind, name=name or os.path.basename(path), size=size, path=path)


def _size(path: str) -> int:
    if not os.path.isdir(path) or os.path.islink(path):
        return os.lstat(path).st_size
    total = 0
    for directory, _, names in os.walk(path):
        total += sum(os.lstat(os.path.join(directory, name)).st_size for name in names)
    return total
