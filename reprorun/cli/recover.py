"""`reprorun recover [DIRECTORY]...`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from reprorun.cli.engines import with_engine
from reprorun.cli.options import HELP

if TYPE_CHECKING:
    from reprorun.workflow.recover import Recovered

LOST = 1


@click.command("recover", context_settings=HELP)
@click.argument("records", nargs=-1, metavar="[DIRECTORY]...")
@with_engine
@click.option("--dry-run", is_flag=True, help="Say what would be done; do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what became of each as a JSON list.")
@click.option("-q", "--quiet", is_flag=True, help="Print only what became of each.")
def recover_command(
    records: tuple[str, ...], engine: str | None, dry_run: bool, as_json: bool, quiet: bool
) -> int:
    """Make the records of killed runs true again, and clean up after them.

    Containers that still run are waited for, and finished into their records; Ctrl-C leaves them
    running. What has ended is brought home; what is gone is marked lost. Nothing is touched that a
    process is at work on. exec, rerun, check and sweep do this by themselves before they begin, but
    for the waiting.

    Runs of this machine are known; name a DIRECTORY where there are records whose notes are gone,
    such as after a power failure. The exit code is 1 where something was lost, 125 where the engine
    does not answer.
    """
    import json

    import msgspec

    from reprorun.cli.engines import chosen_engine
    from reprorun.cli.garbage import check_directories
    from reprorun.cli.report import make_reporter
    from reprorun.workflow.recover import Scope, recover

    check_directories(records)
    report = make_reporter(quiet=quiet, verbose=False, json=as_json)
    scope = Scope(directories=records, dry_run=dry_run)
    try:
        found = _told(recover(scope, chosen_engine(engine), report), as_json=as_json)
    finally:
        report.close()
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
    elif not found:
        click.echo("nothing to recover")
    return LOST if any(each.what == "lost" for each in found) else 0


def _told(found: Iterable[Recovered], *, as_json: bool) -> list[Any]:
    """Each in a line as soon as it is known."""
    all_found = []
    for each in found:
        all_found.append(each)
        if not as_json:
            click.echo(_line(each))
    return all_found


def _line(each: Recovered) -> str:
    import os

    from reprorun.cli.text import near, printable

    name = near(each.name) if os.path.isabs(each.name) else each.name
    return printable(f"{each.what:<12} {name}  {each.text}".rstrip())
