"""Files with holes: how large these are, and copies that have them too."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False  # typing's own costs an import
if TYPE_CHECKING:
    from typing import Iterator, Tuple

MOST = 16 << 30  # bytes of holes in a file that is kept; to hash them takes as long as data
_BLOCK = 512  # bytes that st_blocks counts in


def is_sparse(found: os.stat_result) -> bool:
    """Says whether a file may have holes; a file system that compresses has fewer blocks, too."""
    return found.st_blocks * _BLOCK < found.st_size


def too_sparse(path: str, found: os.stat_result) -> str:
    """Returns why a file can't be kept: it is next to nothing but holes. Else an empty string.

    Args:
        path: Of a regular file.
        found: What `os.stat` says of it.

    Raises:
        OSError: It can't be read.
    """
    if found.st_size - found.st_blocks * _BLOCK <= MOST:
        return ""
    data = sum(end - start for start, end in _extents(path))
    if found.st_size - data <= MOST:
        return ""
    return "a sparse file of {} bytes, of which {} are data".format(found.st_size, data)


def copy_with_holes(path: str, target: str) -> None:
    """Copies a file; what is a hole in it takes no room in the copy.

    Raises:
        OSError: It can't be read or written.
    """
    with open(path, "rb", buffering=0) as source, open(target, "wb", buffering=0) as copy:
        for start, end in _extents(path):
            copy.seek(start)
            while start < end:
                sent = os.sendfile(copy.fileno(), source.fileno(), start, min(end - start, 1 << 30))
                if not sent:  # somebody has cut it meanwhile
                    return
                start += sent
        copy.truncate(os.fstat(source.fileno()).st_size)


def _extents(path: str) -> Iterator[Tuple[int, int]]:
    """The parts of a file that are data, as far as its file system tells."""
    with open(path, "rb", buffering=0) as file:
        end = 0
        while True:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end
                    return
                raise
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            yield start, end
