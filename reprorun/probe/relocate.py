"""Finding a record's inputs again: where they were, or elsewhere, and unchanged in any case."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from reprorun.errors import RecordError
from reprorun.model import WORKSPACE, InputFile
from reprorun.probe.inputs import describe_input, is_reserved


def find_again(
    inputs: Sequence[InputFile], roots: Sequence[str] = (), copies: Mapping[str, str] | None = None
) -> tuple[InputFile, ...]:
    """The inputs of a record as they are found now; taken only where the digest is the same.

    Each is looked for among the copies, at its recorded path, and below each root: at its path in
    the repository, at its recorded path, or by its name.

    Args:
        inputs: as the record names them.
        roots: directories to look in, absolute.
        copies: target -> path of a copy, verified.

    Raises:
        RecordError: naming all that are missing or changed, or that would be mounted where the
            container has its own files.
    """
    _refuse_targets(inputs)
    found, wrong = [], []
    for entry in inputs:
        copy = (copies or {}).get(entry.target)
        if copy:
            found.append(msgspec.structs.replace(entry, path=copy))
            continue
        path, reason = _find(entry, roots)
        if path is None:
            wrong.append(f"{entry.path}: {reason}")
        else:
            found.append(msgspec.structs.replace(entry, path=path))
    if wrong:
        raise RecordError(_message(wrong, bool(roots)))
    return tuple(found)


def _refuse_targets(inputs: Sequence[InputFile]) -> None:
    seen: set[str] = set()
    for entry in inputs:
        target = entry.target
        if os.path.normpath(target) != target or not target.startswith("/") or target[1:2] == "/":
            raise RecordError(f"the record has an input at {target!r}, which is no place for one.")
        if not target.startswith(f"{WORKSPACE}/") and is_reserved(target):
            raise RecordError(
                f"the record has an input at {target!r}, where the container has its own files."
            )
        if target in seen:
            raise RecordError(f"the record has two inputs at {target!r}.")
        seen.add(target)


def _find(entry: InputFile, roots: Sequence[str]) -> tuple[str | None, str]:
    """The path where it is unchanged; else None and what was found instead."""
    changed = None
    for path in _places(entry, roots):
        if not (os.path.isfile(path) or os.path.isdir(path)):
            continue
        try:
            odd = _odd_content(path)
            if odd:
                changed = changed or f"{path} holds {odd}, which no digest covers"
                continue
            now = describe_input(path, entry.target)
        except OSError as error:
            changed = changed or f"{path} can't be read ({error.strerror})"
            continue
        if now.sha256 == entry.sha256:
            return path, ""
        was = entry.sha256[:12]
        changed = changed or f"{path} has changed (sha256 {now.sha256[:12]}, was {was})"
    return None, changed or "not found"


def _odd_content(path: str) -> str | None:
    """What of a directory its digest says nothing of: a socket in it would lead out."""
    if not os.path.isdir(path):
        return None
    empty = True
    for directory, below, names in os.walk(path):
        empty = empty and not names
        for name in (*names, *below):
            mode = os.lstat(os.path.join(directory, name)).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                return "something that is no file"
    return "no file" if empty and os.listdir(path) else None


def _places(entry: InputFile, roots: Sequence[str]) -> Iterator[str]:
    yield entry.path
    for root in roots:
        if entry.target.startswith(f"{WORKSPACE}/"):
            yield os.path.join(root, entry.target[len(WORKSPACE) + 1 :])
        for name in dict.fromkeys((entry.path, entry.target)):
            yield os.path.join(root, name.lstrip("/"))
            yield os.path.join(root, os.path.basename(name))


def _message(wrong: Sequence[str], looked: bool) -> str:
    lines = "\n".join(f"  {line}" for line in wrong)
    number = len(wrong)
    what = "an input" if number == 1 else f"{number} inputs"
    elsewhere = "Name another" if looked else "Name the"
    return (
        f"{what} of the record can't be had as recorded:\n{lines}\n"
        f"{elsewhere} directory to look in with --input-root DIR."
    )
