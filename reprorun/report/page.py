"""A check as one page of HTML that holds everything it shows. Results in, text out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec.structs import replace

from reprorun import __version__, render
from reprorun.compare.values import SAME, NamedFinding
from reprorun.model import Value
from reprorun.printable import printable
from reprorun.report.curves import HEIGHT, WIDTH, draw
from reprorun.report.values import CodeFile, Curve, Exhibits, Gathered
from reprorun.report.words import (
    PACK,
    blamed,
    count_words,
    details,
    headline,
    is_same,
    seconds_of,
)

if TYPE_CHECKING:
    from reprorun.workflow.check import RecordCheck, Repeat

_RECORDS = 2000  # in the table
_DETAILED = 200  # of them, those with a section of their own
_OUTPUTS = 200  # that differ, of one re-run
_IDENTICAL = 500  # names
_LINES = 12  # about one output
_DOUBT = frozenset({"unknown", "error"})
_TONES = {"+": "added", "-": "removed"}


class _Verdict(Value, frozen=True, kw_only=True):
    text: str
    tone: Literal["good", "bad", "doubt"]


class _Output(Value, frozen=True, kw_only=True):
    path: str
    verdict: _Verdict
    reason: str
    details: tuple[str, ...]


def page(
    results: Sequence[RecordCheck],
    exhibits: Gathered,
    *,
    flags: Sequence[str] = (),
    made: str = "",
    cwd: str = "",
) -> str:
    """The page.

    Args:
        results: of the records; those that differ are shown first.
        exhibits: what re-runs are shown with.
        flags: of the check, to be given again.
        made: when, in words.
        cwd: paths below it are shown relative to it.
    """
    order = sorted(range(len(results)), key=lambda number: is_same(results[number]))
    shown = [
        _record(
            _relative(results[number], cwd), number, exhibits, flags, detailed=place < _DETAILED
        )
        for place, number in enumerate(order[:_RECORDS])
    ]
    overall = _overall(results)
    return render.report_page(
        title=f"reprorun check: {overall.text}",
        verdict=overall,
        counts=count_words(tuple(results)),
        made=printable(made),
        version=__version__,
        records=shown,
        more_records=max(0, len(results) - _RECORDS),
    )


def _relative(result: RecordCheck, cwd: str) -> RecordCheck:
    repeats = (
        replace(repeat, log_dir=repeat.log_dir.removeprefix(f"{cwd}/"))
        if repeat.log_dir
        else repeat
        for repeat in result.repeats
    )
    return replace(result, repeats=tuple(repeats))


def _overall(results: Iterable[RecordCheck]) -> _Verdict:
    wrong = [result for result in results if not is_same(result)]
    if not wrong:
        return _Verdict(text="the same", tone="good")
    differs = any(result.error is None for result in wrong)
    return _Verdict(text="different", tone="bad") if differs else _verdict("error")


def _verdict(verdict: str) -> _Verdict:
    tone: Literal["good", "bad", "doubt"] = "good" if verdict in SAME else "bad"
    return _Verdict(text=verdict, tone="doubt" if verdict in _DOUBT else tone)


# ---------------------------------------------------------------- a record


def _record(
    result: RecordCheck, number: int, exhibits: Gathered, flags: Sequence[str], *, detailed: bool
) -> dict[str, Any]:
    return {
        "name": printable(result.record),
        "anchor": f"record-{number + 1}",
        "verdict": _verdict(result.verdict),
        "headline": "" if is_same(result) else headline(result),
        "seconds": f"{seconds_of(result):.1f}",
        "detailed": detailed,
        "error": "\n".join(map(printable, (result.error or "").splitlines())),
        "blame": [printable(line) for line in blamed(result)],
        "repeats": [
            _repeat(repeat, index, len(result.repeats), exhibits.get((number, index), Exhibits()))
            for index, repeat in enumerate(result.repeats if detailed else ())
        ],
        "commands": [printable(line) for line in _commands(result, flags)],
    }


def _commands(result: RecordCheck, flags: Sequence[str]) -> Iterator[str]:
    yield shlex.join(["reprorun", "check", *flags, result.record])
    kept = next((repeat.log_dir for repeat in result.repeats if repeat.log_dir), None)
    if kept is None:
        return
    if not result.record.endswith(PACK):  # which `compare` doesn't take
        yield shlex.join(["reprorun", "compare", result.record, kept])
    yield shlex.join(["reprorun", "shell", kept])


# ---------------------------------------------------------------- a re-run


def _repeat(repeat: Repeat, index: int, of: int, exhibits: Exhibits) -> dict[str, Any]:
    findings = repeat.comparison.findings
    identical = [named.path for named in findings if named.finding.verdict == "identical"]
    differing = sorted(
        (named for named in findings if named.finding.verdict != "identical"),
        key=lambda named: named.finding.verdict in SAME,
    )
    kept = f"; kept in {printable(repeat.log_dir)}" if repeat.log_dir else ""
    return {
        "title": f"Repeat {index + 1}" if of > 1 else "Re-run",
        "verdict": _verdict(repeat.comparison.verdict),
        "varied": printable(", ".join(f"{v.factor} ({v.value})" for v in repeat.variations)),
        "not_varied": [printable(why) for why in repeat.not_varied],
        "facts": f"{len(findings)} outputs compared in {repeat.seconds:.1f} s{kept}",
        "caption": f"{len(differing)} of {len(findings)} outputs are not identical",
        "differing": [_output(named) for named in differing[:_OUTPUTS]],
        "more": max(0, len(differing) - _OUTPUTS),
        "identical": [printable(name) for name in identical[:_IDENTICAL]],
        "identical_count": len(identical),
        "ignored": [printable(name) for name in repeat.comparison.ignored[:_IDENTICAL]],
        "differences": [
            {
                "what": printable(each.what),
                "original": printable(each.original),
                "now": printable(each.now),
                "wanted": each.wanted,
            }
            for each in repeat.differences
        ],
        "curves": [_curve(each) for each in exhibits.curves],
        "pictures": [
            {
                "path": printable(each.path),
                "original": each.original,
                "now": each.now,
                "difference": each.difference,
            }
            for each in exhibits.pictures
        ],
        "code": [_code(each) for each in exhibits.code],
        "notes": [printable(note) for note in exhibits.notes],
    }


def _output(named: NamedFinding) -> _Output:
    lines = [printable(line) for line in details(named.finding)]
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"and {len(lines) - _LINES} more lines"]
    return _Output(
        path=printable(named.path),
        verdict=_verdict(named.finding.verdict),
        reason=printable(named.finding.reason),
        details=tuple(lines),
    )


def _curve(curve: Curve) -> dict[str, Any]:
    drawing = draw(curve)
    mark = f"{printable(curve.x_name)} {curve.divergence:.6g}"
    return {
        "path": printable(curve.path),
        "name": printable(curve.name),
        "x_name": printable(curve.x_name),
        "alt": printable(f"{curve.name} of {curve.path}: the runs differ from {mark} on"),
        "width": WIDTH,
        "height": HEIGHT,
        "original": drawing.original,
        "now": drawing.now,
        "mark": drawing.divergence,
        "mark_text": f"differs from {mark} on",
        "anchor": "end" if drawing.mark_at_end else "start",
        "top": drawing.top,
        "bottom": drawing.bottom,
        "left": drawing.left,
        "right": drawing.right,
        "labels": drawing.labels,
    }


def _code(file: CodeFile) -> dict[str, Any]:
    return {
        "path": printable(file.path),
        "kind": printable(file.kind),
        "facts": f" ({printable(', '.join(file.facts))})" if file.facts else "",
        "lines": [
            {"text": printable(line.expandtabs()), "tone": _TONES.get(line[:1], "")}
            for line in file.patch
        ],
    }
