"""Removing what killed processes have left that is no run: containers, images and files."""

from __future__ import annotations

import os
from contextlib import suppress

from reprorun import files, held, store
from reprorun.engine import Engine
from reprorun.errors import ContainerMissing, RecordError, UsageError
from reprorun.held import Hold
from reprorun.known import forget_record
from reprorun.plan import BUILD_REPOSITORY
from reprorun.workflow.abandoned import OPEN, Found, Left
from reprorun.workflow.end_again import clear_unfinished, seconds_between
from reprorun.workflow.report import Reporter

_TOLD = 1.0  # seconds by which the time stamp of a file may lie behind

# under the cache's lock, or where it is no matter
_WRITTEN_ALONE = (
    *("wheels", "layers", "locks", "built", "bases", "inputs", "dockerfiles", "archives", "unseen"),
)


def foresee_remains(found: Found, engine: Engine | None, report: Reporter) -> list[str]:
    """What `remove_remains` would say that it has removed; nothing is."""
    hold, left = found
    names = [container.name for container in left.containers]
    if engine:
        names += [*_images(hold, engine), *_steps(hold, engine, report)]
    return names if left.log_dir else [*names, *_paths(hold), *_claimed(hold.mark.wanted)]


def remove_remains(found: Found, engine: Engine | None, report: Reporter) -> list[str]:
    """Remove what there is of something that is no run, or of one that is closed.

    Args:
        found: what was left behind.
        engine: that may have its containers.
        report: told what may be of it, and is left.

    Returns:
        What it was.

    Raises:
        EngineError, OSError: something can't be removed.
    """
    hold, left = found
    removed = [container.name for container in left.containers]
    if engine:
        for container in left.containers:
            engine.remove(container.id)
        removed += _remove_images(hold, engine)
        removed += _remove_steps(hold, engine, report)
    if left.log_dir is None:
        removed += _remove_paths(hold)
    elif not os.path.isdir(left.log_dir):
        forget_record(hold.identity)
    elif left.fate == "unbegun":
        removed += _remove_unbegun(left, made=hold.mark.made)
    else:
        _write_last_word(left)
        clear_unfinished(left.log_dir)
    hold.end()
    return removed


def _write_last_word(left: Left) -> None:
    """Write how a run ended where it was told, and could not be written then."""
    assert left.log_dir is not None
    if left.record is None or left.record.status in OPEN:
        return
    with suppress(RecordError):  # there is none, or the experiment has spoiled it
        if store.read_record(left.log_dir).status in OPEN:
            store.write_record(left.log_dir, left.record)


def clear_cache() -> None:
    """Remove files of the cache that were not written to their end, unless somebody is at work."""
    with suppress(UsageError), files.cache_lock(exclusive=True):
        for part in _WRITTEN_ALONE:
            clear_unfinished(files.cache_directory(part))


def _images(hold: Hold, engine: Engine) -> list[str]:
    tag = f"{BUILD_REPOSITORY}:{hold.identity}"
    return [tag] if engine.image(tag) else []


def _remove_images(hold: Hold, engine: Engine) -> list[str]:
    found = _images(hold, engine)
    for tag in found:
        engine.remove_image(tag)
    return found


def _steps(hold: Hold, engine: Engine, report: Reporter) -> list[str]:
    """The container in which a builder ran something, which has no label of ours.

    Its id was found in what the build printed, which may name any: what was not made during the
    build is not touched. The engine's clock may be another: then it is left, and said once.
    """
    step = hold.mark.step
    if step is None:
        return []
    try:
        created = engine.state(step).created
    except ContainerMissing:  # the builder has removed it
        return []
    if created and 0 <= seconds_between(hold.mark.since, created) <= _building(hold):
        return [step]
    report.note(
        f"container {step} is left: a build named it as its own, but by the engine's clock it was "
        "not made during the build. Remove it if nothing needs it."
    )
    return []


def _remove_steps(hold: Hold, engine: Engine, report: Reporter) -> list[str]:
    found = _steps(hold, engine, report)
    for container in found:
        engine.remove(container)
    return found


def _building(hold: Hold) -> float:
    """Seconds from before a build until something was told of it for the last time."""
    return seconds_between(hold.mark.since) - hold.age + _TOLD


def _paths(hold: Hold) -> list[str]:
    """Files that were not written to their end, and directories in which nothing was put."""
    begun = (path for place in hold.mark.paths for path in _begun(place))
    return [*begun, *_beside(hold.mark.beside)]


def _begun(path: str) -> list[str]:
    if files.is_unfinished(path):  # a file, or a record that was being removed
        return [path] if os.path.lexists(path) else []
    if not os.path.isdir(path):
        return []
    claim = os.path.join(path, store.RESERVE_FILE)  # of a run that was about to have it
    return {(): [path], (store.RESERVE_FILE,): [claim, path]}.get(tuple(os.listdir(path)), [])


def _beside(directory: str | None) -> list[str]:
    """Files that were not written to their end, unless somebody else has the directory by now."""
    if directory is None or not os.path.isdir(directory) or files.is_held(directory):
        return []
    paths = [os.path.join(directory, name) for name in os.listdir(directory)]
    return [path for path in paths if files.is_unfinished(path)]


def _claimed(wanted: str | None) -> list[str]:
    """A log directory that was made a moment before the end; its number is not known."""
    if wanted is None:
        return []
    last, number = wanted, 1
    while os.path.isdir(f"{wanted}_{number}"):
        last, number = f"{wanted}_{number}", number + 1
    if not os.path.isdir(last) or os.path.realpath(last) in held.log_dirs():
        return []
    names = os.listdir(last)
    if names == [store.RESERVE_FILE]:  # it was there before, and named by the user
        return [os.path.join(last, store.RESERVE_FILE)]
    return [] if names else [last]


def _remove_paths(hold: Hold) -> list[str]:
    removed = _paths(hold)
    for path in removed:
        _remove_path(path)
    with held.alone():
        claimed = _claimed(hold.mark.wanted)
        for path in claimed:
            _remove_path(path)
    return [*removed, *claimed]


def _remove_path(path: str) -> None:
    with suppress(FileNotFoundError):
        if files.is_unfinished(path):
            files.remove(path)
        elif os.path.isdir(path):
            os.rmdir(path)
        else:
            os.unlink(path)


def _remove_unbegun(left: Left, *, made: bool) -> list[str]:
    """A log directory in which there is no record yet; all in it is ours."""
    assert left.log_dir is not None
    for name in os.listdir(left.log_dir):
        if name in store.OURS or files.is_unfinished(name):
            os.unlink(os.path.join(left.log_dir, name))
    if not made or os.listdir(left.log_dir):
        return [f"what was begun in {left.log_dir}"]
    os.rmdir(left.log_dir)
    return [left.log_dir]
