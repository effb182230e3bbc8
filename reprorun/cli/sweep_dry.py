"""`reprorun sweep --dry-run`: which runs there would be, and how; nothing is started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from reprorun.cli.text import printable

if TYPE_CHECKING:
    from reprorun.sweeps.points import Points

_NAMED = 20  # runs


def show_plan(request: Any, given: dict[str, Any]) -> int:
    """The names of the runs on stderr, then the plan of the first one."""
    from reprorun.cli.dry_run import plan_as_json, plan_as_text
    from reprorun.cli.engines import chosen_engine, directory_of
    from reprorun.sweeps.points import Points
    from reprorun.workflow.exec import dry_run
    from reprorun.workflow.sweep import spec_of_point

    points = Points(request.points)
    _list(points, range(len(points)))
    first = spec_of_point(request.spec, request.spec.args, request.spec.params, points[0])
    plan = dry_run(first, chosen_engine(given["engine"], directory_of(first)))
    click.echo(plan_as_json(plan) if given["as_json"] else plan_as_text(plan), nl=False)
    return 0


def show_rest(request: Any, given: dict[str, Any]) -> int:
    """What a sweep that is gone on with has still to run, as long as its environment is there."""
    from reprorun.sweeps.book import read_book
    from reprorun.sweeps.points import Points
    from reprorun.workflow.finished import find_finished

    kept, points = read_book(given["resume"]), Points(request.points)
    entries = find_finished(given["resume"], kept, points, kept.head)
    rest = [number for number, entry in enumerate(entries) if entry.status != "finished"]
    _list(points, rest)
    return 0


def _list(points: Points, numbers: Sequence[int]) -> None:
    from reprorun.sweeps.naming import name_of

    count, mixed = len(numbers), points.mixed
    click.echo(f"{count} run{'s' * (count != 1)} to make", err=True)
    for number in numbers[:_NAMED]:
        click.echo(f"  {printable(name_of(points[number], mixed=mixed))}", err=True)
    if count > _NAMED:
        click.echo(f"  and {count - _NAMED} more", err=True)
