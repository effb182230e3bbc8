"""`reprorun show DIR` of a sweep: what it is, how far it has come, and what failed."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator

from reprorun.cli.text import printable
from reprorun.sweeps.book import Kept, read_book
from reprorun.sweeps.naming import name_of
from reprorun.sweeps.points import Points
from reprorun.sweeps.table import TABLE_FILE

_SHOWN = 20  # runs that are not finished


def describe_sweep(directory: str) -> Iterator[str]:
    """The lines.

    Args:
        directory: of the sweep.

    Raises:
        RecordError: its `sweep.json` is damaged.
    """
    kept = read_book(directory)
    head = kept.head
    yield f"sweep        {printable(shlex.join([head.script, *head.args]))}"
    yield f"status       {_counts(kept)}"
    yield f"began        {printable(head.created)}"
    yield f"ended        {printable(head.ended or 'not yet')}"
    yield f"code         {printable(head.githash or 'no commit')}"
    yield f"environment  {printable(head.environment_digest)}"
    yield f"results      {printable(os.path.join(directory, TABLE_FILE))}"
    rest = [run for run in kept.runs if run.status != "finished"]
    if rest:
        yield "not finished:"
    mixed = Points(head.points).mixed
    for run in rest[:_SHOWN]:
        code = "" if run.exit_code is None else f"  exit code {run.exit_code}"
        name = run.log_dir or name_of(run.params, mixed=mixed)
        yield f"  {run.status:<11}  {printable(name)}{code}"
    if len(rest) > _SHOWN:
        yield f"  and {len(rest) - _SHOWN} more"


def _counts(kept: Kept) -> str:
    counts = Counter(run.status for run in kept.runs)
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{len(kept.runs)} run{'s' * (len(kept.runs) != 1)}: {words or 'none'}"
