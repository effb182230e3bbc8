"""`reprorun sweep SCRIPT --grid K=V,...`: many runs, told apart by their parameters."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from reprorun.cli.clusters import on_cluster, with_place
from reprorun.cli.engines import with_engine
from reprorun.cli.launching import spec_of, with_launch
from reprorun.cli.options import HELP, with_options
from reprorun.errors import UsageError

if TYPE_CHECKING:
    from reprorun.cli.shown import Shown
    from reprorun.sweeps.values import Head, PointsSpec
    from reprorun.workflow.sweep import Swept

MANY = 20_000  # runs; more are asked about first
_KEPT_BY_SWEEP = frozenset({"name", "log_dir"})
_POINTS = frozenset({"grid", "zipped", "from_file"})
_SAMPLE = frozenset({"sample", "sample_seed"})
_OF_THE_LAUNCH = frozenset({
    "params", "inputs", "base_image", "file", "lock", "python", "platform", "as_of", "gpus",
    "memory", "cpus", "shm_size", "timeout", "numerics", "force_cpu", "rebuild", "args",
})  # fmt: skip


with_points = with_options(
    click.option("--grid", multiple=True, metavar="KEY=VALUES",
                 help="Every combination: seed=0..9, lr=0.1,0.01 (JSON values)."),
    click.option("--zip", "zipped", multiple=True, metavar="KEY=VALUES",
                 help="Values that go hand in hand with those of other --zip."),
    click.option("--from-file", metavar="FILE", help="Parameters as JSON objects, one a line."),
    click.option("--sample", type=click.IntRange(min=1), metavar="N",
                 help="N of all these runs, chosen at random."),
    click.option("--sample-seed", type=int, default=0, metavar="SEED",
                 help="Chooses them (default: 0)."),
)  # fmt: skip
"""Decorates a command with the flags that say which runs there are."""


@click.command("sweep", context_settings=HELP)
@click.argument("script", required=False, metavar="[SCRIPT]")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGS]...")
@with_points
@click.option("-P", "--param", "params", multiple=True, metavar="KEY=VALUE",
              help="A parameter that all runs share (JSON value).")  # fmt: skip
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N",
              help="Runs at once, at most (default: what the resources allow).")  # fmt: skip
@click.option("--resume", metavar="DIR", help="Go on with a sweep: run what is not finished.")
@click.option("--retries", type=click.IntRange(min=0), default=2, metavar="N",
              help="Of a run that the engine or its machine failed (default: 2).")  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Retry runs that fail by themselves, too.")
@click.option("--max-failures", type=click.IntRange(min=1), metavar="N",
              help="Begin no other run when N have failed.")  # fmt: skip
@click.option("--runs-per-gpu", type=click.IntRange(min=1), default=1, metavar="N",
              help="Runs that may share a GPU (default: 1).")  # fmt: skip
@with_place
@click.option("--html", metavar="FILE", help="Write a page with plots and a table.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask, however many runs there are.")
@click.option("--name", metavar="NAME", help="Name of the sweep (default: the script's).")
@click.option("--log-dir", metavar="DIR",
              help="Where to keep it (default: data/local/sweep/NAME).")  # fmt: skip
@with_engine
@with_launch
@click.option("--dry-run", is_flag=True, help="Print the runs and a plan; start nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print sweep.json on stdout at the end.")
@click.option("-q", "--quiet", is_flag=True, help="Print only what goes wrong.")
@click.option("-v", "--verbose", is_flag=True, help="Print every step.")
@click.pass_context
def sweep_command(context: click.Context, /, **given: Any) -> int:
    """Run a launcher many times, side by side, each time with other parameters.

    The parameters, those of -P too, go to the wrapped function, as with `exec -P`; where an
    argument behind -- holds {KEY}, it takes the value instead. One image serves all runs; each
    keeps a record of its own in the sweep's directory, beside sweep.json and sweep.csv. --resume
    DIR goes on with the code and environment that the sweep was given last; with SCRIPT, with
    those of now.

    The exit code is 0 when every run is finished, 1 when some are not, 2 for wrong usage, 125 when
    the engine or the build failed, 130 when interrupted.
    """
    _refuse_contradictions(given, _flags(context))
    request = _request(given) if given["script"] else _resumption(given, _flags(context))
    if given["dry_run"]:
        return _dry_run(request, given)
    _confirm(request.points, given["yes"])
    return _run(request, given)


# ---------------------------------------------------------------- flags


def _flags(context: click.Context) -> frozenset[str]:
    """The names of the flags that were given."""
    source = click.core.ParameterSource.COMMANDLINE
    return frozenset(n for n in context.params if context.get_parameter_source(n) is source)


def _refuse_contradictions(given: dict[str, Any], flags: frozenset[str]) -> None:
    if not given["script"] and given["resume"] is None:
        raise UsageError("name the SCRIPT to run, or a sweep to go on with: --resume DIR.")
    if given["resume"] is not None and flags & _KEPT_BY_SWEEP:
        raise UsageError("--resume names the sweep's directory: leave --name and --log-dir.")
    odd = sorted(flags & _OF_THE_LAUNCH) if not given["script"] else []
    if odd:
        flag = {"params": "-P", "inputs": "--input"}.get(odd[0], "--" + odd[0].replace("_", "-"))
        raise UsageError(
            f"{flag} changes what is run, and --resume DIR goes on with what the sweep had. "
            "Give SCRIPT beside --resume to run it as it is now."
        )
    on_cluster(given)
    if given["place"] == "ray" and given["secrets"]:
        raise UsageError(
            "--secret offers a file of this machine, which the nodes of a cluster have not. Pass "
            "it as a variable: -e KEY."
        )
    if given["html"] is not None:
        from reprorun.cli.check_reports import refuse_unwritable

        refuse_unwritable({"html": given["html"], "junit_xml": None})


def _request(given: dict[str, Any]) -> Any:
    from reprorun.workflow.sweep import SweepRequest

    spec = spec_of(given)
    return SweepRequest(
        spec=spec,
        points=_points(given, spec.params),
        runs_per_gpu=given["runs_per_gpu"],
        policy=_policy(given),
        here=given["place"] != "ray",
    )


def _resumption(given: dict[str, Any], flags: frozenset[str]) -> Any:
    from reprorun import settings
    from reprorun.cli.options import parse_env
    from reprorun.cli.secrets import bare_names
    from reprorun.model import Changes
    from reprorun.sweeps.book import read_book
    from reprorun.workflow.sweep import Resumption

    kept = read_book(given["resume"]).head
    return Resumption(
        points=_points_again(given, flags, kept),
        changes=Changes(
            env=parse_env(given["env"]),
            passed=bare_names(given["env"]),
            secrets=given["secrets"],
            offline=given["offline"],
            network=settings.of_flags({"network": given["network"]}).get("network"),
        ),
        runs_per_gpu=given["runs_per_gpu"],
        policy=_policy(given),
        here=given["place"] != "ray",
    )


def _points_again(given: dict[str, Any], flags: frozenset[str], kept: Head) -> PointsSpec:
    """The points of a sweep that is gone on with: those that it had, unless flags say others."""
    from msgspec.structs import replace

    from reprorun.sweeps.points import Points

    if flags & _POINTS:
        anew: PointsSpec = _points(given, kept.params)
        return anew
    if not flags & _SAMPLE:
        return kept.points
    sample = given["sample"] if "sample" in flags else kept.points.sample
    sampled = replace(kept.points, sample=sample, sample_seed=given["sample_seed"])
    Points(sampled)  # raises where there are fewer
    return sampled


def _points(given: dict[str, Any], common: dict[str, Any]) -> Any:
    from reprorun.sweeps.grid_text import parse_points

    points, notes = parse_points(
        given["grid"],
        given["zipped"],
        given["from_file"],
        sample=given["sample"],
        sample_seed=given["sample_seed"],
        common=common,
    )
    for note in notes:
        click.echo(f"reprorun: note: {note}", err=True)
    _refuse_secrets(points)
    return points


def _refuse_secrets(points: Any) -> None:
    from reprorun.cli.secrets import refuse_secret_params

    for flag, params in (("--grid", points.grid), ("--zip", points.zipped)):
        refuse_secret_params(params, flag)
    for row in points.listed:
        refuse_secret_params(row, "--from-file")


def _policy(given: dict[str, Any]) -> Any:
    from reprorun.workflow.drive import Policy

    return Policy(
        retries=given["retries"],
        retry_failed=given["retry_failed"],
        max_failures=given["max_failures"],
    )


def _confirm(points: Any, yes: bool) -> None:
    from reprorun.sweeps.points import Points

    count = len(Points(points))
    if count <= MANY or yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"that is {count:,} runs. If they are all meant, say so with --yes.")
    click.confirm(f"That is {count:,} runs. Begin?", abort=True, err=True)


# ---------------------------------------------------------------- a dry run


def _dry_run(request: Any, given: dict[str, Any]) -> int:
    """The names of the runs, and how the first of them would be run."""
    from reprorun.cli.sweep_dry import show_plan, show_rest

    return show_plan(request, given) if given["script"] else show_rest(request, given)


# ---------------------------------------------------------------- the runs


def _run(request: Any, given: dict[str, Any]) -> int:
    from reprorun.cli.running import interrupts_as_ctrl_c, recover_first
    from reprorun.cli.shown import Shown

    interrupts_as_ctrl_c()
    recover_first(given)
    shown = Shown(quiet=given["quiet"], verbose=given["verbose"])
    try:
        swept = _swept(request, given, shown)
    finally:
        shown.close()
    _tell(swept, given)
    if swept.interrupted:
        raise KeyboardInterrupt
    if swept.error:
        raise swept.error
    return swept.exit_code


def _swept(request: Any, given: dict[str, Any], shown: Shown) -> Swept:
    from reprorun.cli.engines import chosen_engine, directory_of
    from reprorun.workflow.here import here
    from reprorun.workflow.sweep import resume_sweep, run_sweep

    directory = directory_of(request.spec) if given["script"] else None
    connect = chosen_engine(given["engine"], directory)
    if given["place"] == "ray":
        from reprorun.cluster import on_ray

        make_runner = on_ray(
            given["address"],
            given["registry"],
            given["jobs"],
            shown.report,
            shown.note,
            given["verbose"],
        )
    else:
        make_runner = here(connect, shown.of, given["jobs"], shown.report)
    if given["resume"] is None:
        return run_sweep(request, connect, make_runner, shown.begin, shown.report)
    return resume_sweep(
        given["resume"], request, os.getcwd(), connect, make_runner, shown.begin, shown.report
    )


def _tell(swept: Swept, given: dict[str, Any]) -> None:
    from reprorun.cli.sweep_end import say_end

    if given["html"]:
        from reprorun.cli.sweep_end import write_page

        write_page(given["html"], swept)
    say_end(swept, as_json=given["as_json"])
