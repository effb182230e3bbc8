"""`reprorun ls` and `reprorun show RECORD`: looking at records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reprorun.cli.options import HELP, limits_of, with_archive_limits

if TYPE_CHECKING:
    from reprorun.errors import UsageError
    from reprorun.model import Record

DEFAULT_DIRECTORY = "data/local"


@click.command("ls", context_settings=HELP)
@click.argument("directories", nargs=-1, metavar="[DIR]...")
@click.option("--rerun-of", metavar="RECORD",
              help="List the re-runs of a record (log directory or id), and theirs.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the records as a JSON list.")
def ls_command(directories: tuple[str, ...], rerun_of: str | None, as_json: bool) -> None:
    """List the records below DIR (default: data/local).

    With --rerun-of the records that this machine knows are listed too, wherever they lie.
    """
    import json

    import msgspec

    if rerun_of is None:
        found = _read_all(directories or (DEFAULT_DIRECTORY,), explicit=bool(directories))
    else:
        found = _read_reruns(rerun_of, directories)
    if as_json:
        rows = [{"path": path, **msgspec.to_builtins(record)} for path, record in found]
        click.echo(json.dumps(rows, indent=2))
        return
    for line in _table([_row(path, record) for path, record in found]):
        click.echo(line)


def _read_all(directories: tuple[str, ...], *, explicit: bool) -> list[tuple[str, Record]]:
    import os

    from reprorun.cli.text import printable_lines
    from reprorun.errors import RecordError
    from reprorun.store import find_records, read_record

    found = []
    for directory in directories:
        if not os.path.isdir(directory):
            if explicit:
                raise _no_directory(directory)
            click.echo(f"reprorun: no records yet: there is no {directory} here.", err=True)
        for path in find_records(directory):
            try:
                found.append((path, read_record(path)))
            except RecordError as error:
                click.echo(f"reprorun: {printable_lines(str(error))}", err=True)
    return sorted(found, key=lambda entry: entry[1].created)


def _no_directory(directory: str) -> UsageError:
    from reprorun.errors import UsageError

    return UsageError(f"{directory} is no directory; name one that holds records.")


def _read_reruns(original: str, directories: tuple[str, ...]) -> list[tuple[str, Record]]:
    import os

    from reprorun.cli.text import printable
    from reprorun.store import find_records
    from reprorun.workflow.lineage import find_reruns, record_id

    beside = {os.path.dirname(os.path.realpath(original))} if os.path.isdir(original) else set()
    # the default directory is no record's, so it is looked through where it is there
    for directory in directories or (DEFAULT_DIRECTORY,):
        if directories and not os.path.isdir(directory):
            raise _no_directory(directory)
        beside.update(os.path.dirname(os.path.realpath(path)) for path in find_records(directory))
    kin = find_reruns(record_id(original), sorted(beside))
    if not kin:
        click.echo(f"reprorun: no re-runs of {printable(original)} are known.", err=True)
    return [(entry.log_dir, entry.record) for entry in kin if entry.log_dir and entry.record]


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
@click.option("--diff", "as_diff", is_flag=True,
              help="Print what the launch archive had that the commit hasn't.")  # fmt: skip
@click.option("--repo", metavar="PATH_OR_URL",
              help="With --diff: a repository that has the commit (default: this).")  # fmt: skip
@with_archive_limits
def show_command(
    record: str, as_json: bool, as_diff: bool, repo: str | None, archive_limits: str | None
) -> None:
    """Say what a record holds: what ran, on what, how it ended, and what it left."""
    import json

    from reprorun.cli.show import describe
    from reprorun.store import read_raw_record, read_record
    from reprorun.workflow.lineage import trace

    if as_diff and as_json:
        raise click.UsageError("--diff and --json are two ways to show a record; choose one.")
    if repo is not None and not as_diff:
        raise click.UsageError("--repo is for --diff.")
    if as_diff:
        _show_diff(record, repo, archive_limits)
        return
    if as_json:
        click.echo(json.dumps(read_raw_record(record), indent=2))
        return
    found = read_record(record)
    for line in describe(record, found, trace(record, found)):
        click.echo(line)


def _show_diff(record: str, repo: str | None, archive_limits: str | None) -> None:
    from reprorun.cli.diff import print_change, print_summary
    from reprorun.workflow.code_diff import compare_code

    print_summary(compare_code(record, repo, print_change, limits_of(archive_limits)))
