"""Bringing one file into the cache: from a path on this machine, or over http."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from reprorun import files
from reprorun.environment.credentials import strip
from reprorun.environment.wheel_cache import CacheFailed, Partial, Refused, cached, place_of
from reprorun.model import RemoteFile

if TYPE_CHECKING:
    from reprorun.environment.download import Downloader


class Watch(Protocol):
    """Is told how it goes on. Either method may raise, to end the work."""

    def __call__(self, arrived: int, whole: int | None) -> None:
        """So many bytes have arrived, of how many."""

    def wait(self) -> None:
        """Another process has the file: sleep a little."""


def bring(file: RemoteFile, downloader: Callable[[], Downloader], watch: Watch) -> str:
    """Bring a file into the cache from where its address says; returns its path.

    Args:
        file: checked, with an address.
        downloader: gives what http is spoken with.
        watch: told how it goes on.

    Raises:
        Refused: it can't be had.
        CacheFailed: it can't be written.
    """
    path = local_path(file.url or "")
    with place_of(file, watch.wait) as place:
        if already := cached(file):  # another run was quicker
            return already
        if path is not None:
            return _filled(file, place, lambda partial: _copy(file, partial, _pieces(path), watch))
        return _filled(file, place, lambda partial: downloader().bring(file, partial, watch))


def store(file: RemoteFile, source: str | bytes) -> str:
    """Put what is at a path, or content, into the cache; returns its path there.

    Raises:
        Refused: it can't be read, or was changed meanwhile.
        CacheFailed: it can't be written.
    """
    pieces = _pieces(source) if isinstance(source, str) else iter([source])
    with place_of(file, lambda: time.sleep(0.05)) as place:
        return cached(file) or _filled(file, place, lambda partial: _copy(file, partial, pieces))


def _filled(file: RemoteFile, place: str, fill: Callable[[Partial], None]) -> str:
    """Fill a partial file, and give it its name. What arrived before a failure stays."""
    partial = Partial(place)
    try:
        fill(partial)
        return partial.finish(file.name)
    except CacheFailed:
        partial.remove()  # it may be what fills the disk
        raise
    except Refused:
        if not partial.size:
            partial.remove()
        raise
    finally:
        partial.close()


def local_path(url: str) -> str | None:
    """The path that an address means; None where it is another host's."""
    try:
        split = urlsplit(url)
    except ValueError:
        return None
    if split.scheme == "file" and split.netloc in ("", "localhost"):
        return unquote(split.path)
    return url if not split.scheme else None


def _copy(
    file: RemoteFile, partial: Partial, pieces: Iterator[bytes], watch: Watch | None = None
) -> None:
    partial.restart()
    for piece in pieces:
        partial.add(piece)
        if watch:
            watch(partial.size, file.size)
    if partial.sha256 != file.sha256:
        found = partial.sha256
        partial.restart()
        source = strip(file.url) if file.url else "it"
        raise Refused(f"{source} has the sha256 {found}, wanted is {file.sha256}")


def _pieces(path: str) -> Iterator[bytes]:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Refused(f"{path} is no regular file")
        with open(path, "rb") as source:
            while piece := source.read(files.READ_SIZE):
                yield piece
    except OSError as error:
        raise Refused(f"{path} can't be read ({error.strerror})") from None
