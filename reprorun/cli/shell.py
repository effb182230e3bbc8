"""`reprorun shell RECORD [-- COMMAND...]`."""

from __future__ import annotations

from typing import Any

import click

from reprorun.cli.engines import with_engine
from reprorun.cli.options import HELP, limits_of
from reprorun.cli.rerun import with_changes


@click.command("shell", context_settings=HELP)
@click.argument("record", metavar="RECORD")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND]...")
@with_changes
@click.option("--rebuild", is_flag=True,
              help="Make the images anew; build the record's Dockerfile, too.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print only what the shell prints.")
@with_engine
@click.option("-v", "--verbose", is_flag=True, help="Print every step of the build.")
def shell_command(**given: Any) -> int:
    """Open a shell in the container as the record's run saw it, for finding out.

    The code, packages, variables, inputs, limits and network are the run's, but for what the flags
    change. The log directory is a scratch one, as the run found it; the record is at /record,
    read-only. COMMAND behind -- is run in place of the shell. Nothing is kept. The exit code is the
    shell's.
    """
    import os
    import sys

    from reprorun.cli.engines import chosen_engine
    from reprorun.cli.report import make_reporter
    from reprorun.cli.rerun import changes_of
    from reprorun.cli.running import interrupts_as_ctrl_c
    from reprorun.workflow.shell import shell
    from reprorun.workflow.terminal import Streams

    changes = changes_of({**given, "args": ()})
    limits = limits_of(given["archive_limits"])
    connect = chosen_engine(given["engine"])
    # what was closed when we started may be anything by now
    streams = Streams() if sys.stdin else Streams(stdin=os.open(os.devnull, os.O_RDONLY))
    interrupts_as_ctrl_c()
    report = make_reporter(quiet=given["quiet"], verbose=given["verbose"], json=False)
    try:
        return shell(
            *(given["record"], given["command"], changes, os.getcwd(), limits),
            *(connect, report, streams),
        )
    finally:
        report.close()
