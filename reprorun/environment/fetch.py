"""Fetching packages' files into the cache: a few at a time, each of them verified."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from reprorun import files
from reprorun.environment.credentials import Known, configured
from reprorun.environment.one_file import bring, local_path, store
from reprorun.environment.wheel_cache import CacheFailed, Refused, cached, check
from reprorun.errors import LockFailed
from reprorun.model import RemoteFile

if TYPE_CHECKING:
    from reprorun.environment.download import Downloader

__all__ = ["cached", "fetch", "fetch_whole", "keep"]

AT_ONCE = 4  # downloads
INTERVAL = 0.5  # seconds between two lines about one file
_MEGABYTE = 1e6


def fetch(
    wanted: Sequence[RemoteFile],
    *,
    offline: bool,
    progress: Callable[[str], None],
    indexes: Sequence[str] = (),
) -> dict[str, str]:
    """Bring files into the cache.

    Args:
        wanted: files; what is not in the cache needs an address (http, https, file, or a path).
        offline: open no connection.
        progress: told, in the caller's thread, how a download goes on; never about what is there.
        indexes: addresses (URL, or NAME=URL) that the user gave, whose logins may be needed.

    Returns:
        sha256 -> path in the cache.

    Raises:
        LockFailed: naming each file that can't be had, and why.
    """
    found = {file.sha256: path for file in wanted if (path := cached(file))}
    missing = list({file.sha256: file for file in wanted if file.sha256 not in found}.values())
    _refuse_what_has_no_source(missing, offline)
    if missing:
        found |= _bring(missing, configured(indexes), progress)
    return found


def fetch_whole(
    wanted: Sequence[RemoteFile],
    *,
    offline: bool,
    progress: Callable[[str], None],
    note: Callable[[str], None],
    indexes: Sequence[str] = (),
) -> dict[str, str]:
    """Bring files into the cache, and look at those that were there: they may have been damaged.

    What is not what it was when it came is fetched anew, and `note` is told. Everything else is
    as with `fetch`.
    """
    paths = fetch(wanted, offline=offline, progress=progress, indexes=indexes)
    damaged = [file for file in wanted if files.sha256_of(paths[file.sha256]) != file.sha256]
    for file in damaged:
        note(f"{file.name} in the cache is not what it was when it came: fetched anew")
        with suppress(FileNotFoundError):
            os.unlink(paths[file.sha256])
    if damaged:
        paths.update(fetch(damaged, offline=offline, progress=progress, indexes=indexes))
    return paths


def keep(name: str, source: str | bytes) -> tuple[str, str]:
    """Put a file that was made here into the cache.

    Args:
        name: its file name.
        source: its path, or its content.

    Returns:
        Its sha256, and its path in the cache.

    Raises:
        LockFailed: it can't be read, or the cache can't be written.
    """
    try:
        sha256 = files.sha256_of(source) if isinstance(source, str) else _sha256(source)
        file = RemoteFile(name=name, sha256=sha256)
        check(file)
        return sha256, store(file, source)
    except OSError as error:
        raise LockFailed(f"{source!r} can't be read ({error.strerror}).") from error
    except (CacheFailed, Refused) as error:
        raise LockFailed(f"{name} can't be kept: {error}.") from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ---------------------------------------------------------------- what can't be had


def _refuse_what_has_no_source(missing: list[RemoteFile], offline: bool) -> None:
    if offline:
        far = [file for file in missing if file.url is None or local_path(file.url) is None]
        if far:
            raise LockFailed(
                f"not in the cache, and --offline opens no connection: {_names(far)}.\n"
                "Run once without --offline."
            )
    nowhere = [file for file in missing if file.url is None]
    if nowhere:
        raise LockFailed(
            f"not in the cache, and no address is known for: {_names(nowhere)}.\n"
            "Name an index that has them (UV_DEFAULT_INDEX), or make the lock anew."
        )


def _refuse_what_failed(ended: list[_Ended]) -> None:
    reasons: dict[str, list[RemoteFile]] = {}
    for each in ended:
        if each.reason:
            reasons.setdefault(each.reason, []).append(each.file)
    if reasons:
        lines = [f"can't be had: {_names(those)}: {why}." for why, those in reasons.items()]
        raise LockFailed("\n".join(lines))


def _names(those: list[RemoteFile]) -> str:
    return ", ".join(file.name for file in those)


# ---------------------------------------------------------------- a few at a time


class _Ended(NamedTuple):
    """How it went with one file."""

    file: RemoteFile
    path: str = ""
    reason: str = ""
    bug: Exception | None = None  # to be raised where the caller sees it


_Events = SimpleQueue["str | _Ended"]


def _bring(
    missing: list[RemoteFile], known: tuple[Known, ...], progress: Callable[[str], None]
) -> dict[str, str]:
    work = _Work(missing, known)
    try:
        work.start()
        ended = list(work.until_all_ended(progress))
    finally:
        work.stop.set()
    _refuse_what_failed(ended)
    return {each.file.sha256: each.path for each in ended}


class _Work:
    """Threads that take files from a list. Only `until_all_ended` runs in the caller's."""

    def __init__(self, missing: list[RemoteFile], known: tuple[Known, ...]) -> None:
        self.stop = threading.Event()
        self._missing = missing
        self._known = known
        self._todo: SimpleQueue[RemoteFile] = SimpleQueue()
        self._events: _Events = SimpleQueue()
        self._out_of_reach: set[str] = set()
        for file in missing:
            self._todo.put(file)

    def start(self) -> None:
        """Begin."""
        for _ in range(min(AT_ONCE, len(self._missing))):
            # daemons: an interrupt does not wait for a server that says nothing
            threading.Thread(target=self._work, daemon=True).start()

    def until_all_ended(self, progress: Callable[[str], None]) -> Iterator[_Ended]:
        """Pass on what is to be told, until each file is there or can't be had."""
        left = len(self._missing)
        while left:
            event = self._events.get()
            if isinstance(event, str):
                progress(event)
                continue
            if event.bug:
                raise event.bug
            left -= 1
            yield event

    def _work(self) -> None:
        tools = _Tools(self._known, self._out_of_reach, self.stop)
        with suppress(Empty, _Stopped):
            while not self.stop.is_set():
                self._events.put(self._one(self._todo.get_nowait(), tools))
        tools.close()

    def _one(self, file: RemoteFile, tools: _Tools) -> _Ended:
        try:
            watch = _Watch(file, self._events, self.stop)
            return _Ended(file, path=bring(file, tools.downloader, watch))
        except (Refused, CacheFailed) as error:
            return _Ended(file, reason=str(error))
        except _Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            return _Ended(file, bug=error)


class _Stopped(Exception):
    """The caller was interrupted, or has failed."""


class _Tools:
    """What one thread downloads with, made when it is first needed."""

    def __init__(
        self, known: tuple[Known, ...], out_of_reach: set[str], stop: threading.Event
    ) -> None:
        self._known = known
        self._out_of_reach = out_of_reach
        self._stop = stop
        self._downloader: Downloader | None = None

    def downloader(self) -> Downloader:
        """For http. The import is slow, and most runs find everything in the cache."""
        if self._downloader is None:
            from reprorun.environment.download import Downloader

            self._downloader = Downloader(self._known, self._out_of_reach, self._pause)
        return self._downloader

    def close(self) -> None:
        """Close what is open."""
        if self._downloader:
            self._downloader.close()

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped


class _Watch:
    """Tells how it goes on with one file, and ends it when the caller has stopped."""

    def __init__(self, file: RemoteFile, events: _Events, stop: threading.Event) -> None:
        self._name = _shortened(file.name)
        self._events = events
        self._stop = stop
        self._told = time.monotonic()

    def __call__(self, arrived: int, whole: int | None) -> None:
        of = f" of {whole / _MEGABYTE:.1f}" if whole else ""
        self._tell(f"{arrived / _MEGABYTE:.1f}{of} MB")

    def wait(self) -> None:
        """Another process has the file; look again soon."""
        self._tell("waits for another run that fetches it")
        self._stop.wait(0.05)

    def _tell(self, text: str) -> None:
        if self._stop.is_set():
            raise _Stopped
        now = time.monotonic()
        if now - self._told >= INTERVAL:
            self._told = now
            self._events.put(f"{self._name}  {text}")


def _shortened(name: str) -> str:
    """A wheel without its tags: `numpy-2.2.6-...whl`."""
    parts = name.split("-")
    return f"{parts[0]}-{parts[1]}-...whl" if name.endswith(".whl") and len(parts) > 2 else name
