"""A sweep as one page of HTML that holds everything it shows. Results in, text out."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reprorun import __version__, render
from reprorun.printable import printable
from reprorun.report.sweep_columns import (
    MOST_FACTORS,
    MOST_METRICS,
    Columns,
    value_text,
)
from reprorun.report.sweep_plots import Plot, can_be_drawn, make_plot
from reprorun.sweeps.table import Result
from reprorun.sweeps.values import Axis, Head, PointsSpec, Span

_ROWS = 2000  # of the table
_UNFINISHED = 1000  # of them, those that did not finish
_MOST_PARAMS = 8  # columns of the table
_VALUES = 6  # of a parameter, that are named
_LONGEST = 80  # characters of a cell
_TONES = {"finished": "good", "failed": "bad", "lost": "bad"}


def page(head: Head, results: Iterable[Result], *, name: str = "", made: str = "") -> str:
    """The page.

    Args:
        head: of the sweep.
        results: of all its runs, in order; with the reasons of those that failed.
        name: of its directory.
        made: when, in words.
    """
    taken = _Taken(results)
    metrics = taken.columns.interesting() or list(taken.columns.metrics)
    return render.sweep_page(
        title=printable(f"reprorun sweep: {name or head.script}"),
        name=printable(name),
        verdict=_overall(taken.statuses),
        counts=_counts(taken.statuses),
        made=printable(made),
        version=__version__,
        facts=[(label, _cut(printable(text), 2000)) for label, text in _facts(head, taken)],
        plots=list(_plots(taken.columns)),
        remarks=[printable(remark) for remark in _remarks(taken.columns)],
        **_table(taken, metrics[:MOST_METRICS]),
    )


class _Taken:
    """What is kept of the results: all numbers of finished runs, and some whole runs."""

    def __init__(self, results: Iterable[Result]) -> None:
        self.columns = Columns()
        self.statuses: Counter[str] = Counter()
        self.seconds = 0.0
        finished: list[tuple[int, Result]] = []
        unfinished: list[tuple[int, Result]] = []
        for number, result in enumerate(results):
            self.statuses[result.entry.status] += 1
            self.seconds += result.entry.seconds or 0
            done = result.entry.status == "finished"
            kept, most = (finished, _ROWS) if done else (unfinished, _UNFINISHED)
            if len(kept) < most:
                kept.append((number, result))
            if done:
                self.columns.add(result)
        rest = max(0, _ROWS - len(unfinished))
        self.shown = sorted([*unfinished, *finished[:rest]], key=lambda each: each[0])

    @property
    def runs(self) -> int:
        """How many there are."""
        return self.statuses.total()


# ---------------------------------------------------------------- the head


def _overall(statuses: Counter[str]) -> dict[str, str]:
    if statuses["failed"] or statuses["lost"]:
        return {"text": f"{statuses['failed'] + statuses['lost']} failed", "tone": "bad"}
    if statuses.keys() - {"finished"}:
        return {"text": "not finished", "tone": "doubt"}
    return {"text": "finished", "tone": "good"}


def _counts(statuses: Counter[str]) -> str:
    runs = statuses.total()
    counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return f"{runs} run{'s' * (runs != 1)}: {counts or 'none'}"


def _facts(head: Head, taken: _Taken) -> Iterator[tuple[str, str]]:
    yield "Script", shlex.join([head.script, *head.args])
    yield from _points(head.points)
    if head.params:
        yield "In all runs", ", ".join(_setting(*each) for each in head.params.items())
    yield "Began", head.created
    yield "Ended", head.ended or "not yet"
    yield "Time of all runs", _hours(taken.seconds)
    if head.githash:
        yield "Commit", head.githash
    if head.environment_digest:
        yield "Environment", head.environment_digest


def _points(points: PointsSpec) -> Iterator[tuple[str, str]]:
    if points.listed:
        yield "Listed points", str(len(points.listed))
    if points.zipped:
        yield "Hand in hand", "; ".join(_values(*each) for each in points.zipped.items())
    if points.grid:
        yield "Grid", "; ".join(_values(*each) for each in points.grid.items())
    if points.sample is not None:
        yield "Sample", f"{points.sample} points at random (seed {points.sample_seed})"


def _values(name: str, axis: Axis) -> str:
    values = _range(*axis.range) if isinstance(axis, Span) else axis
    few = ", ".join(_cut(value_text(value)) for value in values[:_VALUES])
    more = f", … ({len(values)} values)" if len(values) > _VALUES else ""
    return f"{name} = {few}{more}"


def _range(first: int, last: int, step: int) -> range:
    return range(first, last + (1 if step > 0 else -1), step)


def _setting(name: str, value: Any) -> str:
    return f"{name} = {_cut(json.dumps(value, ensure_ascii=False))}"


def _hours(seconds: float) -> str:
    if seconds < 60 or not math.isfinite(seconds):
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


# ---------------------------------------------------------------- plots


def _plots(columns: Columns) -> Iterator[Plot]:
    drawn = [factor for factor in columns.varying() if can_be_drawn(factor)]
    for metric in columns.interesting()[:MOST_METRICS]:
        for factor in drawn[:MOST_FACTORS]:
            plot = make_plot(columns, metric, factor)
            if plot is not None:
                yield plot


def _remarks(columns: Columns) -> Iterator[str]:
    """What is not drawn."""
    varying = columns.varying()
    drawn = [factor for factor in varying if can_be_drawn(factor)]
    if not columns.interesting() and columns.runs:
        same = "; what stands there is the same in all runs" if columns.metrics else ""
        yield f"No number of a progress.csv could be drawn{same}."
    if columns.runs and not varying:
        yield "No parameter varies in the runs that finished."
    for factor in varying:
        if factor not in drawn:
            yield f"Not drawn: {_cut(factor.name)}, which takes {len(factor.levels)} values."
    if len(drawn) > MOST_FACTORS:
        rest = ", ".join(_cut(factor.name) for factor in drawn[MOST_FACTORS:])
        yield f"Not drawn, as they are many: the parameters {_cut(rest, 400)}."
    if len(columns.interesting()) > MOST_METRICS:
        rest = ", ".join(columns.interesting()[MOST_METRICS:])
        yield f"Not drawn, as they are many: {_cut(rest, 400)}. They are in sweep.csv."


# ---------------------------------------------------------------- the table


def _table(taken: _Taken, metrics: Sequence[str]) -> dict[str, Any]:
    params = [factor.name for factor in taken.columns.varying()] or _params_of(taken)
    params = params[:_MOST_PARAMS]
    return {
        "params": [printable(_cut(name)) for name in params],
        "metrics": [printable(_cut(name)) for name in metrics],
        "rows": [_row(result, params, metrics) for _, result in taken.shown],
        "failures": any(result.reason for _, result in taken.shown),
        "shown": len(taken.shown),
        "runs": taken.runs,
    }


def _params_of(taken: _Taken) -> list[str]:
    return list(dict.fromkeys(name for _, result in taken.shown[:100] for name in result.params))


def _row(result: Result, params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    entry = result.entry
    return {
        "name": printable(_cut(entry.log_dir or "none")),
        "verdict": {"text": entry.status, "tone": _TONES.get(entry.status, "doubt")},
        "params": [
            printable(_cut(value_text(result.params[name]))) if name in result.params else ""
            for name in params
        ],
        "metrics": [printable(_cut(result.metrics.get(name, ""))) for name in metrics],
        "seconds": "" if entry.seconds is None else f"{entry.seconds:.1f} s",
        "reason": printable(_cut(" ".join(result.reason.split()), 300)),
    }


def _cut(text: str, most: int = _LONGEST) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
