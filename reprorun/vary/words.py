"""What made the difference, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from reprorun.compare.values import Comparison
from reprorun.vary.values import Blame, Cause, Kind

_KINDS = {
    "nondeterministic": "differs from run to run",
    "factor": "differs",
    "changed": "the same each time now, but not as the original",
    "unknown": "differs, and it can't be told why",
}


def blame_lines(blame: Blame, comparison: Comparison | None) -> Iterator[str]:
    """The answer in one line, then what to do about it.

    Args:
        blame: what was found out.
        comparison: of a re-run that differed.
    """
    where = _where(comparison) if comparison else ""
    because = f", because of: {_causes(blame)}" if blame.causes else ""
    yield f"{_KINDS[blame.kind]}{': ' * bool(where)}{where}{because}"
    for cause in blame.causes:
        yield f"remedy: {cause.remedy}"
    for note in blame.notes:
        yield f"note: {note}"


def _causes(blame: Blame) -> str:
    told = [_cause(cause, blame.kind) for cause in blame.causes]
    return (" together with " if blame.together else "; ").join(told)


def _cause(cause: Cause, kind: Kind) -> str:
    return f"{cause.words} ({cause.original} -> {cause.now})" if kind == "factor" else cause.words


def _where(comparison: Comparison) -> str:
    """The output to look at first, and from where on it differs."""
    verdict = comparison.verdict
    named = next((n for n in comparison.findings if n.finding.verdict == verdict), None)
    if named is None or comparison.same:
        return ""
    divergence = named.finding.divergence
    return f"{named.path} from {divergence.where} on" if divergence else f"{named.path} {verdict}"
