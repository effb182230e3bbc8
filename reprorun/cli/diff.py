"""Differences between a launch archive and its commit in words, for `reprorun show --diff`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from reprorun.cli.text import printable

if TYPE_CHECKING:
    from reprorun.workflow.code_changes import CodeChange
    from reprorun.workflow.code_diff import CodeSummary

_COLORS = {"+": "green", "-": "red", "@": "cyan"}


def print_change(change: CodeChange) -> None:
    """Print one difference: a line that names the file, and the lines of it that differ."""
    facts = f" ({', '.join(change.facts)})" if change.facts else ""
    _print(f"{change.kind:<8} {change.path}{facts}", bold=True)
    for line in change.patch:
        _print(line, _COLORS.get(line[:1]))


def print_summary(summary: CodeSummary) -> None:
    """Print what was compared, and what could not be."""
    for line in _summary(summary):
        _print(line)


def _summary(summary: CodeSummary) -> Iterator[str]:
    for note in summary.notes:
        yield f"note: {note}"
    what = f"the commit {summary.commit} (in {summary.repository})"
    if summary.changes:
        number = f"{summary.changes} file{'s' * (summary.changes > 1)}"
        yield f"The archive differs from {what} in {number}."
    else:
        yield f"The archive does not differ from {what}."


def _print(line: str, color: str | None = None, *, bold: bool = False) -> None:
    # a tab does no harm; all else that is not to be seen is made visible
    text = "\t".join(printable(part) for part in line.split("\t"))
    colored = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    click.echo(click.style(text, fg=color, bold=bold or None) if colored else text)
