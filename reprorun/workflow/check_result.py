"""The result of a check as other programs read it: JSON, and the schema of that."""

from __future__ import annotations

import json
from collections.abc import Iterable

import msgspec

from reprorun import __version__
from reprorun.model import SchemaMark, Value
from reprorun.workflow.check import RecordCheck

CHECK_SCHEMA = 1
"""Version of the JSON. It grows when a field changes its meaning; new fields don't need it."""


class CheckResult(Value, frozen=True, kw_only=True):
    """What `reprorun check --json` prints. Times are seconds; paths are as they were named."""

    reprorun: SchemaMark  # version of this schema, and of reprorun
    exit_code: int  # of the command: 0 the same, 1 different, 2 or 125 not run again
    records: tuple[RecordCheck, ...]


def result_text(records: Iterable[RecordCheck], exit_code: int) -> str:
    """The result as JSON, in ASCII: names that are no UTF-8 stand in it as lone surrogates."""
    mark = SchemaMark(schema=CHECK_SCHEMA, version=__version__)
    result = CheckResult(reprorun=mark, exit_code=exit_code, records=tuple(records))
    return json.dumps(msgspec.to_builtins(result), indent=2, allow_nan=False)


def json_schema() -> str:
    """The JSON Schema of it."""
    schema = msgspec.json.schema(CheckResult)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2) + "\n"
