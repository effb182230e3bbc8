"""A check as JUnit XML, for GitLab, Jenkins and their like: one test case a record. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from reprorun.printable import printable
from reprorun.report.words import headline, is_same, seconds_of

if TYPE_CHECKING:
    from reprorun.workflow.check import RecordCheck

SUITE = "reprorun check"
_MOST = 200  # lines of details
_VERDICTS = 500  # properties of one case


def junit_xml(
    results: Iterable[RecordCheck], details: Callable[[RecordCheck], Iterable[str]]
) -> bytes:
    """The results as a file of JUnit XML.

    Args:
        results: of the records.
        details: says more of one, in lines.
    """
    kinds = _junitparser()
    suite = kinds.TestSuite(SUITE)
    for result in results:
        suite.add_testcase(_case(result, list(map(printable, details(result)))))
    report = kinds.JUnitXml()
    report.add_testsuite(suite)
    report.update_statistics()
    text: bytes = report.tostring()
    return b"<?xml version='1.0' encoding='utf-8'?>\n" + text + b"\n"


def _junitparser() -> Any:
    """Half of it has no types."""
    import junitparser

    return junitparser


def _case(result: RecordCheck, lines: list[str]) -> Any:
    case = _junitparser().TestCase(
        printable(result.record), "reprorun.check", round(seconds_of(result), 3)
    )
    case.append(_properties(result))
    if len(lines) > _MOST:
        lines = [*lines[:_MOST], f"and {len(lines) - _MOST} more lines"]
    if is_same(result):
        case.system_out = "\n".join(lines)
    else:
        case.result = [_fault(result, "\n".join(lines))]
    return case


def _fault(result: RecordCheck, text: str) -> Any:
    kinds = _junitparser()
    kind = kinds.Failure if result.error is None else kinds.Error
    fault = kind(headline(result), result.verdict)
    fault.text = text
    return fault


def _properties(result: RecordCheck) -> Any:
    kinds = _junitparser()
    properties = kinds.Properties()
    for name, value in _verdicts(result):
        properties.append(kinds.Property(printable(name), printable(value)))
    return properties


def _verdicts(result: RecordCheck) -> Iterator[tuple[str, str]]:
    """The verdicts: of all, of each repeat, and of the outputs that are not identical."""
    yield "verdict", result.verdict
    left = _VERDICTS
    for number, repeat in enumerate(result.repeats, 1):
        yield f"repeat {number}", repeat.comparison.verdict
        for named in repeat.comparison.findings:
            if named.finding.verdict != "identical" and left:
                left -= 1
                yield f"repeat {number}: {named.path}", named.finding.verdict
