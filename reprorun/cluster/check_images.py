"""The images that checks need on nodes, as far as the submitting machine's engine has them.

A record's base image, and the image of its environment: with both a node fetches nothing else. What
this machine has not, a node finds, pulls or makes for itself, or says that it can't be had.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

from msgspec.structs import replace

from reprorun import store
from reprorun.cluster.images import WantedImage, pushed
from reprorun.engine import Engine, connect
from reprorun.environment.layers import environment_digest
from reprorun.errors import EngineError, EngineUnavailable, RecordError
from reprorun.model import BaseImage, Changes, Image, Lock, Record
from reprorun.plan import ENVIRONMENT_REPOSITORY, TAG_LENGTH
from reprorun.workflow.base import image_digest
from reprorun.workflow.gather import Connect
from reprorun.workflow.python import PYTHON_PLACE
from reprorun.workflow.restore import BASE_REPOSITORY, base_tag


class CheckImages:
    """Finds them, each once. A context: it has a connection to the engine.

    Args:
        changes: what re-runs do otherwise; they may need another base image.
        registry: HOST/NAME that images are pushed to; None: nodes fetch them from this machine.
        reach: connects to this machine's engine.
    """

    def __init__(self, changes: Changes, registry: str | None, reach: Connect = connect) -> None:
        self._changes = changes
        self._registry = registry
        self._reach = reach
        self._engine: Engine | None = None
        self._found: dict[str, WantedImage | None] = {}

    def __enter__(self) -> CheckImages:
        try:
            self._engine = self._reach()
        except EngineUnavailable:  # the nodes have engines of their own
            if self._registry:
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine:
            self._engine.close()

    def of(self, path: str) -> tuple[WantedImage, ...]:
        """What the re-runs of a record need and this machine has; the base image first.

        Args:
            path: log directory or pack.

        Raises:
            EngineError: the registry does not take one.
        """
        engine = self._engine
        return () if engine is None else tuple(self._needed(_record(path), path, engine))

    def _needed(self, record: Record | None, path: str, engine: Engine) -> Iterator[WantedImage]:
        changes = self._changes
        named = changes.base_image or (changes.usual_base if _has_none(record, path) else None)
        if named:
            yield from self._once(_with_tag(named), partial(_named, engine))
        elif record and record.base_image and not changes.python:
            foreign = bool(record.platform or changes.platform)  # the node sees to that
            base = record.base_image
            yield from self._once(base_tag(base.digest), partial(_base, engine, base), foreign)
            if not (changes.lock or changes.as_of or changes.rebuild):
                tag = _environment_tag(record, base)
                yield from self._once(tag, engine.image, foreign)

    def _once(
        self, tag: str, find: Callable[[str], Image | None], foreign: bool = False
    ) -> Iterator[WantedImage]:
        """The image of that name, where there is one; pushed when it is first needed."""
        if tag not in self._found:
            self._found[tag] = self._offered(tag, find)
        if found := self._found[tag]:
            yield replace(found, machine="") if foreign else found

    def _offered(self, tag: str, find: Callable[[str], Image | None]) -> WantedImage | None:
        try:
            image = find(tag)
        except EngineError:  # no name that an engine takes, or it is away: the node will say
            return None
        if image is None:
            return None
        named = not tag.startswith((f"{BASE_REPOSITORY}:", f"{ENVIRONMENT_REPOSITORY}:"))
        wanted = replace(WantedImage.of(tag, image), named=named)
        assert self._engine
        return pushed(wanted, self._engine, self._registry) if self._registry else wanted


def _record(path: str) -> Record | None:
    try:
        return store.read_record(path)
    except RecordError:  # a pack, one of garage's, or none at all
        return None


def _has_none(record: Record | None, path: str) -> bool:
    """Whether a record, one of garage's above all, names no base image. A pack does."""
    return os.path.isdir(path) and (record is None or record.base_image is None)


# ---------------------------------------------------------------- on this machine's engine


def _named(engine: Engine, tag: str) -> Image | None:
    """What the user names. Without a name that is its alone it can't be handed over."""
    return None if "@" in tag or PYTHON_PLACE in tag else engine.image(tag)


def _base(engine: Engine, base: BaseImage, tag: str) -> Image | None:
    """The base image of a record, under a name of ours, by which it is saved and found again."""
    image = engine.image(tag)
    if image and _is_it(image, base):
        return image
    for ref in dict.fromkeys((base.id, base.repo_digest, base.ref)):
        found = engine.image(ref) if ref else None
        if found and _is_it(found, base, by_id=ref == base.id):
            engine.name_image(found.id, tag)
            return found
    return None


def _is_it(image: Image, base: BaseImage, *, by_id: bool = True) -> bool:
    """Whether it is that one; with system packages only the node, which asks it, can say."""
    return by_id if base.apt else image_digest(image) == base.digest


def _environment_tag(record: Record, base: BaseImage) -> str:
    lock = Lock(packages=record.packages)
    digest = environment_digest(base, lock, record.import_paths)
    return f"{ENVIRONMENT_REPOSITORY}:{digest[:TAG_LENGTH]}"


def _with_tag(ref: str) -> str:
    """The name of an image with its tag, as engines list it."""
    return ref if ":" in ref.rpartition("/")[2] or "@" in ref else f"{ref}:latest"
