"""JUnit XML, as those read it that take it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from reprorun.report.junit import junit_xml
from reprorun.workflow.check import RecordCheck

from . import results


def written(*given: RecordCheck, lines: tuple[str, ...] = ("a line",)) -> ElementTree.Element:
    return ElementTree.fromstring(junit_xml(given, lambda result: lines))


def test_a_case_for_each_record() -> None:
    (suite,) = written(results.SAME, results.DIFFERS, results.FAILED)
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["runs/same", "runs/a", "runs/broken"]
    assert {case.get("classname") for case in cases} == {"reprorun.check"}
    assert [float(case.get("time", "")) for case in cases] == [1.5, 1.5, 0]
    counted = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counted == {"tests": "3", "failures": "1", "errors": "1", "skipped": "0"}


def test_what_went_wrong() -> None:
    (suite,) = written(results.SAME, results.DIFFERS, results.FAILED)
    same, differs, failed = suite.findall("testcase")
    assert [child.tag for child in same] == ["properties", "system-out"]
    failure, error = differs.find("failure"), failed.find("error")
    assert failure is not None
    assert error is not None
    assert "row 3, column loss" in failure.get("message", "")
    assert (failure.get("type"), failure.text) == ("different", "a line")
    assert error.get("message") == "no image x"


def test_the_verdicts_are_properties() -> None:
    (suite,) = written(results.DIFFERS)
    found = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert found == {
        "verdict": "different",
        "repeat 1": "different",
        "repeat 1: metrics.csv": "different",
        "repeat 1: z": "missing",
    }


def test_hostile_content_stays_text() -> None:
    root = written(results.HOSTILE, lines=(results.EVIL,))
    tags = {element.tag for element in root.iter()}
    assert tags == {
        *("testsuites", "testsuite", "testcase", "properties", "property", "failure"),
    }
    failure = next(root.iter("failure"))
    assert failure.text is not None
    assert failure.text.startswith("</script><script>alert(1)</script>")
    assert "\x1b" not in failure.text


def test_long_details_are_cut() -> None:
    root = written(results.DIFFERS, lines=("x",) * 1000)
    text = next(root.iter("failure")).text
    assert text is not None
    assert text.splitlines()[-1] == "and 800 more lines"


def test_many_outputs_are_bounded() -> None:
    many = results.result(results.repeat(*(results.named(f"f{n}") for n in range(5000))))
    assert len(list(written(many).iter("property"))) < 600


@pytest.mark.parametrize("given", [(), (results.SAME,)])
def test_it_is_a_file_of_utf8(given: tuple[RecordCheck, ...]) -> None:
    text = junit_xml(given, lambda result: ())
    assert text.startswith(b"<?xml version='1.0' encoding='utf-8'?>\n<testsuites")
