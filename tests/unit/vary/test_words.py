"""The answer in words."""

from __future__ import annotations

from typing import Any

import pytest

from reprorun.compare.values import Comparison, Divergence, Finding, NamedFinding
from reprorun.vary.values import Blame, Cause
from reprorun.vary.words import blame_lines

MODEL = Comparison(
    verdict="different",
    findings=(
        NamedFinding(path="a.txt", finding=Finding(verdict="identical", comparator="bytes")),
        NamedFinding(
            path="model.npy",
            finding=Finding(
                verdict="different",
                comparator="npy",
                divergence=Divergence(where="step 120", original="1", now="2"),
            ),
        ),
    ),
)
GONE = Comparison(
    verdict="missing",
    findings=(NamedFinding(path="x", finding=Finding(verdict="missing", comparator="tree")),),
)


def cause(words: str, original: str = "1", now: str = "2") -> Cause:
    return Cause(factor="f", words=words, original=original, now=now, remedy=f"Mend {words}.")


@pytest.mark.parametrize(
    ("given", "comparison", "line"),
    [
        (
            {"kind": "factor", "causes": (cause("thread count"),)},
            MODEL,
            "differs: model.npy from step 120 on, because of: thread count (1 -> 2)",
        ),
        (
            {"kind": "factor", "causes": (cause("a"), cause("b", "x", "y"))},
            GONE,
            "differs: x missing, because of: a (1 -> 2); b (x -> y)",
        ),
        (
            {"kind": "factor", "causes": (cause("a"), cause("b")), "together": True},
            None,
            "differs, because of: a (1 -> 2) together with b (1 -> 2)",
        ),
        (
            {"kind": "nondeterministic", "causes": (cause("no seed"),)},
            MODEL,
            "differs from run to run: model.npy from step 120 on, because of: no seed",
        ),
        (
            {"kind": "changed", "causes": (cause("the date"),)},
            None,
            "the same each time now, but not as the original, because of: the date",
        ),
        ({"kind": "unknown"}, None, "differs, and it can't be told why"),
    ],
)
def test_one_line(given: dict[str, Any], comparison: Comparison | None, line: str) -> None:
    blame = Blame(**given, notes=("a note",))
    remedies = [f"remedy: {each.remedy}" for each in blame.causes]
    assert list(blame_lines(blame, comparison)) == [line, *remedies, "note: a note"]
