"""What is said at the end of a sweep: how its runs ended, where they are, what can be done."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import click

from reprorun.cli.check_reports import write_report
from reprorun.cli.text import near, printable

if TYPE_CHECKING:
    from reprorun.workflow.sweep import Swept

_ORDER = ("finished", "failed", "lost", "interrupted", "planned", "running")
_WORDS = {"planned": "not begun"}


def say_end(swept: Swept, *, as_json: bool) -> None:
    """Print it: on stdout, or with `as_json` on stderr beside `sweep.json` on stdout."""
    from reprorun.errors import UsageError
    from reprorun.sweeps.book import SWEEP_FILE

    directory = near(swept.book.directory)
    total, counts = len(swept.book.entries), swept.counts
    ends = ", ".join(
        f"{counts[status]} {_WORDS.get(status, status)}" for status in _ORDER if counts[status]
    )
    click.echo(f"{total} run{'s' * (total != 1)}: {ends}", err=as_json)
    click.echo(f"{'sweep':<9} {printable(directory)}", err=as_json)
    if counts["finished"] < total and not isinstance(swept.error, UsageError):
        again = shlex.join(["reprorun", "sweep", "--resume", directory])
        click.echo(f"{'go on':<9} {printable(again)}", err=as_json)
    if as_json:
        sys.stdout.flush()
        with open(os.path.join(swept.book.directory, SWEEP_FILE), encoding="utf-8") as file:
            for line in file:
                sys.stdout.write(line)


def write_page(path: str, swept: Swept) -> None:
    """Write the page with plots and a table.

    Raises:
        UsageError: it can't be written.
    """
    from datetime import datetime, timezone

    from reprorun.report.sweep_page import page
    from reprorun.sweeps.table import read_results

    book = swept.book
    results = read_results(book.directory, book.rows(), reasons=True)
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    write_report(path, page(book.head, results, name=near(book.directory), made=made).encode())
