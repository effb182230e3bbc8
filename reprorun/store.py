"""Records on disk: claiming a log directory, reading and writing `run.json`, listing outputs."""

from __future__ import annotations

import filecmp
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from reprorun import files
from reprorun.errors import RecordError, UsageError
from reprorun.experiment.sparse import too_sparse
from reprorun.json_text import refuse_too_many
from reprorun.model import SCHEMA, LeftOut, Output, Record

RUN_FILE = "run.json"
METADATA_FILE = "metadata.json"
VARIANT_FILE = "variant.json"
ARCHIVE_FILE = "launch_archive.tar.xz"
LOCK_FILE = "requirements.lock"
CONSOLE_FILE = "console.log"
DOCKERFILE = "Dockerfile"
OUTPUTS = "outputs"
RESERVE_FILE = ".reprorun-reserve.tmp"  # a name that is no output and no part of the code

# what a command is given in its log directory: of run_experiment, too large to pass; of --function
FUNCTION_FILE = "function_data.json"
PAYLOADS = frozenset({"args_data.b64", "variant_data.b64", FUNCTION_FILE})

OURS = PAYLOADS | frozenset(
    {RUN_FILE, METADATA_FILE, VARIANT_FILE, ARCHIVE_FILE, LOCK_FILE, CONSOLE_FILE, DOCKERFILE}
)


# ---------------------------------------------------------------- the log directory


def claim_log_dir(path: str) -> str:
    """Make the log directory, or the first of `path_1`, `path_2`, ... that is not taken.

    Only one of several processes gets each name.

    Raises:
        UsageError: it can't be made.
    """
    number = 0
    while True:
        candidate = f"{path}_{number}" if number else path
        try:
            os.makedirs(candidate)
            return candidate
        except FileExistsError:
            number += 1
        except OSError as error:
            raise _not_writable(path, error) from error


def use_log_dir(path: str) -> str:
    """Make exactly this log directory; it may exist when it is empty.

    Of several processes one gets it: the one that makes the file that sets space aside.

    Raises:
        UsageError: it can't be made, or holds something.
    """
    try:
        os.makedirs(path, exist_ok=True)
        if not os.listdir(path) and _claim(os.path.join(path, RESERVE_FILE)):
            return path
    except OSError as error:
        raise _not_writable(path, error) from error
    raise UsageError(
        f"the log directory {path} is not empty. A record is never written over: name "
        "another with --log-dir, or none to have one made."
    )


def _claim(path: str) -> bool:
    """Make a file; false when somebody else has."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        return False
    return True


def _not_writable(path: str, error: OSError) -> UsageError:
    return UsageError(
        f"the log directory {path} can't be written: {error.strerror or error}. "
        "Name one that can with --log-dir."
    )


# ---------------------------------------------------------------- run.json


def write_record(log_dir: str, record: Record) -> None:
    """Write `run.json` beside and rename it, synced: it is whole whenever a machine dies."""
    files.write(os.path.join(log_dir, RUN_FILE), record_text(record).encode())


def record_text(record: Record) -> str:
    """`run.json` as text. ASCII: file names that are no UTF-8 stand in it as lone surrogates."""
    return json.dumps(msgspec.to_builtins(record), indent=2) + "\n"


def read_record(log_dir: str) -> Record:
    """Read a record.

    Raises:
        RecordError: there is none, it is damaged, or it is of a newer schema.
    """
    return _as_record(read_raw_record(log_dir), log_dir)


def read_raw_record(log_dir: str) -> dict[str, Any]:
    """`run.json` as it stands, with the fields of newer versions that `Record` does not have."""
    path = os.path.join(log_dir, RUN_FILE)
    if not os.path.isfile(path):  # a pipe in its place would be waited for
        raise RecordError(f"{log_dir} is no record: it has no {RUN_FILE}.")
    try:
        with open(path, "rb") as file:
            text = files.read_bounded(file)
        refuse_too_many(text)
        data = json.loads(text.decode(), parse_constant=_no_json)
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path} can't be read: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("reprorun"), dict):
        raise RecordError(f"{path} was not written by reprorun: it has no 'reprorun' mark.")
    return data


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _as_record(data: dict[str, Any], log_dir: str) -> Record:
    schema = data["reprorun"].get("schema")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise RecordError(
            f"the record {log_dir} has schema {schema!r}; this reprorun reads up to {SCHEMA}. "
            "Install a newer reprorun."
        )
    try:
        return msgspec.convert(data, Record)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # a lone surrogate as a key
        raise RecordError(f"the record {log_dir} is damaged: {error}") from error


def find_records(directory: str) -> Iterator[str]:
    """The log directories at and below `directory`, sorted; nothing inside a record is searched."""
    for path, below, names in os.walk(directory):
        if RUN_FILE in names:
            below.clear()
            yield path
        # what is on its way from another machine is none yet
        below[:] = sorted(name for name in below if not files.is_unfinished(name))


def json_schema() -> str:
    """The JSON Schema of `run.json`."""
    schema = msgspec.json.schema(Record)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2) + "\n"


# ---------------------------------------------------------------- what a run leaves


def list_outputs(log_dir: str) -> tuple[tuple[Output, ...], tuple[LeftOut, ...]]:
    """Every file of a record that the run itself made, hashed; and what is no regular file."""
    outputs: list[Output] = []
    not_kept: list[LeftOut] = []
    archive = os.path.join(log_dir, ARCHIVE_FILE)
    for path in _walk(log_dir):
        name = os.path.relpath(path, log_dir)
        if name in OURS or _is_archive(path, archive):
            continue
        if os.path.islink(path) or not os.path.isfile(path):
            not_kept.append(LeftOut(path=name, reason="not a regular file"))
        else:
            _make_readable(path, os.R_OK, 0o600)
            found = os.stat(path)
            if reason := too_sparse(path, found):
                not_kept.append(LeftOut(path=name, reason=reason))
            else:
                outputs.append(Output(path=name, size=found.st_size, sha256=files.sha256_of(path)))
    return tuple(outputs), tuple(not_kept)


def _walk(log_dir: str) -> Iterator[str]:
    for path, below, names in os.walk(log_dir):
        below.sort()
        links = [name for name in below if os.path.islink(os.path.join(path, name))]
        for name in set(below).difference(links):
            _make_readable(os.path.join(path, name), os.R_OK | os.X_OK, 0o700)
        for name in names:
            _drop_setuid(os.path.join(path, name))
        for name in sorted([*names, *links]):
            if not files.is_unfinished(name):
                yield os.path.join(path, name)


def _is_archive(path: str, archive: str) -> bool:
    """Whether it is the launch archive, as each call of a wrapped function has it.

    A copy becomes a link: no link could be made in the container, where the archive is mounted.
    """
    if os.path.basename(path) != ARCHIVE_FILE or not os.path.isfile(archive):
        return False
    if os.path.islink(path) or not os.path.isfile(path):
        return False
    if os.path.samefile(path, archive):
        return True
    if not filecmp.cmp(path, archive, shallow=False):
        return False
    with suppress(OSError):  # a file system without links keeps the copy
        beside = files.unfinished_beside(path)
        os.link(archive, beside)
        os.replace(beside, path)
    return True


def _drop_setuid(path: str) -> None:
    """What is setuid in a log directory would be the caller for everybody on this machine."""
    found = os.lstat(path)
    may_be = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()
    if may_be and found.st_mode & (stat.S_ISUID | stat.S_ISGID):
        os.chmod(path, stat.S_IMODE(found.st_mode) & 0o777)


def _make_readable(path: str, needed: int, mode: int) -> None:
    if not os.access(path, needed):
        os.chmod(path, mode)
