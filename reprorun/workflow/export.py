"""`reprorun export`: a record in a form that others read. The record itself is left alone."""

from __future__ import annotations

import json
import os
from typing import Any

from reprorun import files, store
from reprorun.errors import UsageError
from reprorun.export import ro_crate, slsa
from reprorun.export.crate import describe_run
from reprorun.export.files import find_others, find_outputs
from reprorun.formats.garage import is_garage_record
from reprorun.model import Record

_ENDED = ("finished", "failed", "interrupted", "lost")


def export_crate(log_dir: str, target: str | None) -> str:
    """Write a record as a Process Run Crate.

    Args:
        log_dir: the record.
        target: a directory to be made, or a zip file; None: NAME.crate here.

    Returns:
        Where the crate is.

    Raises:
        RecordError: the record is not what it claims to be.
        UsageError: the target is there, or can't be; or a package is missing.
    """
    ro_crate.check_library()
    record = _read(log_dir)
    name = os.path.basename(os.path.realpath(log_dir))
    target = _free(f"{name}.crate" if target is None else target, log_dir)
    outputs, others = find_outputs(log_dir, record), find_others(log_dir, record)
    metadata = ro_crate.crate_metadata(describe_run(record, outputs, others))
    try:
        ro_crate.write_crate(log_dir, (*others, *outputs), metadata, target)
    except OSError as error:
        raise _not_writable(target, error) from error
    return target


def export_statement(log_dir: str) -> dict[str, Any]:
    """A record as an in-toto Statement with SLSA provenance.

    Raises:
        RecordError: the record is not what it claims to be.
        UsageError: the run left nothing that could be vouched for.
    """
    record = _read(log_dir)
    return slsa.statement(record, find_outputs(log_dir, record), find_others(log_dir, record))


def write_statement(statement: dict[str, Any], log_dir: str, target: str) -> None:
    """Write a statement to a file that does not exist yet.

    Raises:
        UsageError: it is there, or can't be.
    """
    _free(target, log_dir)
    try:
        files.write(target, statement_text(statement).encode())
    except OSError as error:
        raise _not_writable(target, error) from error


def statement_text(statement: dict[str, Any]) -> str:
    """A statement as JSON."""
    return json.dumps(statement, indent=2, allow_nan=False) + "\n"


def _read(log_dir: str) -> Record:
    if is_garage_record(log_dir):
        raise UsageError(
            f"garage wrote {log_dir}, and kept too little to be exported. "
            "`reprorun rerun` makes a full record of it."
        )
    record = store.read_record(log_dir)
    if record.status not in _ENDED:
        raise UsageError(f"the run of {log_dir} is {record.status}; export it when it has ended.")
    return record


def _free(target: str, log_dir: str) -> str:
    """The target, unless something is there or it lies in the record."""
    if not target:
        raise UsageError("-o is empty; name what is to be written (was a variable not set?).")
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already; name another with -o.")
    inside, record = os.path.realpath(target), os.path.realpath(log_dir)
    if inside.startswith(f"{record}/"):
        raise UsageError(f"{target} lies in the record, which is left as it is; name another.")
    return target


def _not_writable(target: str, error: OSError) -> UsageError:
    return UsageError(
        f"{target} can't be written: {error.strerror or error}. Name another with -o."
    )
