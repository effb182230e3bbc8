"""`reprorun rerun RECORD [-- ARGS...]`."""

from __future__ import annotations

from typing import Any

import click

from reprorun.cli.engines import with_engine
from reprorun.cli.options import HELP, limits_of, with_archive_limits, with_options, with_settings
from reprorun.cli.secrets import with_secrets

SETTINGS = (
    *("base-image", "lock", "python", "platform", "as-of", "gpus", "network"),
    *("memory", "cpus", "shm-size", "timeout", "numerics"),
)


with_changes = with_options(
    click.option("-P", "--param", "params", multiple=True, metavar="KEY=VALUE",
                 help="Another value for a parameter (JSON)."),
    click.option("-e", "--env", "env", multiple=True, metavar="KEY[=VALUE]",
                 help="Another value for a variable; a bare KEY passes the host's on."),
    with_secrets,
    click.option("--input", "inputs", multiple=True, metavar="PATH",
                 help="More data, mounted read-only."),
    click.option("--input-root", "input_roots", multiple=True, metavar="DIR",
                 help="Look here for inputs that are not where they were."),
    click.option("--function", metavar="NAME",
                 help="Call this function with the parameters of variant.json."),
    click.option("--shim", type=click.Choice(["garage"]),
                 help="Offer the experiment API under that library's name."),
    click.option("--repo", metavar="PATH_OR_URL",
                 help="Take the code from the commit there, not from the archive."),
    with_settings(SETTINGS),
    click.option("--force-cpu", is_flag=True, help="Use the CPU runtime and hide GPUs."),
    click.option("--allow-newer", is_flag=True,
                 help="For what can't be had any more take the nearest; recorded."),
    click.option("--allow-links", is_flag=True,
                 help="Accept links in the archive that lead out of it."),
    with_archive_limits,
    click.option("--offline", is_flag=True,
                 help="Open no connection; take what is in the cache."),
)  # fmt: skip
"""Decorates a command with the flags that say what to do otherwise than the original."""


@click.command("rerun", context_settings=HELP)
@click.argument("record", metavar="RECORD")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGS]...")
@with_changes
@click.option("--no-args", is_flag=True, help="Give the launcher no arguments.")
@click.option("--name", metavar="NAME", help="Name of the run (default: the record's).")
@click.option("--log-dir", metavar="DIR",
              help="Where to keep it (default: data/local/experiment/NAME).")  # fmt: skip
@click.option("--rebuild", is_flag=True,
              help="Make the images anew; build the record's Dockerfile, too.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the Dockerfile and command; start nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the new record as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print only what the experiment prints.")
@with_engine
@click.option("-v", "--verbose", is_flag=True, help="Print every step of the build.")
def rerun_command(**given: Any) -> int:
    """Run a record again, from the record alone, and keep a new one.

    RECORD is a log directory, one that garage wrote, or a pack. Everything is as it was but what
    the flags change; ARGS behind -- take the place of the launcher's arguments. What differs is
    said before the run and kept. The exit codes are those of exec.
    """
    import os

    changes = changes_of(given)
    limits = limits_of(given["archive_limits"])
    if given["dry_run"]:
        return _dry_run(given, changes, limits, os.getcwd())
    from reprorun.cli.engines import chosen_engine
    from reprorun.cli.running import finish_run
    from reprorun.workflow.rerun import rerun

    connect = chosen_engine(given["engine"])
    return finish_run(
        given,
        lambda report: rerun(given["record"], changes, os.getcwd(), limits, connect, report),
    )


def changes_of(given: dict[str, Any]) -> Any:
    """What the flags change.

    Raises:
        UsageError: flags that contradict each other, or a value that can't be read.
    """
    import os

    from reprorun import settings
    from reprorun.cli.options import cpu_forced, named_twice, parse_env, parse_params, refuse_empty
    from reprorun.cli.secrets import bare_names, refuse_secrets
    from reprorun.model import Changes

    named_twice(given, "name", "log_dir")
    refuse_empty(given, "log_dir", "base_image", "lock", "function", "repo")
    flags = {name: given[name.replace("-", "_")] for name in SETTINGS}
    flags["gpus"] = cpu_forced(given["force_cpu"], flags["gpus"])
    values = settings.of_flags(flags)
    args, params = _args(given), parse_params(given["params"])
    refuse_secrets(params, args or (), given["base_image"])
    return Changes(
        usual_base=settings.usual("base-image", os.getcwd()),
        args=args,
        function=given["function"],
        shim=given["shim"],
        repo=given["repo"],
        params=params,
        env=parse_env(given["env"]),
        passed=bare_names(given["env"]),
        secrets=given["secrets"],
        inputs=given["inputs"],
        input_roots=given["input_roots"],
        name=given.get("name"),
        log_dir=given.get("log_dir"),
        allow_newer=given["allow_newer"],
        allow_links=given["allow_links"],
        rebuild=given.get("rebuild", False),
        offline=given["offline"],
        **values,
    )


def _args(given: dict[str, Any]) -> tuple[str, ...] | None:
    if given.get("no_args") and given["args"]:
        raise click.UsageError("--no-args and ARGS contradict each other.")
    return () if given.get("no_args") else given["args"] or None


def _dry_run(given: dict[str, Any], changes: Any, limits: Any, cwd: str) -> int:
    from reprorun.cli.dry_run import plan_as_json, plan_as_text
    from reprorun.cli.engines import chosen_engine
    from reprorun.cli.report import make_reporter
    from reprorun.workflow.rerun import dry_rerun

    connect = chosen_engine(given["engine"])
    report = make_reporter(quiet=given["quiet"], verbose=given["verbose"], json=True)
    try:
        plan = dry_rerun(given["record"], changes, cwd, limits, connect, report)
    finally:
        report.close()
    click.echo(plan_as_json(plan) if given["as_json"] else plan_as_text(plan), nl=False)
    return 0
