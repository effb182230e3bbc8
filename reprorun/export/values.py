"""What a record says, made fit for JSON that others read: times, texts and names are checked.

A record may come from anybody, so nothing in it is taken for what it should be.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from reprorun.errors import RecordError
from reprorun.model import Package, Value

DEEPEST = 100  # levels of a parameter
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class KeptFile(Value, frozen=True, kw_only=True):
    """A file of a record, as it was found to be."""

    path: str  # relative to the record
    size: int  # bytes
    sha256: str
    what: str = ""  # in words; "" for an output
    given: bool = False  # the run was made from it


def plain(value: Any, levels: int = DEEPEST) -> Any:
    """A value of a record as strict JSON has it.

    Raises:
        RecordError: it is nested too deep.
    """
    if levels == 0:
        raise RecordError(f"the record holds values nested deeper than {DEEPEST} levels.")
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {text(str(key)): plain(each, levels - 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, levels - 1) for each in value]
    return value


def text(value: str) -> str:
    """A text that UTF-8 can hold: bytes of a name that is not UTF-8 are shown as such."""
    return value.encode("utf-8", "backslashreplace").decode()


def moment(value: str, *, digits: str, zone: str) -> str:
    """A time of a record in UTC.

    Args:
        value: in ISO 8601, with a zone.
        digits: "seconds", "milliseconds" or "microseconds".
        zone: how to write UTC.

    Raises:
        RecordError: it is no time.
    """
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is None:
            raise ValueError(value)
        utc = found.astimezone(timezone.utc).replace(tzinfo=None)
        return utc.isoformat(timespec=digits) + zone
    except (ValueError, OverflowError) as error:
        raise RecordError(f"the record has a time that is none: {text(value)[:40]!r}.") from error


def sha256(digest: str, what: str) -> str:
    """A digest, checked.

    Raises:
        RecordError: it is none.
    """
    if not _SHA256.fullmatch(digest):
        raise RecordError(f"the record has a sha256 of {what} that is none: {text(digest)[:70]!r}.")
    return digest


def commit_of(githash: str | None) -> str | None:
    """The commit of a githash; None where there is none.

    Raises:
        RecordError: it is no commit.
    """
    if githash is None:
        return None
    commit = githash.removesuffix("-dirty")
    if not _COMMIT.fullmatch(commit):
        raise RecordError(f"the record has a commit that is none: {text(githash)[:70]!r}.")
    return commit


def package_uri(package: Package) -> str:
    """A package's address of the kind that names it wherever it comes from (a purl)."""
    name, version = quote(text(package.name), safe=""), quote(text(package.version), safe="")
    return f"pkg:pypi/{name}@{version}"


def record_uri(run_id: str) -> str:
    """A name for a record that no other thing has."""
    return f"urn:reprorun:record:{quote(text(run_id), safe='')}"
