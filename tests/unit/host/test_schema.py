"""The published JSON Schema of run.json is the current one."""

from __future__ import annotations

import json
from pathlib import Path

from reprorun import store
from reprorun.model import Record

PUBLISHED = Path(__file__).parents[3] / "docs" / "run.schema.json"
UPDATE = (
    'python -c "from reprorun.store import json_schema; print(json_schema(), end=str())" '
    "> docs/run.schema.json"
)


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text() == store.json_schema(), f"make it anew: {UPDATE}"


def test_it_describes_every_field() -> None:
    schema = json.loads(store.json_schema())
    record = schema["$defs"]["Record"]
    assert set(record["properties"]) == set(Record.__struct_fields__)
    assert record["required"] == ["reprorun", "id", "status", "created", "argv"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "additionalProperties" not in record  # a newer version may add fields
