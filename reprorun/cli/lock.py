"""`reprorun lock SCRIPT`."""

from __future__ import annotations

from typing import Any

import click

from reprorun.cli.engines import with_engine
from reprorun.cli.options import HELP, with_settings

SETTINGS = ("base-image", "file", "lock", "python", "as-of")


@click.command("lock", context_settings=HELP)
@click.argument("script", metavar="SCRIPT")
@click.option("-o", "--output", metavar="FILE",
              help="Where to write it, - for stdout (default: beside what decides).")  # fmt: skip
@with_settings(SETTINGS)
@click.option("--rebuild", is_flag=True, help="Resolve anew, also where the answer is known.")
@click.option("--offline", is_flag=True, help="Open no connection; take what is in the cache.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
@with_engine
@click.option("-v", "--verbose", is_flag=True, help="Print every step.")
def lock_command(**given: Any) -> int:
    """Resolve the packages of a launcher script and write the lock; run nothing.

    Each package is locked with version and hash, for the Python and the platform of the base
    image. `reprorun exec --lock FILE SCRIPT` takes exactly those.
    """
    import os

    from reprorun import settings
    from reprorun.cli.engines import chosen_engine
    from reprorun.cli.report import make_reporter
    from reprorun.model import RunSpec
    from reprorun.workflow.lock import lock_script, write_lock

    cwd = os.getcwd()
    flags = {name: given[name.replace("-", "_")] for name in SETTINGS}
    directory = os.path.dirname(os.path.realpath(os.path.join(cwd, given["script"])))
    spec = RunSpec(
        script=given["script"],
        cwd=cwd,
        rebuild=given["rebuild"],
        offline=given["offline"],
        **settings.resolve(flags, directory),
    )
    connect = chosen_engine(given["engine"], directory)
    to_stdout = given["output"] == "-"
    report = make_reporter(quiet=given["quiet"], verbose=given["verbose"], json=to_stdout)
    try:
        locked = lock_script(spec, connect, report)
        if not to_stdout:
            path = write_lock(locked, spec, given["output"])
            report.step("lock", f"{os.path.relpath(path)}: {locked.count}; use it with --lock")
    finally:
        report.close()
    if to_stdout:
        click.echo(locked.text, nl=False)
    return 0
