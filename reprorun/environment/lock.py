"""Locking: every package with its version and hashes, for the container's Python.

A lock is remembered by everything that it was made from, so that equal inputs give an equal lock
without asking the index; `--rebuild` asks again.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from datetime import datetime, timezone

from reprorun import files
from reprorun.environment.uv import for_image, run_uv
from reprorun.errors import LockFailed
from reprorun.model import BaseImage, Lock, Requirements

_INCLUDE = re.compile(r"^(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)")


def make_lock(
    requirements: Requirements,
    extra: tuple[str, ...],
    root: str,
    base: BaseImage,
    *,
    as_of: str | None = None,
    offline: bool = False,
    fresh: bool = False,
) -> Lock:
    """Resolve what an experiment needs, or recall what was resolved for the same input.

    Args:
        requirements: the file that decides, relative to `root`.
        extra: requirement lines to add.
        root: the repository's root, absolute.
        base: the image that the packages must fit.
        as_of: ISO date; packages of that day.
        offline: open no connection.
        fresh: resolve again even when the answer is known.

    Raises:
        LockFailed: with uv's explanation.
    """
    if requirements.source is None and not extra:
        return Lock(text="")
    key = _key(requirements, extra, root, base, as_of)
    path = os.path.join(files.cache_directory("locks"), f"{key}.txt")
    if not fresh and os.path.exists(path):
        return _recall(path, requirements)
    text = _resolve(requirements, extra, root, base, as_of, offline)
    files.write(path, text.encode())
    return Lock(text=text, source=requirements.source, resolved=_utc(time.time()))


def _recall(path: str, requirements: Requirements) -> Lock:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    resolved = _utc(os.path.getmtime(path))
    return Lock(text=text, source=requirements.source, resolved=resolved, cached=True)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def _key(
    requirements: Requirements,
    extra: tuple[str, ...],
    root: str,
    base: BaseImage,
    as_of: str | None,
) -> str:
    contents = (
        [] if requirements.source is None else _contents(os.path.join(root, requirements.source))
    )
    asked_of_uv = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("UV_"))
    return files.digest_of(
        "lock 2",
        *asked_of_uv,
        "python",
        base.python_minor,
        base.machine,
        base.libc,
        as_of or "",
        *extra,
        "files",
        *contents,
    )


def _contents(path: str, seen: frozenset[str] = frozenset()) -> list[str]:
    """The file's text and the text of the files that it includes."""
    if path in seen:
        return []
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise LockFailed(f"{path} can't be read: {error}") from error
    parts = [text]
    for line in text.splitlines():
        included = _INCLUDE.match(line.strip())
        if included:
            below = os.path.normpath(os.path.join(os.path.dirname(path), included[1]))
            parts += _contents(below, seen | {path})
    return parts


def _resolve(
    requirements: Requirements,
    extra: tuple[str, ...],
    root: str,
    base: BaseImage,
    as_of: str | None,
    offline: bool,
) -> str:
    with tempfile.TemporaryDirectory(prefix="reprorun-") as scratch:
        sources = [] if requirements.source is None else [os.path.join(root, requirements.source)]
        if extra:
            sources.append(os.path.join(scratch, "extra.txt"))
            with open(sources[-1], "w", encoding="utf-8") as file:
                file.write("\n".join(extra) + "\n")
        arguments = [
            "pip",
            "compile",
            *sources,
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
        ]
        # or it would look for an interpreter of that version, and ask each one that it finds
        arguments += ["--python", sys.executable, *for_image(base)]
        if as_of:
            arguments += ["--exclude-newer", as_of]
        # in the file's own directory, since `-e .` and local paths are relative to that
        cwd = os.path.dirname(sources[0]) if requirements.source else scratch
        return run_uv(arguments, offline=offline, cwd=cwd)
