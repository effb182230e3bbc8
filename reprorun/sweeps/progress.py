"""The last row of a record's `progress.csv`, read as what may be hostile.

Which file it is: the shallowest `progress.csv` in the record. A script that writes one into its
working tree leaves it in `outputs/`; a wrapped function leaves it in its sub-record. Where several
lie equally deep, all count, and the names of their columns begin with their directories.

Nothing goes through a link, nothing but a regular file is read, and of a file no more than its
beginning and its end. A cell is one line of text that a terminal and a spreadsheet leave alone.
"""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from reprorun.printable import printable

PROGRESS_FILE = "progress.csv"
MOST_COLUMNS = 200
_PIECE = 1 << 16  # bytes that are read of the beginning, and of the end
_LONGEST = 1000  # characters of a cell
_DEEPEST = 6  # directories below the record
_MOST_DIRECTORIES = 200  # of a record, that are looked into
_MOST_FILES = 20  # that lie equally deep
_FORMULA = ("=", "+", "-", "@")

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe is not waited for
_ENTER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


def last_row(record: str, *, ended: bool) -> dict[str, str]:
    """What the last whole row says, by column; nothing where there is none.

    Args:
        record: log directory.
        ended: the run came to its end by itself: a last line without a line break is whole.
    """
    with suppress(OSError), _opened(record, _ENTER) as root:
        found = _shallowest(root)
        rows = [(path, _row_of(path, root, ended)) for path in found]
        return dict(_joined(rows))
    return {}


def plain(text: str) -> str:
    """Text in one line, not too long, that neither a terminal nor a spreadsheet obeys.

    What a spreadsheet would take for a formula gets an apostrophe in front.
    """
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    text = printable(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def _joined(rows: list[tuple[str, dict[str, str]]]) -> Iterator[tuple[str, str]]:
    for path, row in rows:
        prefix = f"{os.path.dirname(path)}/" if len(rows) > 1 else ""
        for name, cell in row.items():
            yield plain(prefix + name), plain(cell)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------- which files


def _shallowest(root: int) -> list[str]:
    """The paths of the `progress.csv` that lie least deep below an open directory, sorted."""
    level, looked_into = [""], 0
    for _ in range(_DEEPEST):
        level = level[: _MOST_DIRECTORIES - looked_into]
        looked_into += len(level)
        found, below = _look_into(level, root)
        if found:
            return found[:_MOST_FILES]
        level = below
    return []


def _look_into(directories: Iterable[str], root: int) -> tuple[list[str], list[str]]:
    """The `progress.csv` right in these directories, and the directories below them."""
    found, below = [], []
    for directory in directories:
        with (
            suppress(OSError),
            _directory(directory, root) as descriptor,
            os.scandir(descriptor) as entries,
        ):
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                if entry.is_dir(follow_symlinks=False):
                    below.append(path)
                elif entry.name == PROGRESS_FILE and entry.is_file(follow_symlinks=False):
                    found.append(path)
    return sorted(found), sorted(below)


@contextmanager
def _directory(path: str, root: int) -> Iterator[int]:
    """A directory below another, opened a step at a time, so that no link is gone through."""
    name, _, rest = path.partition("/")
    if not name:
        yield root
        return
    with _opened(name, _ENTER, root) as descriptor, _directory(rest, descriptor) as last:
        yield last


@contextmanager
def _opened(path: str, flags: int, directory: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- the row


def _row_of(path: str, root: int, ended: bool) -> dict[str, str]:
    directory, _, name = path.rpartition("/")
    with (
        suppress(OSError),
        _directory(directory, root) as inside,
        _opened(name, _READ, inside) as file,
    ):
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode):
            header, body = _ends(file, status.st_size)
            cells = _cells(_last(body, ended=ended))
            pairs = zip(_cells(header)[:MOST_COLUMNS], cells, strict=False)
            return {name: cell for name, cell in pairs if name}
    return {}


def _ends(file: int, size: int) -> tuple[bytes, bytes]:
    """The header of an open file, and whole lines from its end."""
    start = os.pread(file, _PIECE, 0)
    header = _first(start)
    if size <= _PIECE:
        return header, start[len(header) :]
    end = os.pread(file, _PIECE, size - _PIECE)
    return header, end[end.find(b"\n") + 1 :]


def _first(start: bytes) -> bytes:
    """The first row; one with a line break in quotes is several lines."""
    place = quotes = 0
    while (stop := start.find(b"\n", place) + 1) > 0:
        quotes += start.count(b'"', place, stop)
        if quotes % 2 == 0:
            return start[:stop]
        place = stop
    return b""


def _last(lines: bytes, *, ended: bool) -> bytes:
    """The last row; what follows the last line break is whole only if the run has ended."""
    whole = lines if ended else lines[: lines.rfind(b"\n") + 1]
    whole = whole.rstrip(b"\r\n")
    place, quotes = len(whole), 0
    while place >= 0:
        start = whole.rfind(b"\n", 0, place)
        quotes += whole.count(b'"', start + 1, place)
        if quotes % 2 == 0:
            return whole[start + 1 :]
        place = start
    return b""


def _cells(row: bytes) -> list[str]:
    text = row.decode("utf-8-sig", "backslashreplace").rstrip("\r\n").replace("\0", "\\x00")
    try:
        return next(csv.reader([text]), [])
    except csv.Error:
        return []
