"""`reprorun gc`."""

from __future__ import annotations

from typing import Any

import click

from reprorun.cli.engines import with_engine
from reprorun.cli.options import HELP

SHOWN = 20


@click.command("gc", context_settings=HELP)
@click.argument("records", nargs=-1, metavar="[DIRECTORY]...")
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@click.option("--all", "of_others", is_flag=True,
              help="On the engine, also what no run of yours has used.")  # fmt: skip
@with_engine
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON list.")
@click.option("-v", "--verbose", is_flag=True, help="Name everything.")
def gc_command(
    records: tuple[str, ...],
    engine: str | None,
    dry_run: bool,
    of_others: bool,
    as_json: bool,
    verbose: bool,
) -> int:
    """Remove images, containers and cached files that no record needs.

    Records that were made on this machine by this user are known; name a DIRECTORY where there are
    others, such as copied ones. On the engine, only what a run of yours has used is removed; with
    --all, what others have made, too, and what killed builds have left: see that nobody is at work.
    What is removed can be had again, from the index or by building. An image that was built from
    apt.txt or --file may come out otherwise then: `reprorun pack` keeps it.
    """
    import msgspec

    from reprorun import files
    from reprorun.cli.engines import chosen_engine
    from reprorun.workflow.garbage import find_garbage, remove

    check_directories(records)
    connect = chosen_engine(engine)
    talking = connect()
    try:
        with files.cache_lock(exclusive=True):
            everything = find_garbage(records, talking)
            found = [entry for entry in everything if entry.ours or of_others]
            if not dry_run:
                remove(found, talking, lambda text: click.echo(f"reprorun: note {text}", err=True))
    finally:
        talking.close()
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        _say(found, dry_run, verbose)
        _say_of_others(len(everything) - len(found))
    return 0


def check_directories(records: tuple[str, ...]) -> None:
    """Raise UsageError for what is no directory."""
    import os

    from reprorun.errors import UsageError

    for place in records:
        if not os.path.isdir(place):
            raise UsageError(f"{place!r} is no directory; name one that holds records.")


def _say_of_others(number: int) -> None:
    if number:
        click.echo(f"{number} on the engine that no run of yours has used; --all removes them, too")


def _say(found: list[Any], dry_run: bool, verbose: bool) -> None:
    from reprorun.cli.text import printable, size

    shown = found if verbose else sorted(found, key=lambda entry: -entry.size)[:SHOWN]
    for entry in shown:
        click.echo(printable(f"{entry.kind:<12} {size(entry.size):>10}  {entry.name}"))
    if len(found) > len(shown):
        click.echo(f"and {len(found) - len(shown)} more; -v names them")
    freed = size(sum(entry.size for entry in found))
    done = "would be removed" if dry_run else "removed"
    click.echo(f"{len(found)} {done}, {freed}" if found else "nothing to remove")
