"""`reprorun ls` and `reprorun show RECORD`: looking at records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reprorun.cli.options import HELP

if TYPE_CHECKING:
    from reprorun.model import Record

DEFAULT_DIRECTORY = "data/local"


@click.command("ls", context_settings=HELP)
@click.argument("directories", nargs=-1, metavar="[DIR]...")
@click.option("--json", "as_json", is_flag=True, help="Print the records as a JSON list.")
def ls_command(directories: tuple[str, ...], as_json: bool) -> None:
    """List the records below DIR (default: data/local)."""
    import json

    import msgspec

    found = list(_read_all(directories or (DEFAULT_DIRECTORY,), explicit=bool(directories)))
    if as_json:
        rows = [{"path": path, **msgspec.to_builtins(record)} for path, record in found]
        click.echo(json.dumps(rows, indent=2))
        return
    for line in _table([_row(path, record) for path, record in found]):
        click.echo(line)


def _read_all(directories: tuple[str, ...], *, explicit: bool) -> list[tuple[str, Record]]:
    import os

    from reprorun.cli.text import printable_lines
    from reprorun.errors import RecordError, UsageError
    from reprorun.store import find_records, read_record

    found = []
    for directory in directories:
        if not os.path.isdir(directory):
            if explicit:
                raise UsageError(f"{directory} is no directory; name one that holds records.")
            click.echo(f"reprorun: no records yet: there is no {directory} here.", err=True)
        for path in find_records(directory):
            try:
                found.append((path, read_record(path)))
            except RecordError as error:
                click.echo(f"reprorun: {printable_lines(str(error))}", err=True)
    return sorted(found, key=lambda entry: entry[1].created)


_HEADER = ("RECORD", "STATUS", "EXIT", "CREATED (UTC)", "TOOK", "COMMIT", "COMMAND")


def _row(path: str, record: Record) -> tuple[str, ...]:
    import os
    import shlex

    from reprorun.cli.text import duration, printable

    return (
        printable(os.path.relpath(path)),
        record.status,
        "" if record.exit_code is None else str(record.exit_code),
        printable(record.created[:19].replace("T", " ")),
        "" if record.seconds is None else duration(record.seconds),
        printable(_short(record.githash)),
        printable(shlex.join(record.argv)),
    )


def _short(githash: str | None) -> str:
    if githash is None:
        return "-"
    commit, dash, dirty = githash.partition("-")
    return commit[:8] + dash + dirty


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    lines = [_HEADER, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


@click.command("show", context_settings=HELP)
@click.argument("record", metavar="RECORD")
@click.option("--json", "as_json", is_flag=True, help="Print run.json as it stands.")
def show_command(record: str, as_json: bool) -> None:
    """Say what a record holds: what ran, on what, how it ended, and what it left."""
    import json

    from reprorun.cli.show import describe
    from reprorun.store import read_raw_record, read_record

    if as_json:
        click.echo(json.dumps(read_raw_record(record), indent=2))
        return
    for line in describe(record, read_record(record)):
        click.echo(line)
