"""Removing what killed processes have left that is no run: containers, images and files."""

from __future__ import annotations

import os
from contextlib import suppress

from reprorun import files, held, store
from reprorun.engine import Engine
from reprorun.errors import ContainerMissing, RecordError, UsageError
from reprorun.held import Hold, Mark
from reprorun.known import forget_record
from reprorun.plan import BUILD_REPOSITORY
from reprorun.workflow.abandoned import OPEN, Found, Left
from reprorun.workflow.end_again import clear_unfinished

# under the cache's lock, or where it is no matter
_WRITTEN_ALONE = (
    *("wheels", "layers", "locks", "built", "bases", "inputs", "dockerfiles", "archives", "unseen"),
)


def remove_remains(found: Found, engine: Engine | None) -> list[str]:
    """Remove what there is of something that is no run, or of one that is closed.

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
        removed += _remove_image(f"{BUILD_REPOSITORY}:{hold.identity}", engine)
        removed += _remove_step(hold.mark, engine)
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


def _remove_image(tag: str, engine: Engine) -> list[str]:
    if engine.image(tag) is None:
        return []
    engine.remove_image(tag)
    return [tag]


def _remove_step(mark: Mark, engine: Engine) -> list[str]:
    """The container in which a builder ran something, which has no label of ours.

    Its id was found in what the build printed, which may name any: what was there before the build
    is not touched.
    """
    if mark.step is None:
        return []
    try:
        created = engine.state(mark.step).created
    except ContainerMissing:  # the builder has removed it
        return []
    if created is None or created < mark.since:
        return []
    engine.remove(mark.step)
    return [mark.step]


def _remove_paths(hold: Hold) -> list[str]:
    """Files that were not written to their end, and directories in which nothing was put."""
    removed = []
    for path in hold.mark.paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            if files.is_unfinished(path):  # a file, or a record that was being removed
                files.remove(path)
                removed.append(path)
            elif not os.listdir(path):
                os.rmdir(path)
                removed.append(path)
    removed += _remove_beside(hold.mark.beside)
    with held.alone():
        return [*removed, *_remove_claim(hold.mark.wanted)]


def _remove_beside(directory: str | None) -> list[str]:
    """Files that were not written to their end, unless somebody else has the directory by now."""
    if directory is None or not os.path.isdir(directory) or files.is_held(directory):
        return []
    paths = [os.path.join(directory, name) for name in os.listdir(directory)]
    unfinished = [path for path in paths if files.is_unfinished(path)]
    for path in unfinished:
        files.remove(path)
    return unfinished


def _remove_claim(wanted: str | None) -> list[str]:
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
        os.unlink(os.path.join(last, store.RESERVE_FILE))
        return [os.path.join(last, store.RESERVE_FILE)]
    if names:
        return []
    os.rmdir(last)
    return [last]


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
