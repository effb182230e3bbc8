"""What is said of a sweep that is gone on with: what is finished, and how that was made.

`sweep.json` knows of code and environment; inputs, variables, network and numerics are in the
records.
"""

from __future__ import annotations

import os

import msgspec
from msgspec.structs import astuple, replace

from reprorun import files, store
from reprorun.differences import find_differences
from reprorun.errors import RecordError
from reprorun.model import Difference
from reprorun.plan import redact
from reprorun.sweeps.book import Book, Kept
from reprorun.workflow.prepared import Prepared
from reprorun.workflow.report import Reporter

_NAMED = 5  # differences; the others are counted
_BY_NAME = ("variables", "secrets")  # their values are nobody's business


def tell_what_is_done(book: Book, kept: Kept, report: Reporter) -> None:
    """Say how many runs are finished, and whether code and environment are other ones now.

    Args:
        book: of the sweep as it is now.
        kept: its `sweep.json` as it was.
        report: told.
    """
    done = _done(book)
    report.step("resuming", f"{len(done)} of {len(book.entries)} runs are finished")
    if kept.head.environment_digest != book.head.environment_digest:
        report.note("the environment is another than before: runs that were made in that one "
                    "do not count")  # fmt: skip
    elif done and kept.head.archive_sha256 != book.head.archive_sha256:
        report.note("the code is another than before: the runs that are finished were made with "
                    "the old one")  # fmt: skip


def tell_differences(book: Book, launch: Prepared, report: Reporter) -> None:
    """Say what else tells the runs that are finished from those that follow.

    Every record is looked into, few are read: mostly, all were made alike.

    Args:
        book: of the sweep as it is now.
        launch: what the other runs are made with.
        report: told.
    """
    count, texts = 0, dict[str, None]()
    known: dict[tuple[bytes, ...] | None, tuple[Difference, ...]] = {}
    for name in _done(book):
        log_dir = os.path.join(book.directory, name)
        made = _made(log_dir)
        if made is None or made not in known:
            known[made] = _differences(log_dir, launch)
        count += bool(known[made])
        texts.update(dict.fromkeys(map(_in_words, known[made])))
    if count:
        more = [f"{len(texts) - _NAMED} more"] if len(texts) > _NAMED else []
        report.note(
            f"{count} of the finished runs were made otherwise than those that follow: "
            f"{', '.join([*list(texts)[:_NAMED], *more])}. They count all the same; a new sweep, "
            "with another --log-dir, makes all alike"
        )


def _done(book: Book) -> list[str]:
    return [entry.log_dir for entry in book.entries if entry.status == "finished" and entry.log_dir]


class _Made(msgspec.Struct):
    """All that `_differences` goes by, as it stands in `run.json`."""

    inputs: msgspec.Raw = msgspec.Raw()
    environment: msgspec.Raw = msgspec.Raw()
    secrets: msgspec.Raw = msgspec.Raw()
    network: msgspec.Raw = msgspec.Raw()
    numerics: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Made)


def _made(log_dir: str) -> tuple[bytes, ...] | None:
    """How a run was made, to be laid beside others; None where it can't be told so quickly."""
    path = os.path.join(log_dir, store.RUN_FILE)
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            found = _decoder.decode(files.read_bounded(file))
    except (OSError, ValueError, RecursionError):
        return None
    return tuple(map(bytes, astuple(found)))


def _differences(log_dir: str, launch: Prepared) -> tuple[Difference, ...]:
    """In what a run would differ if it were made now, as far as the user asks for it."""
    spec = launch.spec
    try:
        record = store.read_record(log_dir)
    except RecordError:
        return ()  # damaged since; `sweep.json` says how the run ended, and no more is known
    now = replace(
        record,
        inputs=launch.sources.inputs,
        environment=redact(spec.env, spec.passed),
        secrets=tuple(secret.id for secret in spec.secrets),
        network=spec.network,
        numerics=spec.numerics,
    )
    return find_differences(record, now)


def _in_words(difference: Difference) -> str:
    if difference.what.split(":")[0] in _BY_NAME:
        return difference.what
    return f"{difference.what} ({difference.original}, now {difference.now})"
