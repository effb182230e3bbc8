"""Workflow commands and the summary, as GitHub takes them apart."""

from __future__ import annotations

import re

from reprorun.report.github import summary, workflow_commands

from . import results
from .results import named, repeat, result

_COMMAND = re.compile(r"::error (?P<properties>[^:]*)::(?P<data>.*)")


def parsed(line: str) -> dict[str, str]:
    """As the runner reads it: properties by commas, the first `::` ends them."""
    found = _COMMAND.fullmatch(line)
    assert found, line
    pairs = (pair.split("=", 1) for pair in found["properties"].split(","))
    unescaped = {
        name: value.replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
        for name, value in pairs
    }
    return {**unescaped, "data": found["data"].replace("%25", "%")}


def test_one_for_each_that_is_not_the_same() -> None:
    lines = list(workflow_commands((results.SAME, results.DIFFERS, results.FAILED)))
    assert [parsed(line)["file"] for line in lines] == ["runs/a/run.json", "runs/broken/run.json"]
    first = parsed(lines[0])
    assert first["title"] == "reprorun: different: runs/a"
    assert first["data"].startswith("metrics.csv different: first at row 3, column loss: 0.5")


def test_hostile_content_is_no_command() -> None:
    (line,) = workflow_commands((results.HOSTILE,))
    assert len(line.splitlines()) == 1
    found = parsed(line)
    assert set(found) == {"file", "title", "data"}
    assert found["title"].startswith("reprorun: different: </script>")
    assert "%0A" in found["data"]  # as it stands in the name: no line break


def test_a_file_is_named_only_where_github_finds_it() -> None:
    given = (result(repeat(named("a")), record=path) for path in ("/tmp/x", "../x", "x.rrpack"))
    found = [parsed(line) for line in workflow_commands(given)]
    assert [each.get("file") for each in found] == [None, None, "x.rrpack"]


def test_the_summary_shows_what_differs_first() -> None:
    lines = summary((results.SAME, results.DIFFERS)).splitlines()
    assert lines[0] == "## reprorun check"
    assert lines[2] == "2 records: 1 different, 1 equivalent"
    assert lines[6].startswith("| ❌ | runs/a | different | 1.5 | metrics.csv different\\: first")
    assert lines[7] == "| ✅ | runs/same | equivalent | 1.5 |  |"


def test_hostile_content_is_no_markup() -> None:
    text = summary((results.HOSTILE,))
    row = text.splitlines()[6]
    cells = re.split(r"(?<!\\)\|", row)
    assert len(cells) == 7
    assert not re.search(r"(?<!\\)[<>`\[*]", row)


def test_it_is_bounded() -> None:
    text = summary([results.HOSTILE] * 5000)
    assert len(text.encode()) < 1 << 20
    assert text.endswith("and 4000 more\n")
