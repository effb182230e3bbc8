"""`reprorun check RECORD...`: run again and compare; one line a record, details of what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from reprorun.cli.check_reports import with_reports
from reprorun.cli.clusters import on_cluster, with_place
from reprorun.cli.compare import with_tolerances
from reprorun.cli.engines import with_engine
from reprorun.cli.options import HELP, limits_of
from reprorun.cli.rerun import with_changes
from reprorun.errors import UsageError

if TYPE_CHECKING:
    from reprorun.cli.check_progress import Progress
    from reprorun.model import Variation
    from reprorun.workflow.check import CheckOptions, RecordCheck

    Checker = Callable[[Sequence[str], CheckOptions, Progress], Iterator[RecordCheck]]

DIFFERENT = 1
_WIDTH = 16


@click.command("check", context_settings=HELP)
@click.argument("records", nargs=-1, required=True, metavar="RECORD...")
@with_tolerances
@click.option("--repeat", type=click.IntRange(1), default=1, metavar="N",
              help="Run each N times (default: 1).")  # fmt: skip
@click.option("-j", "--jobs", type=click.IntRange(1), metavar="N",
              help="Run N records side by side (default: 1; on a cluster what it takes).",
              )  # fmt: skip
@with_place
@click.option("--keep", is_flag=True, help="Keep re-runs that came out the same, too.")
@click.option("--vary", metavar="FACTOR,...|all",
              help="Change circumstances, such as the time zone, to see what matters.")  # fmt: skip
@click.option("--vary-seed", type=int, default=0, metavar="N",
              help="Chooses how they are changed (default: 0); each repeat takes the next.",
              )  # fmt: skip
@click.option("--confirm", type=click.IntRange(2), default=3, metavar="N",
              help="Try what is found out N times, so that it is not by chance (default: 3).",
              )  # fmt: skip
@click.option("--no-blame", is_flag=True, help="Don't find out why a record differs.")
@with_changes
@with_engine
@click.option("--rebuild", is_flag=True,
              help="Make the images anew; build the record's Dockerfile, too.")  # fmt: skip
@with_reports
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code says it.")
@click.option("-v", "--verbose", is_flag=True, help="Print every step, and identical outputs.")
def check_command(**given: Any) -> int:
    """Run records again and compare what comes out with what they hold.

    RECORD is a log directory, a pack, or a directory of them. Exit code 0: all came out the same,
    but for what differs from run to run by its nature and what is within tolerance. 1: one or
    more did not. 2 or 125: one could not be run again. Re-runs that differ are kept below
    data/local/check.
    """
    from reprorun.cli.check_reports import flags_given, refuse_unwritable, write_reports
    from reprorun.workflow.check import find_checkable
    from reprorun.workflow.check_result import result_text

    refuse_unwritable(given)
    options = options_of(given)
    results = _check_all(find_checkable(given["records"]), options, given)
    code = exit_code(results)
    if given["as_json"]:
        click.echo(result_text(results, code))
    elif not given["quiet"] and len(results) > 1:
        click.echo(_sum(results))
    write_reports(results, given, options, flags_given(click.get_current_context()))
    return code


def options_of(given: dict[str, Any]) -> CheckOptions:
    """How records are checked, as the flags say.

    Raises:
        UsageError: flags that contradict each other, or a value that can't be read.
    """
    from reprorun.cli.compare import settings_here
    from reprorun.cli.rerun import changes_of
    from reprorun.vary.applying import parse_wanted
    from reprorun.workflow.check import CheckOptions

    return CheckOptions(
        vary=parse_wanted(given["vary"]) if given["vary"] is not None else (),
        vary_seed=given["vary_seed"],
        blame=not given["no_blame"],
        confirm=given["confirm"],
        changes=changes_of({**given, "args": ()}),
        settings=settings_here(given["rtol"], given["atol"]),
        limits=limits_of(given["archive_limits"]),
        repeat=given["repeat"],
        keep=given["keep"],
    )


def _check_all(
    records: Sequence[str], options: CheckOptions, given: dict[str, Any]
) -> list[RecordCheck]:
    """Check them, and say of each what was found as soon as it is known."""
    from reprorun.cli.check_progress import make_progress
    from reprorun.cli.running import interrupts_as_ctrl_c, recover_first

    checker = _checker(given)
    interrupts_as_ctrl_c()
    recover_first(given)
    results = []
    progress = make_progress(given, len(records))
    try:
        for result in checker(records, options, progress):
            results.append(result)
            progress.done(result.record)
            if not (given["quiet"] or given["as_json"]):
                with progress.paused():
                    for line in describe_check(result, verbose=given["verbose"]):
                        click.echo(line)
    finally:
        progress.close()
    return results


def _checker(given: dict[str, Any]) -> Checker:
    """What checks records where the flags say."""
    import os

    cwd, jobs = os.getcwd(), given["jobs"]
    if on_cluster(given):
        if given["secrets"]:
            raise UsageError("--secret is for this machine's engine, not for --on ray.")
        from reprorun.cluster.ray_check import check_on_ray

        cluster = {name: given[name] for name in ("address", "registry", "verbose")}
        return lambda records, options, progress: check_on_ray(
            records, options, cwd, progress.of, progress.note, jobs=jobs, **cluster
        )
    from reprorun.cli.engines import chosen_engine
    from reprorun.workflow.check import check

    connect = chosen_engine(given["engine"])
    return lambda records, options, progress: check(
        records, options, jobs or 1, cwd, connect, progress.of
    )


def describe_check(result: RecordCheck, *, verbose: bool = False) -> Iterator[str]:
    """The lines of one record: its verdict, and what differs in which repeat."""
    from reprorun.cli.compare import describe
    from reprorun.cli.text import duration, near, printable

    if result.error is not None:
        yield f"{_colored('error')}  {printable(result.record)}"
        yield from (f"  {printable(line)}" for line in result.error.splitlines())
        return
    took = sum(repeat.seconds for repeat in result.repeats)
    times = f", {len(result.repeats)} times" if len(result.repeats) > 1 else ""
    yield f"{_colored(result.verdict)}  {printable(result.record)}  in {duration(took)}{times}"
    for number, repeat in enumerate(result.repeats, 1):
        if repeat.comparison.verdict == "identical" and not verbose:
            continue
        if len(result.repeats) > 1:
            yield f"  repeat {number}"
        yield from (f"  {line}" for line in describe(repeat.comparison, verbose=verbose))
        unasked = [each for each in repeat.differences if not each.wanted]
        if unasked and not repeat.comparison.same:
            yield "  its circumstances differ, too:"
            for each in unasked:
                yield f"    {printable(f'{each.what}: {each.original}, now {each.now}')}"
        if repeat.variations and not repeat.comparison.same:
            yield f"  varied: {printable(_varied(repeat.variations))}"
        yield from (f"  {printable(why)}" for why in repeat.not_varied)
        if repeat.log_dir:
            yield f"  kept: {printable(near(repeat.log_dir))}"
    if result.blame is not None:
        yield from (f"  {printable(line)}" for line in _blamed(result))


def _varied(variations: Sequence[Variation]) -> str:
    return ", ".join(f"{each.factor}={each.value}" for each in variations)


def _blamed(result: RecordCheck) -> Iterator[str]:
    from reprorun.vary.words import blame_lines

    assert result.blame
    differing = (each.comparison for each in result.repeats if not each.comparison.same)
    return blame_lines(result.blame, next(differing, None))


def _colored(verdict: str) -> str:
    from reprorun.cli.compare import color_of

    return click.style(f"{verdict:<{_WIDTH}}", color_of(verdict))


def _sum(results: list[RecordCheck]) -> str:
    verdicts = [result.verdict for result in results]
    counts = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(sorted(verdicts))}
    text = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"{len(results)} records: {text}"


def exit_code(results: list[RecordCheck]) -> int:
    """1 where something differs; else that of the worst error; else 0."""
    from reprorun.compare.values import SAME

    if any(result.error is None and result.verdict not in SAME for result in results):
        return DIFFERENT
    return max((result.exit_code for result in results), default=0)
