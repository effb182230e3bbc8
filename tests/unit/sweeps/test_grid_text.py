"""What the user typed -> which points a sweep goes through."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.errors import UsageError
from reprorun.json_text import canonical
from reprorun.sweeps.grid_text import LARGEST_LIST, parse_points
from reprorun.sweeps.points import Points, values_of
from reprorun.sweeps.values import PointsSpec, Span

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('ab,]"\\'), inner),
    max_leaves=6,
)


def parse(
    *grid: str,
    zipped: tuple[str, ...] = (),
    from_file: str | None = None,
    sample: int | None = None,
    common: dict[str, Any] | None = None,
) -> tuple[PointsSpec, tuple[str, ...]]:
    return parse_points(grid, zipped, from_file, sample, 0, common or {})


def values(text: str) -> list[Any]:
    """The values of `--grid key=TEXT`."""
    return list(values_of("key", parse(f"key={text}")[0].grid["key"]))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.1,0.01", [0.1, 0.01]),
        ("1", [1]),
        ("1, 2", [1, 2]),
        ("adam,sgd", ["adam", "sgd"]),
        ("adam, sgd ", ["adam", "sgd"]),
        ("true,null,1e-3", [True, None, 0.001]),
        ("[64,64],[32]", [[64, 64], [32]]),
        ('{"a":1,"b":[2,3]},x', [{"a": 1, "b": [2, 3]}, "x"]),
        ('"a,b",c', ["a,b", "c"]),
        ('" a "', [" a "]),
        ('"a\\",b",c', ['a",b', "c"]),
        ('["],",1],2', [["],", 1], 2]),
        ('"",1', ["", 1]),
        ('""', [""]),
        ("f[1,2],g", ["f[1,2]", "g"]),
        ('5",6', ['5"', 6]),
        (":-],:-}", [":-]", ":-}"]),
        ("a=b", ["a=b"]),
        ('x,"a=b"', ["x", "a=b"]),
        ("é,日本", ["é", "日本"]),
        ("../a,a..b,1.2.3", ["../a", "a..b", "1.2.3"]),
        ("$(reboot)", ["$(reboot)"]),
        ("0..3,7", [0, 1, 2, 3, 7]),
        ("7,0..3", [7, 0, 1, 2, 3]),
        ("x,-3..-1,0..10..5", ["x", -3, -2, -1, 0, 5, 10]),
        ('"0..3"', ["0..3"]),
        ("[1],0..1", [[1], 0, 1]),
    ],
)
def test_values(text: str, wanted: list[Any]) -> None:
    found = values(text)
    assert [canonical(value) for value in found] == [canonical(value) for value in wanted]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0..9", (0, 9, 1)),
        ("-5..5", (-5, 5, 1)),
        ("0..100..10", (0, 100, 10)),
        ("9..0..-3", (9, 0, -3)),
        ("3..3", (3, 3, 1)),
        ("0..999999999", (0, 999_999_999, 1)),
    ],
)
def test_ranges_are_kept_as_such(text: str, span: tuple[int, int, int]) -> None:
    assert parse(f"seed={text}")[0].grid == {"seed": Span(range=span)}
    assert parse("x=1", zipped=(f"seed={text}",))[0].zipped == {"seed": Span(range=span)}


def test_a_huge_range_costs_nothing() -> None:
    began = time.perf_counter()
    spec, notes = parse("seed=0..999999999", "lr=0.1,0.2")
    assert len(Points(spec)) == 2_000_000_000
    assert time.perf_counter() - began < 1
    assert not notes


@given(st.lists(JSON, min_size=1, max_size=5, unique_by=canonical))
def test_what_is_written_is_read(wanted: list[Any]) -> None:
    found = values(",".join(json.dumps(value) for value in wanted))
    assert [canonical(value) for value in found] == [canonical(value) for value in wanted]
    found = values(", ".join(json.dumps(value, ensure_ascii=False) for value in wanted))
    assert [canonical(value) for value in found] == [canonical(value) for value in wanted]


@given(st.text(st.characters(exclude_characters="\0"), max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        spec, _ = parse(f"a={text}", f"b={text}")
    except UsageError:
        return
    assert spec.grid["a"] == spec.grid["b"]
    for point in Points(spec):
        json.dumps(point, ensure_ascii=False, allow_nan=False).encode()
        break


def test_axes_are_in_the_order_in_which_they_are_given() -> None:
    spec, _ = parse("b=1,2", "a=3,4", zipped=("d=1", "c=2"))
    assert list(spec.grid) == ["b", "a"]
    assert list(spec.zipped) == ["d", "c"]


def test_all_together(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"w": 1}\n{"w": 2}\n')
    spec, notes = parse_points(
        ["seed=0..1"], ["a=1,2", "b=x,y"], str(file), 3, 7, {"common": "value"}
    )
    assert spec == PointsSpec(
        listed=({"w": 1}, {"w": 2}),
        zipped={"a": (1, 2), "b": ("x", "y")},
        grid={"seed": Span(range=(0, 1, 1))},
        sample=3,
        sample_seed=7,
    )
    assert notes == ()


# ---------------------------------------------------------------- what can't be taken


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no values"),
        ("  ", "has no values"),
        ("1,,2", "a comma with no value"),
        ("1,", "a comma with no value"),
        (",", "a comma with no value"),
        ("True,False", "values are JSON; write true, or '\"True\"' for the text"),
        ("[1,2", "a bracket is opened and not closed"),
        ("f[1,2", "a bracket is opened and not closed"),
        ("[1}", "looks like JSON, but is none"),
        ('"open', "looks like JSON, but is none"),
        ("NaN", "no NaN and no infinity"),
        ("1,1e999", "no NaN and no infinity"),
        ("1" * 5000, "too much"),
        ("0.." + "9" * 5000, "too much"),
        ("[" * 50_000 + "]" * 50_000, "too much"),
        ("0.1..0.5", "a range is of whole numbers.*such as 0.1,0.2.*'\"0.1..0.5\"'"),
        ("0..1e6", "a range is of whole numbers"),
        ("1..", "a range is of whole numbers"),
        ("0..n", "a range is of whole numbers"),
        ("1...5", "a range is of whole numbers"),
        ("0..9..1..2", "a range is of whole numbers"),
        ("x,.5..1", "a range is of whole numbers"),
        ("9..0", "is empty.*0..9, or 9..0..-1"),
        ("1,9..0", "is empty"),
        ("0..9..-1", "has no values"),
        ("9..0..1", "has no values"),
        ("0..9..0", "a step of 0"),
        (f"0..{10**20}", "more than .* points"),
        (f"x,0..{LARGEST_LIST}", "too long to stand among other values"),
        ("0..9,lr=0.1", "'?lr=0.1'? looks like another parameter"),
        ("\udcff", "not UTF-8"),
        ('["\\ud800"]', "not UTF-8"),
        ('{"\\u0000": 1}', "NUL"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_values_that_can_not_be_taken(text: str, words: str, zipped: bool) -> None:
    option = f"key={text}"
    flag = "--zip key" if zipped else "--grid key"
    with pytest.raises(UsageError, match=words) as caught:
        parse("other=1", zipped=(option,)) if zipped else parse(option, "other=1")
    message = str(caught.value)
    assert len(message) < 300
    assert message.startswith((flag, "that is more"))


def test_a_backslash_before_the_name_of_nul_is_text() -> None:
    assert values('"\\\\u0000"') == ["\\u0000"]


@pytest.mark.parametrize("option", ["", "seed", "=1", "1a=1", "a-b=1", "a b=1", "seed:0..9"])
def test_options_without_a_name(option: str) -> None:
    with pytest.raises(UsageError, match="NAME=VALUES"):
        parse(option)
    with pytest.raises(UsageError, match=r"--zip .*NAME=VALUES"):
        parse(zipped=(option,))


def test_nothing_is_given() -> None:
    with pytest.raises(UsageError, match="a grid of nothing"):
        parse()
    with pytest.raises(UsageError, match="a grid of nothing"):
        parse(sample=1)


def test_a_sample_of_more_than_there_are() -> None:
    assert len(Points(parse("a=0..9", "b=1,2", sample=20)[0])) == 20
    with pytest.raises(UsageError, match="has 20 points"):
        parse("a=0..9", "b=1,2", sample=21)
    with pytest.raises(UsageError, match="has 2 points"):
        parse("a=1,2,2", sample=3)  # those that stand once


def test_an_option_that_is_given_twice() -> None:
    with pytest.raises(UsageError, match="lr has two --grid options"):
        parse("lr=1", "seed=1", "lr=2")
    with pytest.raises(UsageError, match="lr has two --zip options"):
        parse(zipped=("lr=1", "lr=1"))


def test_a_parameter_in_two_places(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"x": 1}\n{"lr": 2}\n')
    path, grid, zipped, common = str(file), ("lr=1",), ("lr=1",), {"lr": 1}
    cases: list[tuple[dict[str, Any], tuple[str, ...], str, str]] = [
        ({"zipped": zipped}, grid, "--zip", "--grid"),
        ({"common": common}, grid, "-P", "--grid"),
        ({"common": common, "zipped": zipped}, (), "-P", "--zip"),
        ({"common": common, "from_file": path}, (), "-P", "--from-file"),
        ({"zipped": zipped, "from_file": path}, (), "--from-file", "--zip"),
        ({"from_file": path}, grid, "--from-file", "--grid"),
    ]
    for more, options, one, other in cases:
        with pytest.raises(UsageError, match=f"lr is given twice, by {one} and by {other}"):
            parse(*options, **more)


def test_what_goes_hand_in_hand_is_equally_long() -> None:
    with pytest.raises(UsageError, match="a has 2 values and c 3"):
        parse(zipped=("a=1,2", "b=3,4", "c=1,2,2"))
    with pytest.raises(UsageError, match="a has 10 values and b 2"):
        parse(zipped=("a=0..9", "b=3,4"))


# ---------------------------------------------------------------- each point once


def test_equal_values_are_run_once() -> None:
    spec, notes = parse("seed=1,2,1", "lr=0.1,0.1,0.1", "b=0..3,2", "c=1,2")
    assert spec.grid == {"seed": (1, 2), "lr": (0.1,), "b": (0, 1, 2, 3), "c": (1, 2)}
    assert notes == (
        "seed: 1 stands twice; it is run once",
        "lr: 0.1 stands 3 times; it is run once",
        "b: 2 stands twice; it is run once",
    )


def test_values_of_different_types_differ() -> None:
    spec, notes = parse('a=1,1.0,true,"1"')
    assert [canonical(value) for value in spec.grid["a"]] == ["1", "1.0", "true", '"1"']  # type: ignore[union-attr]
    assert not notes


def test_objects_are_equal_in_any_order() -> None:
    spec, notes = parse('a={"x":1,"y":2},{"y":2,"x":1}')
    assert [list(point["a"]) for point in Points(spec)] == [["x", "y"]]  # as it is written first
    assert len(notes) == 1


def test_many_doubles_are_one_note() -> None:
    _, notes = parse("a=0..500,0..500")
    assert notes == ("a: 0 stands twice, and 500 other values more than once; it is run once",)


def test_equal_rows_of_zip_are_run_once() -> None:
    spec, notes = parse(zipped=("a=1,1,1,2", "b=x,y,x,x"))
    assert spec.zipped == {"a": (1, 1, 2), "b": ("x", "y", "x")}
    assert notes == ('--zip: a=1, b="x" stands twice; it is run once',)


def test_equal_values_beside_a_range_are_other_points() -> None:
    spec, notes = parse(zipped=("a=0..2", "b=1,1,1"))
    assert [list(point.values()) for point in Points(spec)] == [[0, 1], [1, 1], [2, 1]]
    assert not notes
