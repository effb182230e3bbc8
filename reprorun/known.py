"""Which records there are on this machine: each run notes where its record lies, and its images.

    XDG_STATE_HOME/reprorun/records/ID     the log directory, as text
    XDG_STATE_HOME/reprorun/images/NAME    empty; the image's name, quoted

Records may be moved, copied and removed like any directory; this is only how `reprorun gc` knows
what may still be needed and what is ours, and `reprorun show` where the record of a re-run may lie.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote, unquote

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def remember_record(run_id: str, log_dir: str) -> None:
    """Note where a record lies. A note that can't be written is no reason not to run."""
    with suppress(OSError):
        path = os.path.join(_directory(), run_id)
        with open(path, "wb") as file:
            file.write(os.fsencode(log_dir))


def is_id(text: str) -> bool:
    """Whether it can be the id of a record; then it can be a file's name, too."""
    return _ID.fullmatch(text) is not None


def noted_place(run_id: str) -> str | None:
    """The log directory that was noted for an id, if it is there; another may lie there by now."""
    if not is_id(run_id):  # it comes from a record, and may be a path
        return None
    with suppress(OSError):
        with open(os.path.join(_directory(), run_id), "rb") as file:
            log_dir = os.fsdecode(file.read())
        return log_dir if os.path.isdir(log_dir) else None
    return None


def forget_record(run_id: str) -> None:
    """Remove the note of a record that was removed."""
    with suppress(OSError):
        os.unlink(os.path.join(_directory(), run_id))


def known_records() -> Iterator[str]:
    """The log directories that were noted and are there."""
    return (log_dir for _, log_dir in _notes() if os.path.isdir(log_dir))


def stale_notes() -> Iterator[str]:
    """The notes whose log directory is gone, while the place where it lay is there."""
    for path, log_dir in _notes():
        if not os.path.lexists(log_dir) and os.path.isdir(os.path.dirname(log_dir)):
            yield path


def remember_images(*names: str) -> None:
    """Note images that a run of this user has used. As with records, it may fail."""
    with suppress(OSError):
        for name in names:
            with open(_image_note(name), "ab"):
                pass


def forget_image(name: str) -> None:
    """Remove the note of an image that was removed."""
    with suppress(OSError):
        os.unlink(_image_note(name))


def known_images() -> frozenset[str]:
    """The images that runs of this user have used."""
    return frozenset(map(unquote, os.listdir(_directory("images"))))


def _image_note(name: str) -> str:
    return os.path.join(_directory("images"), quote(name, safe=""))


def _notes() -> Iterator[tuple[str, str]]:
    for entry in sorted(os.listdir(_directory())):
        path = os.path.join(_directory(), entry)
        with suppress(OSError):
            with open(path, "rb") as file:
                log_dir = os.fsdecode(file.read())
            yield path, log_dir


def _directory(of: str = "records") -> str:
    from platformdirs import user_state_path

    path = user_state_path("reprorun") / of
    path.mkdir(parents=True, exist_ok=True)
    return str(path)
