"""`reprorun exec SCRIPT [ARGS...]`."""

from __future__ import annotations

from typing import Any

import click

from reprorun.cli.engines import directory_of, with_engine
from reprorun.cli.launching import spec_of, with_launch
from reprorun.cli.options import HELP


@click.command("exec", context_settings={**HELP, "allow_interspersed_args": False})
@click.argument("script", metavar="SCRIPT")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
@click.option("-P", "--param", "params", multiple=True, metavar="KEY=VALUE",
              help="Override a parameter of the wrapped function (JSON value).")  # fmt: skip
@click.option("--name", metavar="NAME", help="Name of the run (default: the script's).")
@click.option("--log-dir", metavar="DIR",
              help="Where to keep the record (default: data/local/experiment/NAME).")  # fmt: skip
@with_engine
@with_launch
@click.option("--dry-run", is_flag=True, help="Print the Dockerfile and command; start nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print only what the experiment prints.")
@click.option("-v", "--verbose", is_flag=True, help="Print every step of the build.")
def exec_command(**given: Any) -> int:
    """Run a launcher script in a container and keep the record.

    Everything behind SCRIPT is the script's own. The exit code is the experiment's; 2 for wrong
    usage, 124 after --timeout, 125 when the engine or the build failed, 130 when interrupted.
    """
    spec = spec_of(given)
    if given["dry_run"]:
        return _dry_run(spec, given)
    from reprorun.cli.engines import chosen_engine, is_local
    from reprorun.cli.running import finish_run
    from reprorun.workflow.connecting import connecting

    if is_local(given["engine"], directory_of(spec)):
        from reprorun.workflow.unisolated import execute_unisolated

        return finish_run(given, lambda report: execute_unisolated(spec, report))
    with connecting(chosen_engine(given["engine"], directory_of(spec))) as reached:
        from reprorun.workflow.exec import execute  # meanwhile

        return finish_run(given, lambda report: execute(spec, reached, report))


def _dry_run(spec: Any, given: dict[str, Any]) -> int:
    from reprorun.cli.dry_run import plan_as_json, plan_as_text
    from reprorun.cli.engines import chosen_engine
    from reprorun.workflow.exec import dry_run

    plan = dry_run(spec, chosen_engine(given["engine"], directory_of(spec)))
    click.echo(plan_as_json(plan) if given["as_json"] else plan_as_text(plan), nl=False)
    return 0
