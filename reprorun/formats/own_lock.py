"""requirements.lock: a lock that reprorun wrote, or one like it, every package with its hashes."""

from __future__ import annotations

import os
import re

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.artifacts import git_line
from reprorun.formats.line import Line, Parts, parse
from reprorun.formats.options import as_uv_flags, merged, split_option
from reprorun.formats.requirements_txt import logical_lines
from reprorun.formats.target import Target, applies
from reprorun.model import Wanted


def read_own_lock(root: str, path: str, target: Target) -> Wanted:
    """The packages of a lock in the form of `uv pip compile --generate-hashes`.

    Args:
        root: the repository's root, absolute.
        path: the file: relative to the root, or absolute, as that of another record is.
        target: what markers are evaluated for.

    Returns:
        Exact lines: each pinned and hashed, and nothing may be added.

    Raises:
        UsageError: a line that is not pinned, or not hashed.
    """
    lines: dict[str, str] = {}
    options: list[str] = []
    notes: list[str] = []
    for number, content in logical_lines(tree.read_text(root, path)):
        line = Line(text=content, source=path, number=number, bases=(os.path.dirname(path),))
        if content.startswith("-"):
            flags, note = _option(root, line)
            options += flags
            notes += [note] if note else []
            continue
        parts = parse(line)
        if parts.name is None:
            raise UsageError(f"{line.place}: {content!r} names no package. Make the lock anew.")
        if not applies(parts.marker, target, line.place):
            continue
        if parts.name in lines:
            raise UsageError(f"{line.place}: {parts.name} is in it a second time.")
        lines[parts.name] = _exact(line, parts)
    return Wanted(
        lines=tuple(lines.values()),
        exact=True,
        options=merged(options),
        files=(path,),
        notes=tuple(notes),
    )


def _option(root: str, line: Line) -> tuple[tuple[str, ...], str | None]:
    option = split_option(line)
    if option.name in ("--requirement", "--constraint", "--editable"):
        raise UsageError(f"{line.place}: {line.text!r} has no place in a lock.")
    return as_uv_flags(root, line, option)


def _exact(line: Line, parts: Parts) -> str:
    """The line without marker and extras: all that an extra brings has a line of its own."""
    location = parts.location or ""
    if parts.is_vcs:
        git_line(location, line.place)  # a full commit, or an error
        return f"{parts.spelled} @ {location}"
    digests = [digest for digest in parts.hashes if re.fullmatch(r"sha256:[0-9a-fA-F]{64}", digest)]
    if not digests:
        raise UsageError(
            f"{line.place}: {parts.spelled} has no --hash=sha256:..., so it would not be certain "
            "what is installed. Make the lock anew with `reprorun lock`."
        )
    hashes = "".join(f" --hash={digest}" for digest in digests)
    if location:
        return f"{parts.spelled} @ {location}{hashes}"
    if not re.fullmatch(r"\s*===?\s*[^\s,*]+\s*", parts.versions):
        raise UsageError(
            f"{line.place}: {parts.spelled}{parts.versions} is no exact version. "
            "Make the lock anew with `reprorun lock`."
        )
    return f"{parts.spelled}{parts.versions.strip()}{hashes}"
