"""What there is to be packed: the files of a record and of an input, with their digests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from reprorun import files
from reprorun.errors import RecordError
from reprorun.model import InputFile, LeftOut, Value

_SHOWN = 10  # names in a message


class FoundFile(Value, frozen=True, kw_only=True):
    """A regular file."""

    path: str  # relative
    source: str  # on the host
    sha256: str
    executable: bool


def record_files(log_dir: str) -> tuple[tuple[FoundFile, ...], tuple[LeftOut, ...]]:
    """The files of a record, and what is none. Links are not followed.

    Raises:
        OSError: something can't be read.
    """
    found: list[FoundFile] = []
    left_out: list[LeftOut] = []
    for path, source in _walk(log_dir):
        if os.path.islink(source) or not os.path.isfile(source):
            left_out.append(LeftOut(path=path, reason="not a regular file"))
        elif not files.is_unfinished(path):
            found.append(_described(path, source))
    return tuple(found), tuple(left_out)


def input_files(directory: str) -> tuple[FoundFile, ...]:
    """The files of an input that is a directory, as its digest is made of them.

    Raises:
        OSError: something can't be read.
    """
    places = [(path, source) for path, source in _walk(directory) if os.path.isfile(source)]
    return tuple(_described(path, source) for path, source in sorted(places))


def directory_digest(those: Sequence[tuple[str, str]]) -> str:
    """The digest of an input that is a directory.

    Args:
        those: path and sha256 of its files.
    """
    return files.digest_of(*(part for each in sorted(those) for part in each))


def check_record(found: Sequence[FoundFile], wanted: Sequence[tuple[str, str]]) -> None:
    """Refuse a record whose files are not what it says.

    Args:
        found: its files.
        wanted: path and sha256 of those that it names.

    Raises:
        RecordError: naming those that are missing or changed.
    """
    there = {file.path: file.sha256 for file in found}
    wrong = [
        f"{path} ({'has changed' if path in there else 'is missing'})"
        for path, sha256 in wanted
        if there.get(path) != sha256
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise RecordError(
            f"files of the record are not what it says: {', '.join(wrong[:_SHOWN])}{more}.\n"
            "Pack a copy that nobody has worked in, or run it again and pack the new record."
        )


def check_input(wanted: InputFile, found: Sequence[FoundFile]) -> None:
    """Refuse a directory that has changed since it was looked at.

    Raises:
        RecordError: it has.
    """
    if directory_digest([(file.path, file.sha256) for file in found]) != wanted.sha256:
        raise RecordError(f"the input {wanted.path} has changed while it was packed. Try again.")


def _described(path: str, source: str) -> FoundFile:
    return FoundFile(
        path=path,
        source=source,
        sha256=files.sha256_of(source),
        executable=bool(os.stat(source).st_mode & 0o100),
    )


def _walk(root: str) -> Iterator[tuple[str, str]]:
    """All that is no directory below one: relative and whole paths."""
    for directory, below, names in os.walk(root, onerror=_raise):
        below.sort()
        links = [name for name in below if os.path.islink(os.path.join(directory, name))]
        for name in sorted([*names, *links]):
            source = os.path.join(directory, name)
            yield os.path.relpath(source, root), source


def _raise(error: OSError) -> None:
    raise error
