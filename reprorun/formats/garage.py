"""Records that garage wrote: metadata.json, variant.json and the launch archive, nothing else.

garage (2020.06 to 2021.03) kept no arguments, no packages and no working directory. What it kept is
read here as data; nothing of it is unpickled, imported or formatted into anything.
"""

from __future__ import annotations

import json
import os
import re
import reprlib
import stat
from datetime import datetime, timezone
from typing import Any

from reprorun.errors import RecordError
from reprorun.files import digest_of, sha256_of
from reprorun.model import Value

METADATA = "metadata.json"
VARIANT = "variant.json"
ARCHIVE = "launch_archive.tar.xz"
_RUN = "run.json"  # of reprorun's own records

LARGEST = 16 << 20  # bytes of a JSON file
FAR = 90 * 24 * 3600  # seconds between the code and the record that make one look again
_GITHASH = re.compile(r"([0-9a-f]{7,64})(-dirty)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN = 60  # characters of a record's text in a message


class GarageRecord(Value, frozen=True, kw_only=True):
    """What a log directory of garage's says."""

    id: str  # made from its content: garage gave none
    githash: str | None  # as written
    commit: str | None  # without -dirty
    dirty: bool
    launcher: str  # relative to the root of the repository
    variant: dict[str, Any] | None  # parameters of the call, as far as JSON holds them
    archive: str | None  # path; None where there is none
    archive_sha256: str | None
    date: str  # ISO day, UTC, of the newest file that the run wrote
    date_of: str  # that file, relative to the log directory
    newest: float  # its time, in seconds since 1970
    notes: tuple[str, ...] = ()


def is_garage_record(log_dir: str) -> bool:
    """Whether a directory looks like a log directory of garage's, and not of reprorun's."""
    there = (os.path.lexists(os.path.join(log_dir, name)) for name in (METADATA, _RUN))
    return tuple(there) == (True, False)


def read_garage_record(log_dir: str, *, archive_needed: bool = True) -> GarageRecord:
    """Read a record that garage wrote.

    Args:
        log_dir: its log directory.
        archive_needed: whether it is an error that there is no launch archive; it is none where
            the code comes from a repository.

    Raises:
        RecordError: a file is missing, is no regular file, or does not hold what garage writes.
    """
    metadata_text = _read(log_dir, METADATA)
    if metadata_text is None:
        raise RecordError(f"{log_dir} is no record of garage's: it has no {METADATA}.")
    metadata = _object(metadata_text, os.path.join(log_dir, METADATA))
    launcher = _launcher(metadata, log_dir)
    commit, dirty = _commit(metadata, log_dir)
    variant_text = _read(log_dir, VARIANT)
    archive = _archive(log_dir, commit, needed=archive_needed)
    sha256 = _digest(archive) if archive else None
    newest, date, date_of = _newest(log_dir)
    return GarageRecord(
        id=f"garage-{_identity(metadata_text, variant_text, sha256)}",
        githash=metadata.get("githash"),
        commit=commit,
        dirty=dirty,
        launcher=launcher,
        variant=_variant(variant_text, log_dir),
        archive=archive,
        archive_sha256=sha256,
        date=date,
        date_of=date_of,
        newest=newest,
        notes=_notes(commit, dirty, archive),
    )


def date_note(record: GarageRecord, newest_in_archive: float) -> str | None:
    """A line where the record's files are much younger than its code: copied, perhaps.

    Args:
        record: the record.
        newest_in_archive: time of the archive's newest member, in seconds since 1970.
    """
    if record.newest - newest_in_archive <= FAR:
        return None
    return (
        f"the packages are those of {record.date}, the day of {_shown(record.date_of)}; the code "
        "is much older. If the record was copied without its times, name the day with --as-of"
    )


# ---------------------------------------------------------------- files


def _read(log_dir: str, name: str) -> bytes | None:
    """The bytes of a regular file; None where there is none."""
    path = os.path.join(log_dir, name)
    if not _is_there(path):
        return None
    try:
        # neither goes where a link leads nor waits for the writer of a pipe that came since
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error.strerror or error}.") from error
    if len(data) > LARGEST:
        raise RecordError(f"{path} is larger than {LARGEST >> 20} MiB: garage wrote no such file.")
    return data


def _is_there(path: str) -> bool:
    """Whether there is a file. Raises RecordError for a link, a pipe or whatever else it may be."""
    if not os.path.lexists(path):
        return False
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise RecordError(f"{path} is not a regular file.")
    return True


def _archive(log_dir: str, commit: str | None, *, needed: bool) -> str | None:
    path = os.path.join(log_dir, ARCHIVE)
    if _is_there(path):
        return path
    if needed:
        raise RecordError(f"{log_dir} has no {ARCHIVE}. {_from_repository(commit)}")
    return None


def _digest(path: str) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error.strerror or error}.") from error


def _newest(log_dir: str) -> tuple[float, str, str]:
    """Time, day and name of the newest file; of several, the first by name."""
    newest: tuple[float, str, str] | None = None
    for path in _regular_files(log_dir):
        moment = os.lstat(path).st_mtime
        if newest and moment <= newest[0]:
            continue
        try:
            day = datetime.fromtimestamp(moment, timezone.utc).date().isoformat()
        except (ValueError, OverflowError, OSError):  # a time that no calendar has
            continue
        newest = moment, day, os.path.relpath(path, log_dir)
    if newest is None:
        raise RecordError(f"the files in {log_dir} have no times that could be a day.")
    return newest


def _regular_files(directory: str) -> list[str]:
    found = []
    for path, below, names in os.walk(directory):
        below.sort()
        full = (os.path.join(path, name) for name in sorted(names))
        found += [each for each in full if stat.S_ISREG(os.lstat(each).st_mode)]
    return found


# ---------------------------------------------------------------- what they hold


def _object(text: bytes, path: str, *, numbers_of_python: bool = False) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=None if numbers_of_python else _no_json)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise RecordError(f"{path} is not JSON: {reason}.") from error
    if not isinstance(found, dict):
        raise RecordError(f"{path} holds no JSON object, but {_shown(found)}.")
    return found


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _variant(text: bytes | None, log_dir: str) -> dict[str, Any] | None:
    if text is None:
        return None
    # garage wrote infinities and NaN as Python's json does
    return _object(text, os.path.join(log_dir, VARIANT), numbers_of_python=True)


def _launcher(metadata: dict[str, Any], log_dir: str) -> str:
    """The launcher, which has to be a plain relative path; what else it is made of is no matter."""
    path, launcher = os.path.join(log_dir, METADATA), metadata.get("launcher")
    if launcher is None:
        raise RecordError(f"{path} names no launcher: the run was started without a script.")
    if not isinstance(launcher, str) or not launcher:
        raise RecordError(f"{path}: the launcher is {_shown(launcher)}, not the path of a script.")
    if _CONTROL.search(launcher) or not _is_utf8(launcher):
        raise RecordError(f"{path}: the launcher {_shown(launcher)} can't be the path of a script.")
    if launcher.startswith("/"):
        raise RecordError(
            f"{path}: the launcher {_shown(launcher)} lay outside any git repository, and garage "
            "kept no code of such runs: there is nothing to re-run. Run the script with `exec`."
        )
    if os.path.normpath(launcher) != launcher or launcher.split("/")[0] in (".", ".."):
        raise RecordError(f"{path}: the launcher {_shown(launcher)} leads out of its repository.")
    return launcher


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _commit(metadata: dict[str, Any], log_dir: str) -> tuple[str | None, bool]:
    githash = metadata.get("githash")
    if githash is None:
        return None, False
    found = _GITHASH.fullmatch(githash) if isinstance(githash, str) else None
    if found is None:
        raise RecordError(
            f"{os.path.join(log_dir, METADATA)}: the githash {_shown(githash)} is no git commit."
        )
    return found[1], bool(found[2])


def _identity(metadata: bytes, variant: bytes | None, archive_sha256: str | None) -> str:
    there = "variant" if variant is not None else "no variant"
    return digest_of("garage 1", metadata, there, variant or b"", archive_sha256 or "")[:16]


def _notes(commit: str | None, dirty: bool, archive: str | None) -> tuple[str, ...]:
    if dirty and archive is None:
        return (f"the run had changes on top of {commit}, which are lost: there is no {ARCHIVE}",)
    return ()


def _from_repository(commit: str | None) -> str:
    """What can be done where the archive does not help."""
    if commit is None:
        return "No commit is recorded either, so the code can't be had."
    return f"--repo PATH_OR_URL takes the code from commit {commit[:12]} instead."


def _shown(value: object) -> str:
    """A value of the record for a message: short, on one line."""
    short = reprlib.Repr()  # neither deeper nor longer than fits
    short.maxstring = _SHOWN
    return short.repr(value)
