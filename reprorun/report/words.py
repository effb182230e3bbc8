"""What a check found in words: the same ones in every report. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reprorun.compare.values import SAME, Divergence, Finding, Growth, NamedFinding
from reprorun.printable import printable
from reprorun.vary.words import blame_lines

if TYPE_CHECKING:
    from reprorun.workflow.check import RecordCheck

PACK = ".rrpack"


def is_same(result: RecordCheck) -> bool:
    """Whether a record came out the same."""
    return result.error is None and result.verdict in SAME


def seconds_of(result: RecordCheck) -> float:
    """How long all its re-runs took."""
    return sum(repeat.seconds for repeat in result.repeats)


def first_difference(result: RecordCheck) -> NamedFinding | None:
    """The output to look at first: of the first repeat that differs one with its verdict."""
    for repeat in result.repeats:
        if not repeat.comparison.same:
            worst = repeat.comparison.verdict
            return next((n for n in repeat.comparison.findings if n.finding.verdict == worst), None)
    return None


def blamed(result: RecordCheck) -> tuple[str, ...]:
    """What made the difference, the answer in the first line; nothing where that is not known."""
    if result.blame is None:
        return ()
    differing = (each.comparison for each in result.repeats if not each.comparison.same)
    return tuple(blame_lines(result.blame, next(differing, None)))


def headline(result: RecordCheck) -> str:
    """One line: why it could not be checked, or what differs first, and because of what."""
    if result.error is not None:
        return printable(result.error.partition("\n")[0])
    if result.blame is not None:
        return printable(blamed(result)[0])
    named = first_difference(result)
    if named is None:
        return result.verdict
    return printable(f"{named.path} {named.finding.verdict}: {_first_words(named.finding)}")


def _first_words(finding: Finding) -> str:
    return divergence_words(finding.divergence) if finding.divergence else finding.reason


def divergence_words(divergence: Divergence) -> str:
    """Where two outputs differ first, both values and how far they are apart."""
    apart = "" if divergence.relative is None else f" (relative error {divergence.relative:.3g})"
    return f"first at {divergence.where}: {divergence.original}, now {divergence.now}{apart}"


def growth_words(growth: Growth) -> str:
    """How an error goes on; empty where there is only one."""
    if growth.count < 2:
        return ""
    last = "none" if growth.last is None else f"{growth.last:.3g}"
    return (
        f"relative error from there: mean {growth.mean:.3g}, at most {growth.most:.3g}, "
        f"at the end {last}; {growth.count} of {growth.of} values differ"
    )


def details(finding: Finding) -> Iterator[str]:
    """What else is said of an output, one line each."""
    if finding.divergence is not None:
        yield divergence_words(finding.divergence)
        if finding.divergence.growth is not None:
            yield from filter(None, [growth_words(finding.divergence.growth)])
    for entry in finding.volatile:
        example = f", such as {entry.example}" if entry.example else ""
        yield f"differs by its nature: {entry.count} {entry.what}{example}"
    for named in finding.inner:
        yield f"{named.path}: {named.finding.verdict} {_first_words(named.finding)}".rstrip()
    yield from finding.notes


def count_words(results: tuple[RecordCheck, ...]) -> str:
    """How many records got which verdict, such as `3 records: 2 identical, 1 different`."""
    verdicts = [result.verdict for result in results]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(sorted(verdicts)))
    return f"{len(results)} record{'s' * (len(results) != 1)}: {counts or 'none'}"
