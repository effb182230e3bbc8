"""`--from-file`: parameters as JSON objects, one a line."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.errors import UsageError
from reprorun.sweeps.rows import read_rows


def put(directory: Path, content: bytes) -> str:
    file = directory / "params.jsonl"
    file.write_bytes(content)
    return str(file)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b'{"a": 1}', [{"a": 1}]),
        (b'\n{"a": 1}\n  \n\r\n{"b": 2}\r\n\n', [{"a": 1}, {"b": 2}]),
        (b'{"a": [1, {"x-y": null}]}', [{"a": [1, {"x-y": None}]}]),
        (b'\xef\xbb\xbf{"a": "\xc3\xa9"}\n', [{"a": "é"}]),
        (b'{}\n{"a": 1}\n', [{}, {"a": 1}]),
        (b' {"a": "x\xe2\x80\xa8y"} \n', [{"a": "x\u2028y"}]),
        ('{"größe": 1}'.encode(), [{"größe": 1}]),
    ],
)  # fmt: skip
def test_rows(tmp_path: Path, content: bytes, rows: list[dict[str, Any]]) -> None:
    assert read_rows(put(tmp_path, content)) == (tuple(rows), ())


def test_names_keep_their_order(tmp_path: Path) -> None:
    (row,), _ = read_rows(put(tmp_path, b'{"b": 1, "a": 2}'))
    assert list(row) == ["b", "a"]


def test_equal_rows_are_run_once(tmp_path: Path) -> None:
    path = put(tmp_path, b'{"a":1,"b":2}\n\n{"a":1.0,"b":2}\n{"b":2,"a":1}\n')
    rows, notes = read_rows(path)
    assert [json.dumps(row) for row in rows] == ['{"a": 1, "b": 2}', '{"a": 1.0, "b": 2}']
    assert notes == (f"{path}: line 4 says what line 1 says; each point is run once",)


def test_many_equal_rows_are_one_note(tmp_path: Path) -> None:
    path = put(tmp_path, b'{"a":1}\n' * 1001)
    rows, notes = read_rows(path)
    assert rows == ({"a": 1},)
    assert notes == (
        f"{path}: line 2 says what line 1 says, and 999 more lines repeat others; "
        "each point is run once",
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"seed,lr", "no JSON object"),
        (b"[1]", "no JSON object"),
        (b"1", "no JSON object"),
        (b"null", "no JSON object"),
        (b'{"a": 1', "no JSON object"),
        (b'{"a": 1} {"a": 2}', "no JSON object"),
        (b"{'a': 1}", "no JSON object"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\\udcff"}', "not UTF-8"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"a-b": 1}', "'a-b' can't be a parameter's name"),
        (b'{"": 1}', "can't be a parameter's name"),
        (b'{"1": 1}', "can't be a parameter's name"),
        (b'{"a": NaN}', "no NaN"),
        (b'{"a": [-Infinity]}', "no NaN"),
        (b'{"a": 1e999}', "no NaN"),
        (b'{"a": 1, "a": 2}', "'a' stands in it twice"),
        (b'{"a": ' + b"1" * 5000 + b"}", "can't be taken"),
        (b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "too much"),
    ],
)
def test_lines_that_can_not_be_taken(tmp_path: Path, line: bytes, words: str) -> None:
    path = put(tmp_path, b'{"a": 0}\n\n' + line + b"\n")
    with pytest.raises(UsageError, match=words) as caught:
        read_rows(path)
    assert "line 3" in str(caught.value)
    assert len(str(caught.value)) < 300 + len(path)


@pytest.mark.parametrize("depth", range(880, 1000, 5))
def test_no_depth_is_a_traceback(tmp_path: Path, depth: int) -> None:
    with suppress(UsageError):
        read_rows(put(tmp_path, b'{"a": ' + b"[" * depth + b"]" * depth + b"}"))


@pytest.mark.parametrize("content", [b"", b"\n \r\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="holds no row"):
        read_rows(put(tmp_path, content))


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_rows(str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="Is a directory"):
        read_rows(str(tmp_path))
    with pytest.raises(UsageError, match="can't be read"):
        read_rows("")


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b", "größe", "_x"]),
            st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        ),
        min_size=1,
        unique_by=lambda row: json.dumps(row, sort_keys=True),
    )
)  # fmt: skip
def test_what_is_written_is_read(rows: list[dict[str, Any]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        found, notes = read_rows(put(Path(directory), lines.encode()))
    assert [json.dumps(row) for row in found] == [json.dumps(row) for row in rows]
    assert not notes
