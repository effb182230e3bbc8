"""`reprorun doctor`: what works on this machine, what doesn't, how to mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reprorun.cli.engines import with_engine
from reprorun.cli.options import HELP

if TYPE_CHECKING:
    from reprorun.workflow.doctor import Check

_MARKS = {"good": "ok", "bad": "MISSING", "poor": "note"}


@click.command("doctor", context_settings=HELP)
@with_engine
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON list.")
def doctor_command(engine: str | None, as_json: bool) -> int:
    """Say what works on this machine, what doesn't, and how to mend it.

    The exit code is 0 when experiments can run, 1 when something that they need is missing.
    """
    import json
    import os

    import msgspec

    from reprorun import settings
    from reprorun.cli.engines import chosen_engine
    from reprorun.model import RunSpec
    from reprorun.workflow.doctor import examine

    cwd = os.getcwd()
    spec = RunSpec(script="", cwd=cwd, **settings.resolve({}, cwd))
    checks = examine(spec, chosen_engine(engine, cwd))
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(check) for check in checks], indent=2))
    else:
        for check in checks:
            _say(check)
    return 1 if any(check.state == "bad" for check in checks) else 0


def _say(check: Check) -> None:
    from reprorun.cli.text import printable

    click.echo(f"{_MARKS[check.state]:<8} {check.name:<14} {printable(check.found)}")
    if check.mend:
        click.echo(f"{'':<8} {'':<14} -> {printable(check.mend)}")
