"""Tables: by column and row, with pyarrow and without; each test runs both ways."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reprorun.compare import table_blocks
from reprorun.compare.table_blocks import blocks
from reprorun.compare.values import Settings, Tolerance
from tests.compare_zoo import compare, content, first

HEADER = "step,loss,name,wall_time"


@pytest.fixture(params=["arrow", "plain"], autouse=True)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """With pyarrow, and as if it weren't installed."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.delitem(sys.modules, "reprorun.compare.table_arrow", raising=False)
    return request.param


def table(count: int = 8, **changes: tuple[int, str]) -> str:
    """Rows of a training; `changes` names column: (row, cell)."""
    lines = [HEADER]
    for index in range(count):
        cells = {
            "step": str(index),
            "loss": repr(1 / (index + 2)),
            "name": f"run{index}",
            "wall_time": str(1000.5 + index),
        }
        cells |= {column: cell for column, (row, cell) in changes.items() if row == index}
        lines.append(",".join(cells.values()))
    return "\n".join(lines) + "\n"


def test_the_first_cell_that_differs_is_named() -> None:
    found = compare("p.csv", table(), table(loss=(3, "0.25")))
    assert found.verdict == "different"
    assert first(found) == ("row 4, column loss", "0.2", "0.25")
    assert found.divergence is not None
    assert found.divergence.relative == pytest.approx(0.25)
    assert "1 of 8 cells differs in column loss" in found.reason


def test_of_several_columns_the_earliest_row_is_first() -> None:
    found = compare("p.csv", table(), table(step=(5, "50"), loss=(2, "7.0")))
    assert first(found)[0] == "row 3, column loss"
    assert any("row 6, column step" in note for note in found.notes)


def test_columns_of_times_are_volatile_and_named() -> None:
    found = compare("p.csv", table(), table(wall_time=(2, "2222.0")))
    assert found.verdict == "equivalent"
    assert "wall_time" in found.volatile[0].what
    assert compare("p.csv", table(), table(wall_time=(2, "-1"))).verdict == "different"
    assert compare("p.csv", table(), table(wall_time=(2, "never"))).verdict == "different"


def test_steps_under_the_name_of_time_are_results() -> None:
    assert compare("p.csv", "time,x\n1,2\n2,3\n", "time,x\n1,2\n3,3\n").verdict == "different"
    epoch = compare("p.csv", "time,x\n1700000000,2\n", "time,x\n1700000009,2\n")
    assert epoch.verdict == "equivalent"


def test_timestamps_in_cells_are_volatile() -> None:
    one = "at,x\n2024-01-02 03:04:05,1\n"
    assert compare("p.csv", one, one.replace("05,1", "06,1")).verdict == "equivalent"


def test_integer_against_float_is_a_difference_of_the_column() -> None:
    found = compare("p.csv", "n\n1\n2\n", "n\n1.0\n2.0\n", rtol=1)
    assert found.verdict == "different"
    assert first(found) == ("row 1, column n", "1 (integer)", "1.0 (float)")


def test_in_a_column_of_floats_one_may_be_written_as_an_integer() -> None:
    assert compare("p.csv", "n\n1\n0.5\n", "n\n1.0\n0.5\n").verdict == "equivalent"
    assert compare("p.csv", "n\n0.5\n", "n\n0.50\n").verdict == "equivalent"


@pytest.mark.parametrize("pair", [(2**53, 2**53 + 1), (2**63 - 1, 2**63 - 2), (2**70, 2**70 + 1)])
def test_large_integers_are_compared_exactly(pair: tuple[int, int]) -> None:
    found = compare("p.csv", f"n\n{pair[0]}\n", f"n\n{pair[1]}\n")
    assert first(found) == ("row 1, column n", str(pair[0]), str(pair[1]))


def test_nan_equals_nan_and_nothing_else() -> None:
    assert compare("p.csv", "a,b\nnan,1\n", "a,b\nNaN,1\n").verdict == "equivalent"
    assert compare("p.csv", "a,b\nnan,1\n", "a,b\n,1\n").verdict == "different"
    assert compare("p.csv", "a,b\nnan,1\n", "a,b\n0.0,1\n").verdict == "different"


@pytest.mark.parametrize(
    ("one", "other"), [("1e999", "2e999"), ("1e-999", "2e-999"), ("1" * 400, "1" * 399 + "2")]
)
def test_what_no_float_holds_is_not_equal(one: str, other: str) -> None:
    found = compare("p.csv", f"x,y\n0.5,{one}\n", f"x,y\n0.5,{other}\n")
    assert first(found)[0] == "row 1, column y"


def test_tolerances_by_file_and_column() -> None:
    changed = table(loss=(3, "0.2002"), step=(1, "2"))
    lax = Settings(
        files=(("*.csv", Tolerance(rtol=1e-9)),),
        columns=(("*.csv", "loss", Tolerance(rtol=0.01)),),
    )
    assert compare("p.csv", table(), table(loss=(3, "0.2002"))).verdict == "different"
    found = compare("p.csv", table(), changed, files=lax.files, columns=lax.columns)
    assert (found.verdict, first(found)[0]) == ("different", "row 2, column step")
    only = table(loss=(3, "0.2002"))
    found = compare("p.csv", table(), only, files=lax.files, columns=lax.columns)
    assert found.verdict == "within tolerance"
    assert first(found)[0] == "row 4, column loss"


@pytest.mark.parametrize(
    ("counts", "where"), [((8, 6), "row 7"), ((6, 8), "row 7"), ((1, 0), "row 1")]
)
def test_missing_and_more_rows(counts: tuple[int, int], where: str) -> None:
    found = compare("p.csv", table(counts[0]), table(counts[1]))
    assert (found.verdict, first(found)[0]) == ("different", where)


def test_missing_and_more_columns_are_named_and_the_others_compared() -> None:
    found = compare("p.csv", "a,b\n1,2\n", "a,c\n5,2\n")
    assert first(found) == ("column b", "there", "missing")
    assert any("column c" in note for note in found.notes)
    assert any("column a: 1, now 5" in note for note in found.notes)


def test_the_order_of_columns_and_of_rows_is_kept() -> None:
    assert first(compare("p.csv", "a,b\n1,2\n", "b,a\n2,1\n"))[0] == "order of columns"
    assert compare("p.csv", "a\n1\n2\n", "a\n2\n1\n").verdict == "different"


def test_ragged_rows_are_compared_cell_by_cell() -> None:
    found = compare("p.csv", "a,b\n1,2\n3\n4,5\n", "a,b\n1,2\n3,9\n4,5\n")
    assert (found.verdict, first(found)) == (
        "different",
        ("column b of row 2", "no cell", "9"),
    )
    same = compare("p.csv", "a,b\n1,2\n3\n4,0.5\n", "a,b\n1,2\n3\n4,0.50\n")
    assert same.verdict == "equivalent"
    more = compare("p.csv", "a,b\n1,2\n", "a,b\n1,2,3\n")
    assert more.verdict == "different"


def test_without_a_header_columns_have_numbers() -> None:
    assert first(compare("p.csv", "1;2\n3;4\n", "1;2\n3;5\n"))[0] == "row 2, column 2"
    assert first(compare("p.csv", "a;b\n3;4\n", "1;2\n3;4\n"))[0] == "header"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('a,b\n"x, y",1\n', 'a,b\n"x, y","1"\n'),
        ("a,b\nx,1\n", "a;b\nx;1\n"),
        ("a,b\nx,1\n", "a,b\r\nx,1\r\n"),
        ("a,b\nx,1\n", "\ufeffa,b\nx,1\n"),
        ("a,b\nx,1\n", "a,b\n\nx,1\n\n"),
        ('a,b\n"x\ny",1\n', 'a,"b"\n"x\ny",1\n'),
        ("a,b\nx,1\n", "a,b\nx, 1"),
    ],
)
def test_how_it_is_written_is_aside(one: str, other: str) -> None:
    assert compare("p.csv", one, other).verdict == "equivalent"


def test_line_breaks_within_quotes() -> None:
    found = compare("p.csv", 'a,b\n"x\ny",1\nz,2\n', 'a,b\n"x\ny",1\nz,3\n')
    assert first(found)[0] == "row 2, column b"


@pytest.mark.parametrize("size", [7, 64, 1000])
def test_the_result_does_not_depend_on_the_blocks(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_blocks, "BLOCK", size)
    changed = table(200, loss=(150, "2.0"), name=(3, "a longer name than that"))
    found = compare("p.csv", table(200), changed)
    assert first(found)[0] == "row 4, column name"
    assert any("row 151, column loss" in note for note in found.notes)
    assert (
        compare("p.csv", table(200), table(200).replace("1000.5", "1000.50")).verdict
        == "equivalent"
    )
    noisy = table(200).replace("0.", "0.00001")
    assert "row 1, column loss" in first(compare("p.csv", table(200), noisy))[0]


def test_a_column_that_differs_everywhere_is_read_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_blocks, "BLOCK", 400)
    numbers = [f"{index / 7!r}" for index in range(500)]
    noisy = [f"{index / 7 * (1 + 1e-9)!r}" for index in range(500)]
    one, other = ("x,y\n" + "\n".join(f"{n},1" for n in each) for each in (numbers, noisy))
    found = compare("p.csv", one, other, rtol=1e-6)
    assert (found.verdict, first(found)[0]) == ("within tolerance", "row 2, column x")
    assert "499 of 500" in found.reason
    broken = other.replace(noisy[400], "oops")
    found = compare("p.csv", one, broken, rtol=1e-6)
    assert first(found) == ("row 401, column x", numbers[400], "oops")
    empty = other.replace(noisy[400], "")
    assert first(compare("p.csv", one, empty, rtol=1e-6))[0] == "row 401, column x"
    large = [each.replace(numbers[450], str(2**60)) for each in (one, other)]
    large[1] = large[1].replace(noisy[450], str(2**60 + 1))
    found = compare("p.csv", *large)
    assert any("row" in note for note in found.notes) or found.verdict == "different"


def test_what_is_no_table_is_text_or_bytes() -> None:
    found = compare("p.csv", b"a,b\n\x00\x01\n", b"a,b\n\x00\x02\n")
    assert (found.verdict, found.comparator) == ("different", "bytes")
    wild = compare("p.csv", b'"' * 9 + b"\xff\xfe,,\n", b'"' * 7 + b"\xff,,\n")
    assert wild.verdict == "different"


@pytest.mark.parametrize("start", ['"x\ny",1\n' * 9, "x,1\n\n" * 9, "x,1\r\n" * 9])
def test_rows_are_counted_right_over_blocks_that_are_the_same(
    start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_blocks, "BLOCK", len(start) // 3)
    found = compare("p.csv", f"a,b\n{start}z,2\n", f"a,b\n{start}z,3\n")
    assert first(found)[0] == "row 10, column b"


def test_latin1_cells_are_compared() -> None:
    found = compare("p.csv", b"a,b\ncaf\xe9,1\n", b"a,b\ncaf\xe8,1\n")
    assert first(found)[0] == "row 1, column a"


def test_a_row_that_is_too_long_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reprorun.compare.table.LONGEST", 1000)
    monkeypatch.setattr("reprorun.compare.table_blocks.LONGEST", 1000)
    monkeypatch.setattr(table_blocks, "BLOCK", 600)
    found = compare("p.csv", "a,b\n" + "1" * 5000, "a,b\n" + "2" * 5000)
    assert (found.verdict, found.comparator) == ("different", "text")
    assert any("line of more" in note or "row of more" in note for note in found.notes)


@pytest.mark.parametrize("size", range(3, 30))
def test_blocks_end_where_rows_do(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_blocks, "BLOCK", size)
    text = 'h,i\n1,"a\nb"\n2,"c""\n\nd"\n3,e\n4,f'
    with content("p.csv", text).open() as file:
        found = list(blocks(file, skip_header=True))
    assert b"".join(found).decode() == text.partition("\n")[2]
    assert all(block.count(b'"') % 2 == 0 for block in found)


CELL = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(repr),
    st.text(st.characters(codec="ascii", exclude_characters="\0\r"), max_size=8),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=6), st.data())
def test_written_otherwise_it_is_equal_and_any_changed_cell_is_found(
    rows: list[list[str]], data: st.DataObject
) -> None:
    one, other = _written(rows, csv.QUOTE_MINIMAL, ","), _written(rows, csv.QUOTE_ALL, ",")
    assert compare("p.csv", one, other).verdict in ("equivalent", "identical")
    row, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, 2))
    changed = [[*cells] for cells in rows]
    changed[row][column] += "x7"
    found = compare("p.csv", one, _written(changed, csv.QUOTE_ALL, ","))
    assert found.verdict == "different"
    assert first(found)[0] == f"row {row + 1}, column {'abc'[column]}"


def _written(rows: list[list[str]], quoting: int, delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, delimiter=delimiter, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerows([["a", "b", "c"], *rows])
    return text.getvalue()
