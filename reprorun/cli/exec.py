"""`reprorun exec SCRIPT [ARGS...]`."""

from __future__ import annotations

from typing import Any

import click

from reprorun.cli.options import HELP, SETTINGS, with_settings


@click.command("exec", context_settings={**HELP, "allow_interspersed_args": False})
@click.argument("script", metavar="SCRIPT")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
@click.option("-P", "--param", "params", multiple=True, metavar="KEY=VALUE",
              help="Override a parameter of the wrapped function (JSON value).")  # fmt: skip
@click.option("-e", "--env", "env", multiple=True, metavar="KEY[=VALUE]",
              help="Set a variable; a bare KEY passes the host's value on.")  # fmt: skip
@click.option("--input", "inputs", multiple=True, metavar="PATH",
              help="Data that is mounted read-only and recorded by digest.")  # fmt: skip
@click.option("--name", metavar="NAME", help="Name of the run (default: the script's).")
@click.option("--log-dir", metavar="DIR",
              help="Where to keep the record (default: data/local/experiment/NAME).")  # fmt: skip
@with_settings(tuple(SETTINGS))
@click.option("--force-cpu", is_flag=True, help="Use the CPU runtime and hide GPUs.")
@click.option("--rebuild", is_flag=True, help="Resolve the packages and build the images anew.")
@click.option("--offline", is_flag=True, help="Open no connection; take what is in the cache.")
@click.option("--dry-run", is_flag=True, help="Print the Dockerfile and command; start nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print only what the experiment prints.")
@click.option("-v", "--verbose", is_flag=True, help="Print every step of the build.")
def exec_command(**given: Any) -> int:
    """Run a launcher script in a container and keep the record.

    Everything behind SCRIPT is the script's own. The exit code is the experiment's; 2 for wrong
    usage, 124 after --timeout, 125 when the engine or the build failed, 130 when interrupted.
    """
    spec = _spec(given)
    if given["dry_run"]:
        return _dry_run(spec, given["as_json"])
    from reprorun.cli.running import finish_run
    from reprorun.engine import connect
    from reprorun.workflow.exec import execute

    return finish_run(given, lambda report: execute(spec, connect, report))


def _spec(given: dict[str, Any]) -> Any:
    import os

    from reprorun import settings
    from reprorun.cli.options import (
        cpu_forced,
        named_twice,
        parse_env,
        parse_params,
        refuse_empty,
    )
    from reprorun.errors import UsageError
    from reprorun.model import RunSpec

    named_twice(given, "name", "log_dir")
    if given["file"] is not None and given["base_image"] is not None:
        raise UsageError("--file and --base-image both name the base image; give one of them.")
    refuse_empty(given, "log_dir", "base_image", "file", "lock")
    cwd = os.getcwd()
    flags = {name: given[name.replace("-", "_")] for name in SETTINGS}
    flags["gpus"] = cpu_forced(given["force_cpu"], flags["gpus"])
    directory = os.path.dirname(os.path.realpath(os.path.join(cwd, given["script"])))
    return RunSpec(
        script=given["script"],
        args=given["args"],
        cwd=cwd,
        name=given["name"],
        log_dir=given["log_dir"],
        params=parse_params(given["params"]),
        env=parse_env(given["env"]),
        inputs=given["inputs"],
        rebuild=given["rebuild"],
        offline=given["offline"],
        **settings.resolve(flags, directory),
    )


def _dry_run(spec: Any, as_json: bool) -> int:
    from reprorun.cli.dry_run import plan_as_json, plan_as_text
    from reprorun.engine import connect
    from reprorun.workflow.exec import dry_run

    plan = dry_run(spec, connect)
    click.echo(plan_as_json(plan) if as_json else plan_as_text(plan), nl=False)
    return 0
