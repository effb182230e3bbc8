"""Parquet, Arrow and Feather by column and row."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprorun.compare import columnar
from reprorun.compare.registry import compare_contents
from reprorun.compare.values import Finding, Settings, Tolerance

from .rich_kit import SETTINGS, Damage, content, damages, judged, kept_away

ROWS = 500


def columns() -> dict[str, Any]:
    return {
        "loss": np.linspace(0, 1, ROWS),
        "step": np.arange(ROWS),
        "name": [f"n{row}" for row in range(ROWS)],
        "holes": [None if row % 3 == 0 else row * 0.5 for row in range(ROWS)],
        "inner": [{"a": [row, row + 0.5]} for row in range(ROWS)],
        "moment": np.arange(ROWS).astype("datetime64[ns]"),
        "flag": [row % 2 == 0 for row in range(ROWS)],
        "gap": [math.nan] * ROWS,
        "wall_time": 1.7e9 + np.arange(ROWS),
    }


def table(**changed: Any) -> pa.Table:
    return pa.table({**columns(), **changed})


def in_parquet(made: pa.Table, **more: Any) -> bytes:
    out = io.BytesIO()
    parquet.write_table(made, out, **more)
    return out.getvalue()


def in_feather(made: pa.Table, **more: Any) -> bytes:
    out = io.BytesIO()
    feather.write_feather(made, out, **more)
    return out.getvalue()


def in_stream(made: pa.Table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, made.schema) as writer:
        writer.write_table(made, max_chunksize=7)
    return out.getvalue()


WRITERS: dict[str, Callable[[pa.Table], bytes]] = {
    "parquet": in_parquet,
    "row groups": lambda made: in_parquet(made, row_group_size=17, compression="gzip"),
    "plain": lambda made: in_parquet(made, use_dictionary=False, compression="none"),
    "feather": in_feather,
    "chunks": lambda made: in_feather(made, chunksize=33, compression="uncompressed"),
    "stream": in_stream,
    "metadata": lambda made: in_parquet(made.replace_schema_metadata({"made": "today"})),
}


def judge(a: bytes, b: bytes, with_settings: Settings = SETTINGS) -> Finding:
    return columnar.compare(content("t.parquet", a), content("t.parquet", b), with_settings)


@pytest.mark.parametrize("other", sorted(WRITERS))
def test_how_it_is_written_is_aside(other: str) -> None:
    found = judge(in_parquet(table()), WRITERS[other](table()))
    assert (found.verdict, found.divergence) == ("equivalent", None)


OTHER: dict[str, Any] = {
    "loss": 7.5, "step": 9999, "name": "other", "holes": 99.0, "inner": {"a": [1, 1e9]},
    "moment": np.datetime64("2024-01-01", "ns"), "flag": None, "gap": 0.0,
}  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.integers(0, ROWS - 1), st.sampled_from(sorted(OTHER)), st.sampled_from(sorted(WRITERS)))
def test_any_changed_value_is_found(row: int, column: str, writer: str) -> None:
    values = list(columns()[column])
    values[row] = OTHER[column]
    found = judge(in_parquet(table()), WRITERS[writer](table(**{column: values})))
    assert found.verdict == "different"
    assert found.reason == f"column {column} differs"
    assert found.divergence is not None
    assert found.divergence.where.removesuffix(".a[0]").removesuffix(".a[1]") == (
        f"row {row + 1}, column {column}"
    )


def test_the_first_row_of_all_columns_is_told() -> None:
    loss, step = columns()["loss"], columns()["step"]
    loss[300] += 1
    step[200] += 1
    found = judge(in_parquet(table()), in_parquet(table(loss=loss, step=step)))
    assert found.divergence is not None
    assert found.divergence.where == "row 201, column step"


def test_wall_times_are_volatile() -> None:
    found = judge(in_parquet(table()), in_parquet(table(wall_time=1.8e9 + np.arange(ROWS))))
    assert found.verdict == "equivalent"
    assert [(each.what, each.count) for each in found.volatile] == [("time (wall_time)", ROWS)]


@pytest.mark.parametrize(
    ("other", "where"),
    [
        (table().drop_columns(["name"]), "column name"),
        (table(more=[1] * ROWS), "column more"),
        (table(step=np.arange(ROWS, dtype=np.int32)), "type of column step"),
        (table().slice(0, ROWS - 1), "number of rows"),
        (table().select(list(reversed(columns()))), "order of columns"),
    ],
    ids=["missing", "extra", "type", "rows", "order"],
)
def test_schema_differences_are_named(other: pa.Table, where: str) -> None:
    for pair in ((table(), other), (other, table())):
        found = judge(*map(in_parquet, pair))
        assert found.verdict == "different"
        assert found.divergence is not None
        assert found.divergence.where == where


def test_columns_of_one_name_are_all_compared() -> None:
    schema = pa.schema([("x", pa.int64()), ("x", pa.int64())])
    one, other = (
        pa.Table.from_arrays([pa.array([value]), pa.array([1])], schema=schema) for value in (2, 3)
    )
    assert judge(in_feather(one), in_feather(other)).verdict == "different"


def test_tolerance_by_column() -> None:
    near = in_parquet(table(loss=columns()["loss"] + 1e-4))
    allowed = Settings(columns=(("*.parquet", "loss", Tolerance(atol=0.01)),))
    assert judge(in_parquet(table()), near, allowed).verdict == "within tolerance"
    assert judge(in_parquet(table()), near).verdict == "different"


# ---------------------------------------------------------------- bad input


@settings(max_examples=150, deadline=None)
@given(damages(), st.sampled_from(sorted(WRITERS)), st.booleans())
def test_damage_is_a_verdict(damage: Damage, writer: str, first: bool) -> None:
    good = WRITERS[writer](table())
    judged(
        columnar.compare, "t.parquet", *((damage(good), good) if first else (good, damage(good)))
    )


def test_more_than_may_be_unpacked() -> None:
    made = [pa.table({"x": np.full(3_000_000, value)}) for value in (1.5, 2.5)]
    found = judge(*map(in_parquet, made), Settings(largest=1 << 20))
    assert found.verdict == "unknown"
    assert "unpacks to more than 1,048,576 bytes" in found.reason


def test_without_pyarrow_it_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = in_parquet(table()), in_parquet(table(), compression="gzip")
    kept_away(monkeypatch, "pyarrow")
    found = compare_contents(content("t.parquet", one), content("t.parquet", other), SETTINGS)
    assert found.verdict == "unknown"
    assert "pyarrow" in found.reason
    assert "pip install 'reprorun[compare]'" in found.reason
