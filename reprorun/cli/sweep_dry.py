"""`reprorun sweep --dry-run`: which runs there would be, and how; nothing is started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from reprorun.cli.text import printable

if TYPE_CHECKING:
    from reprorun.model import RunSpec
    from reprorun.sweeps.points import Points

_NAMED = 20  # runs


def show_plan(request: Any, given: dict[str, Any]) -> int:
    """The names of the runs on stderr, then the plan of the first one.

    Of a sweep that is gone on with, only those that are to be made.
    """
    from reprorun.cli.dry_run import plan_as_json, plan_as_text
    from reprorun.cli.engines import chosen_engine, directory_of
    from reprorun.sweeps.points import Points
    from reprorun.workflow.exec import dry_run
    from reprorun.workflow.sweep import spec_of_point

    points = Points(request.points)
    spec = request.spec
    rest = range(len(points)) if given["resume"] is None else _rest(given["resume"], points, spec)
    _list(points, rest)
    if not rest:
        return 0
    first = spec_of_point(spec, spec.args, spec.params, points[rest[0]])
    plan = dry_run(first, chosen_engine(given["engine"], directory_of(first)))
    click.echo(plan_as_json(plan) if given["as_json"] else plan_as_text(plan), nl=False)
    return 0


def show_rest(request: Any, given: dict[str, Any]) -> int:
    """What a sweep that is gone on with has still to run, as long as its environment is there."""
    from reprorun.sweeps.points import Points

    points = Points(request.points)
    _list(points, _rest(given["resume"], points))
    return 0


def _rest(directory: str, points: Points, spec: RunSpec | None = None) -> list[int]:
    """The numbers of the points that are not finished, in the environment that the sweep had.

    Whether the environment is still that one is known only when the packages are resolved.
    """
    from msgspec.structs import replace

    from reprorun.sweeps.book import read_book
    from reprorun.workflow.finished import find_finished

    kept = read_book(directory)
    head = replace(kept.head, args=spec.args, params=spec.params) if spec else kept.head
    entries = find_finished(directory, kept, points, head)
    if spec and any(entry.status == "finished" for entry in entries):
        click.echo(
            "reprorun: note: runs that are finished count as long as the environment is the one "
            "that they were made in; that is not known before the packages are resolved",
            err=True,
        )
    return [number for number, entry in enumerate(entries) if entry.status != "finished"]


def _list(points: Points, numbers: Sequence[int]) -> None:
    from reprorun.sweeps.naming import name_of

    count, mixed = len(numbers), points.mixed
    click.echo(f"{count} run{'s' * (count != 1)} to make", err=True)
    for number in numbers[:_NAMED]:
        click.echo(f"  {printable(name_of(points[number], mixed=mixed))}", err=True)
    if count > _NAMED:
        click.echo(f"  and {count - _NAMED} more", err=True)
