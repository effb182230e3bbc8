"""The JSON of a check, and its published schema."""

from __future__ import annotations

import json
from pathlib import Path

from reprorun.workflow import check_result
from reprorun.workflow.check import RecordCheck
from reprorun.workflow.check_result import CHECK_SCHEMA, CheckResult, result_text

from ...engine.schema import violations
from ..report import results

PUBLISHED = Path(__file__).parents[3] / "docs" / "check.schema.json"
UPDATE = (
    'python -c "from reprorun.workflow.check_result import json_schema; '
    'print(json_schema(), end=str())" > docs/check.schema.json'
)


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text() == check_result.json_schema(), f"make it anew: {UPDATE}"


def test_it_describes_every_field() -> None:
    schema = json.loads(check_result.json_schema())
    kinds = schema["$defs"]
    assert set(kinds["CheckResult"]["properties"]) == set(CheckResult.__struct_fields__)
    assert set(kinds["RecordCheck"]["properties"]) == set(RecordCheck.__struct_fields__)
    assert "additionalProperties" not in kinds["CheckResult"]  # a newer version may add fields


def test_what_is_printed_is_as_the_schema_says() -> None:
    text = result_text(results.ALL, 1)
    assert text.isascii()
    schema = json.loads(check_result.json_schema())
    said = json.loads(text)
    assert violations(said, schema, schema) == []
    assert said["reprorun"]["schema"] == CHECK_SCHEMA
    assert [each["verdict"] for each in said["records"]] == [each.verdict for each in results.ALL]
    assert said["records"][-1]["record"] == results.EVIL
