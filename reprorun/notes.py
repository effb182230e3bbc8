"""Notes in the cache: what was found out once, each with its digest, so that a damaged one is none.

A file holds the sha256 of the note in hex digits, a line break, and the note.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress

from reprorun import files


def write_note(path: str, content: bytes, *, private: bool = False) -> None:
    """Keep what was found out. Where that can't be written, it is found out again next time.

    Args:
        path: of the file.
        content: of the note.
        private: for the user alone.
    """
    with suppress(OSError):
        files.write(path, b"%s\n%s" % (_seal(content), content), private=private)


def read_note(path: str) -> bytes | None:
    """What was found out; None where nothing was, or it can't be read, or is not what it was."""
    try:
        with open(path, "rb") as file:
            seal, _, content = file.read().partition(b"\n")
    except OSError:
        return None
    return content if seal == _seal(content) else None


def _seal(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
