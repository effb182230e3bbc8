"""`reprorun ls` and `reprorun show RECORD`: looking at records."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from reprorun.cli.options import HELP, limits_of, with_archive_limits
from reprorun.cli.text import duration, printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reprorun.errors import RecordError, UsageError
    from reprorun.model import Record
    from reprorun.record_index import Summary

DEFAULT_DIRECTORY = "data/local"


@click.command("ls", context_settings=HELP)
@click.argument("directories", nargs=-1, metavar="[DIR]...")
@click.option("--rerun-of", metavar="RECORD",
              help="List the re-runs of a record (log directory or id), and theirs.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the records as a JSON list.")
def ls_command(directories: tuple[str, ...], rerun_of: str | None, as_json: bool) -> None:
    """List the records below DIR (default: data/local).

    With --rerun-of the records that this machine knows are listed too, wherever they lie. Runs that
    were cut short when reprorun was killed stand as running until `reprorun recover` looks at them.
    """
    if rerun_of is None and not as_json:
        _print_table(_summarize_all(directories))
        return
    found = _read_all(directories) if rerun_of is None else _read_reruns(rerun_of, directories)
    if as_json:
        _print_json(found)
    else:
        from reprorun.record_index import summarize

        _print_table([(os.path.relpath(path), summarize(record)) for path, record in found])


def _summarize_all(directories: tuple[str, ...]) -> list[tuple[str, Summary]]:
    """The records, each with its path from here; the oldest first."""
    from reprorun.record_index import Summary, list_records

    found = []
    for directory in _given(directories):
        near = os.path.relpath(directory)
        for place, said in list_records(directory):
            if isinstance(said, Summary):
                found.append((_below(near, place), said))
            else:
                _tell(said)
    return sorted(found, key=lambda entry: entry[1].created)


def _below(near: str, place: str) -> str:
    """The path from here of what lies at `place` in a directory that is at `near`."""
    if not place or near == ".":
        return place or near
    if near.endswith(".."):  # from there the way may lead back to here
        return os.path.relpath(os.path.join(near, place))
    return f"{near}/{place}"  # quicker, and there may be many


def _read_all(directories: tuple[str, ...]) -> list[tuple[str, Record]]:
    """The whole records, the oldest first."""
    from reprorun.errors import RecordError
    from reprorun.store import find_records, read_record

    found = []
    for directory in _given(directories):
        for path in find_records(directory):
            try:
                found.append((path, read_record(path)))
            except RecordError as error:
                _tell(error)
    return sorted(found, key=lambda entry: entry[1].created)


def _given(directories: tuple[str, ...]) -> Iterator[str]:
    """The directories to look through, the default one where none was named."""
    for directory in directories or (DEFAULT_DIRECTORY,):
        if os.path.isdir(directory):
            yield directory
        elif directories:
            raise _no_directory(directory)
        else:
            click.echo(f"reprorun: no records yet: there is no {directory} here.", err=True)


def _tell(error: RecordError) -> None:
    click.echo(f"reprorun: {printable_lines(str(error))}", err=True)


def _no_directory(directory: str) -> UsageError:
    from reprorun.errors import UsageError

    return UsageError(f"{directory} is no directory; name one that holds records.")


def _read_reruns(original: str, directories: tuple[str, ...]) -> list[tuple[str, Record]]:
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


_OPEN = ("created", "building", "running", "lost")
_HEADER = ("RECORD", "STATUS", "EXIT", "CREATED (UTC)", "TOOK", "COMMIT", "COMMAND")


def _print_json(found: list[tuple[str, Record]]) -> None:
    import json

    import msgspec

    rows = [{"path": path, **msgspec.to_builtins(record)} for path, record in found]
    click.echo(json.dumps(rows, indent=2))


def _print_table(found: list[tuple[str, Summary]]) -> None:
    """All in one piece: there may be a hundred thousand lines."""
    if not found:
        return
    lines = [_HEADER, *(_row(path, summary) for path, summary in found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    layout = "  ".join(f"{{:{width}}}" for width in widths)
    click.echo("\n".join(layout.format(*line).rstrip() for line in lines))
    _tell_of_left({summary.status for _, summary in found})


def _tell_of_left(statuses: set[str]) -> None:
    """A line where a run that stands as under way may be in nobody's hands any more."""
    from reprorun.held import is_any_left

    if statuses.intersection(_OPEN) and is_any_left():
        click.echo(
            "reprorun: not all of these are under way: a command was killed, or lost its engine; "
            "`reprorun recover` makes their records true.",
            err=True,
        )


def _row(path: str, summary: Summary) -> tuple[str, ...]:
    return (
        printable(path),
        summary.status,
        "" if summary.exit_code is None else str(summary.exit_code),
        printable(summary.created[:19].replace("T", " ")),
        "" if summary.seconds is None else duration(summary.seconds),
        printable(_short(summary.githash)),
        printable(summary.command),
    )


def _short(githash: str | None) -> str:
    if githash is None:
        return "-"
    commit, dash, dirty = githash.partition("-")
    return commit[:8] + dash + dirty


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
    """Say what a record holds: what ran, on what, how it ended, and what it left.

    RECORD is a log directory or a pack, or the directory of a sweep: then how far that has come.
    """
    from reprorun.cli.show import files_of
    from reprorun.sweeps.book import is_sweep

    if as_diff and as_json:
        raise click.UsageError("--diff and --json are two ways to show a record; choose one.")
    if repo is not None and not as_diff:
        raise click.UsageError("--repo is for --diff.")
    if is_sweep(record) and not as_diff:
        _show_sweep(record, as_json)
        return
    with files_of(record) as log_dir:
        if as_diff:
            _show_diff(log_dir, repo, archive_limits)
        elif as_json:
            _show_json(log_dir)
        else:
            _show(record, log_dir)


def _show(path: str, log_dir: str) -> None:
    from reprorun.cli.show import describe
    from reprorun.store import read_record
    from reprorun.workflow.lineage import trace

    found = read_record(log_dir)
    for line in describe(path, log_dir, found, trace(path, found)):
        click.echo(line)


def _show_json(log_dir: str) -> None:
    import json

    from reprorun.store import read_raw_record

    click.echo(json.dumps(read_raw_record(log_dir), indent=2))


def _show_sweep(directory: str, as_json: bool) -> None:
    import os

    from reprorun.cli.show_sweep import describe_sweep
    from reprorun.sweeps.book import SWEEP_FILE

    if as_json:
        with open(os.path.join(directory, SWEEP_FILE), encoding="utf-8") as file:
            click.echo(file.read(), nl=False)
        return
    for line in describe_sweep(directory):
        click.echo(line)


def _show_diff(log_dir: str, repo: str | None, archive_limits: str | None) -> None:
    from reprorun.cli.diff import print_change, print_summary
    from reprorun.workflow.code_diff import compare_code

    print_summary(compare_code(log_dir, repo, print_change, limits_of(archive_limits)))
