"""A check on a node: the record is fetched, run again and compared; what was kept goes back."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from reprorun import store
from reprorun.cluster.depot import fetch, fetch_image
from reprorun.cluster.images import WantedImage, ensure_image
from reprorun.cluster.messages import END, Came, encode
from reprorun.cluster.place import Place, place_of
from reprorun.cluster.running import failed, forgotten, given_gpus
from reprorun.cluster.trees import pack_tree, unpack_tree
from reprorun.engine import Engine
from reprorun.errors import EngineError, ImageMissing, RecordError, ReprorunError
from reprorun.model import Gpus, Value
from reprorun.workflow import check as checks
from reprorun.workflow.outcome import INTERRUPTED
from reprorun.workflow.report import Silent


class CheckTask(Value, frozen=True, kw_only=True):
    """One record to be checked, as it travels to a node."""

    session: str
    record: str  # as it was named
    source: str  # absolute, on the submitting machine
    cwd: str  # of the submitting machine
    options: checks.CheckOptions
    images: tuple[WantedImage, ...] = ()  # that the submitting machine can give


def check(ray: Any, depot: Any, references: list[Any], data: bytes) -> Iterator[bytes]:
    """Check a record and give what is to be said of it, and the re-runs that are kept.

    Args:
        data: a pickled `CheckTask`, of the submitting machine.
    """
    task: CheckTask = pickle.loads(data)
    place = place_of(task.session, ray, depot)
    room = os.path.join(place.path, os.urandom(4).hex())
    kept = os.path.join(room, checks.PLACE)
    try:
        came = _check(ray, depot, task, place, room)
        yield encode(came)
        if came.tree:
            yield from pack_tree(kept)
        yield END
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _check(ray: Any, depot: Any, task: CheckTask, place: Place, room: str) -> Came:
    try:
        with place.interruptible():
            path = _fetched(ray, depot, task.source, room)
            lacking = bring_images(task.images, place.engine(), partial(fetch_image, ray, depot))
            options = with_gpus(task.options, path, given_gpus(ray))
            place.leash.busy()
            (result,) = checks.check(
                [path], options, 1, room, place.connect, lambda record: Silent()
            )
    except KeyboardInterrupt:
        return Came(exit_code=INTERRUPTED, interrupted=True)
    except (ReprorunError, OSError) as error:
        place.forget_engine()
        return failed(error, place)
    if result.exit_code != EngineError.exit_code:
        place.leash.well()
    if result.error:
        result = replace(result, error=f"on node {place.node}: {result.error}{lacking}")
    kept = os.path.join(room, checks.PLACE)
    names = os.listdir(kept) if os.path.isdir(kept) else []
    for name in names:
        forgotten(os.path.join(kept, name))
    return Came(tree=bool(names), check=text_of(result, {path: task.record, room: task.cwd}))


def bring_images(
    images: Iterable[WantedImage], engine: Engine, fetched: Callable[[str], Iterator[bytes]]
) -> str:
    """Have images on the node's engine; returns what could not be brought and why, if anything.

    One may be gone from the submitting machine by now. That is no error yet: an environment can be
    made again, a base image may be there under another name, and a re-run says what it lacks. What
    the user has named has to be there.
    """
    lacking = ""
    for image in images:
        try:
            ensure_image(image, engine, partial(fetched, image.tag))
        except ImageMissing as error:
            if image.named:
                raise
            lacking += f"\n{image.tag} could not be brought there: {error}"
    return lacking


def _fetched(ray: Any, depot: Any, source: str, room: str) -> str:
    """The record, from the submitting machine."""
    path = os.path.join(room, "record", os.path.basename(source))
    target = path if os.path.splitext(source)[1] != checks.PACK else os.path.dirname(path)
    os.makedirs(target)
    try:
        unpack_tree(fetch(ray, depot.tree, source), target)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        raise EngineError(f"{source} can't be fetched: {cause}") from error
    return path


def with_gpus(
    options: checks.CheckOptions, record: str, given: tuple[str, ...]
) -> checks.CheckOptions:
    """The check with the GPUs that Ray gives it, also where the record names those of a machine.

    Args:
        record: its directory, or a pack.
        given: ids of the node's GPUs.
    """
    if not given:
        return options
    changes = replace(options.changes, gpu_devices=given)
    asked = changes.gpus or _asked_gpus(record)
    if asked and asked.kind == "device":
        changes = replace(changes, gpus=Gpus(kind="count", count=len(given)))
    return replace(options, changes=changes)


def _asked_gpus(path: str) -> Gpus | None:
    try:
        return store.read_record(path).asked_gpus
    except RecordError:  # a pack, or one of garage's
        return None


# ---------------------------------------------------------------- what is said, with other paths


def text_of(result: checks.RecordCheck, paths: Mapping[str, str]) -> str:
    """What a check says, as JSON.

    Args:
        paths: what takes the place of which directory, wherever it is named.
    """
    return json.dumps(_moved(msgspec.to_builtins(result), paths), allow_nan=False)


def result_of(text: str, paths: Mapping[str, str]) -> checks.RecordCheck:
    """The same from JSON. See `text_of`.

    Raises:
        EngineError: it is none.
    """
    try:
        return msgspec.convert(_moved(json.loads(text), paths), checks.RecordCheck)
    except (ValueError, RecursionError) as error:
        raise EngineError(f"a node answered what can't be understood: {error}") from error


def _moved(value: Any, paths: Mapping[str, str]) -> Any:
    """The same with other paths in all texts."""
    if isinstance(value, str):
        for old in sorted(paths, key=len, reverse=True):
            whole = rf"{re.escape(old)}(?![\w.-])"
            value = re.sub(whole, lambda found, new=paths[old]: new, value)  # type: ignore[misc]
        return value
    if isinstance(value, dict):
        return {key: _moved(each, paths) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_moved(each, paths) for each in value]
    return value
