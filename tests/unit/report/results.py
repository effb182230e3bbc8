"""Results that the tests of reports share, hostile ones among them."""

from __future__ import annotations

from typing import Any

from reprorun.compare.values import (
    Comparison,
    Divergence,
    Finding,
    Growth,
    NamedFinding,
    Verdict,
    Volatile,
    worst,
)
from reprorun.model import Difference, Variation
from reprorun.vary.values import Blame, Cause
from reprorun.workflow.check import RecordCheck, Repeat

EVIL = "</script><script>alert(1)</script>\"'\x1b[31m\x00\u202e\udcff %0A\n::error::"
"""Obeyed by a browser, a terminal, GitHub or an XML parser, and no text that can be encoded."""


def finding(verdict: Verdict = "different", **fields: Any) -> Finding:
    if verdict == "different":
        first = Divergence(where="row 3, column loss", original="0.5", now="0.25", relative=0.5)
        fields = {"divergence": first, "reason": "3 of 9 cells differ", **fields}
    return Finding(verdict=verdict, comparator="table", **fields)


def named(path: str, verdict: Verdict = "different", **fields: Any) -> NamedFinding:
    return NamedFinding(path=path, finding=finding(verdict, **fields))


def repeat(*outputs: NamedFinding, **fields: Any) -> Repeat:
    verdict = worst(each.finding.verdict for each in outputs)
    comparison = Comparison(verdict=verdict, findings=outputs)
    given = {"seconds": 1.5, "log_dir": None if comparison.same else "/here/data/local/check/a"}
    return Repeat(comparison=comparison, **{**given, **fields})


def result(*repeats: Repeat, record: str = "runs/a", **fields: Any) -> RecordCheck:
    verdict = worst(each.comparison.verdict for each in repeats)
    return RecordCheck(record=record, **{"verdict": verdict, "repeats": repeats, **fields})


SAME = result(repeat(named("a.txt", "identical"), named("b.log", "equivalent")), record="runs/same")
DIFFERS = result(repeat(named("a.txt", "identical"), named("metrics.csv"), named("z", "missing")))
FAILED = RecordCheck(
    record="runs/broken", verdict="error", error="no image x\nPull it.", exit_code=125
)
BLAMED = result(
    repeat(
        named("metrics.csv"),
        differences=(Difference(what="host: processor", original="old", now="new"),),
        variations=(Variation(factor="threads", value="2", seed=7),),
        not_varied=("device: no GPU here",),
    ),
    record="runs/blamed",
    blame=Blame(
        kind="factor",
        causes=(
            Cause(
                factor="threads",
                words="thread count",
                original="1",
                now="2",
                remedy="Use --numerics portable.",
            ),
        ),
        runs=9,
        notes=("confirmed 3 times",),
    ),
)
HOSTILE = result(
    repeat(
        named(
            EVIL,
            reason=EVIL,
            divergence=Divergence(
                where=EVIL,
                original=EVIL,
                now=EVIL,
                growth=Growth(first=0.1, mean=0.1, most=0.2, last=None, count=4, of=9),
            ),
            volatile=(Volatile(what=EVIL, count=2, example=EVIL),),
            inner=(named(EVIL),),
            notes=(EVIL,),
        ),
        differences=(Difference(what=EVIL, original=EVIL, now=EVIL),),
        variations=(Variation(factor=EVIL, value=EVIL),),
        not_varied=(EVIL,),
        log_dir=f"/here/{EVIL}",
    ),
    record=EVIL,
    blame=Blame(
        kind="factor",
        causes=(Cause(factor=EVIL, words=EVIL, original=EVIL, now=EVIL, remedy=EVIL),),
        notes=(EVIL,),
    ),
)
ALL = (SAME, DIFFERS, FAILED, BLAMED, HOSTILE)
