"""What Python code gives as parameters -> names and values as `sweep.json` can keep them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from reprorun import launch_sweep
from reprorun.errors import UsageError
from reprorun.launch_sweep import sweep
from reprorun.model import SchemaMark
from reprorun.sweeps.book import Book, read_book
from reprorun.sweeps.plain import plain_axes, plain_params
from reprorun.sweeps.points import Points
from reprorun.sweeps.values import Entry, Head, Span
from reprorun.workflow.sweep import SweepRequest

NUMBERS = np.array([1, 2])


class Size(IntEnum):
    SMALL = 1


class Model(str, Enum):
    LINEAR = "linear"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(2**62), 2**62),
        (np.uint8(3), 3),
        (np.bool_(True), True),
        (np.str_("adam"), "adam"),
        (np.array(7), 7),
        ((np.int32(64), 64.0), [64, 64.0]),
        ({"a": [np.float64(1)]}, {"a": [1.0]}),
        (Size.SMALL, 1),
        (Model.LINEAR, "linear"),
        ([None, True, "é", 10**30, 1e-7], [None, True, "é", 10**30, 1e-7]),
    ],
)
def test_values_become_plain(value: Any, wanted: Any) -> None:
    made = plain_params({"key": value}, "params")["key"]
    assert repr(made) == repr(wanted)  # of that very type, within lists, too
    (in_grid,) = plain_axes({"key": [value]}, "grid")["key"]  # type: ignore[misc]
    assert repr(in_grid) == repr(wanted)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (NUMBERS, r"array\(\[1, 2\]\) is of type ndarray"),
        (NUMBERS[:1], r"array\(\[1\]\) is of type ndarray"),
        (np.longdouble(0.5), "is of type longdouble"),
        (np.complex128(1), "is of type complex128"),
        (np.datetime64("2020-01-01", "ns"), "is of type datetime64"),
        (np.timedelta64(5, "ns"), "is of type timedelta64"),
        (np.datetime64("2020-01-01"), "is of type datetime64"),
        (date(2020, 1, 1), r"datetime.date\(2020, 1, 1\) is of type date"),
        (b"x", "b'x' is of type bytes"),
        ([Fraction(1, 2)], r"Fraction\(1, 2\) is of type Fraction"),
        ({(1, 2): 3}, "keys must be str"),
        (MappingProxyType({}), "is of type mappingproxy"),
        (float("inf"), "no NaN and no infinity"),
        (np.float32("nan"), "no NaN and no infinity"),
        ("a\0b", "NUL"),
        ("\ud800", "not UTF-8"),
    ],
)
def test_what_is_not_json_is_named(value: Any, shown: str) -> None:
    with pytest.raises(UsageError, match=rf"^params\['lr'\]: .*{shown}"):
        plain_params({"seed": 1, "lr": value}, "params")
    with pytest.raises(UsageError, match=rf"^grid\['lr'\]: .*{shown}"):
        plain_axes({"lr": [1, value]}, "grid")


def test_a_list_in_itself() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UsageError, match=r"^params\['a'\]: Circular"):
        plain_params({"a": endless}, "params")


def test_messages_are_one_short_line() -> None:
    with pytest.raises(UsageError) as caught:
        plain_params({"a": np.zeros((50, 50))}, "params")
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("values", [0.1, "adam", b"x", None, {"a": 1}, np.float64(1), np.array(1)])
def test_one_value_in_place_of_several(values: Any) -> None:
    with pytest.raises(UsageError, match=r"^zipped\['lr'\]: .* is one value; give a list"):
        plain_axes({"lr": values}, "zipped")


@pytest.mark.parametrize("name", ["opt/lr", "../x", "", "a b", "a=b", 1, None, "1a"])
@pytest.mark.parametrize("take", [plain_params, plain_axes])
def test_names_are_those_of_parameters(name: Any, take: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"^grid: .* can't be a parameter's name"):
        take({"seed": [1], name: [1]}, "grid")


def test_ranges_stay_ranges() -> None:
    made = plain_axes({"a": range(0, 10**12, 5), "b": np.arange(3), "c": range(0)}, "grid")  # type: ignore[dict-item]
    assert made == {"a": Span(range=(0, 10**12 - 5, 5)), "b": (0, 1, 2), "c": ()}


# ---------------------------------------------------------------- the whole call


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[SweepRequest]:
    """What would be run."""
    (tmp_path / "train.py").write_text("")
    monkeypatch.chdir(tmp_path)
    asked: list[SweepRequest] = []
    monkeypatch.setattr(launch_sweep, "_run", lambda request, *_: asked.append(request))
    monkeypatch.setattr(launch_sweep, "_result", lambda swept: None)
    return asked


def test_a_sweep_over_numpy_can_be_written_down(
    requests: list[SweepRequest], tmp_path: Path
) -> None:
    sweep(
        "train.py",
        grid={"lr": np.logspace(-3, -1, 3), "seed": np.arange(2)},  # type: ignore[dict-item]
        zipped={"a": [np.float32(0.5)], "b": [np.bool_(False)]},
        points=[{"n": np.int64(1)}, {"n": 2}],
        params={"momentum": np.float64(0.9)},
    )
    (request,) = requests
    points = Points(request.points)
    head = Head(
        reprorun=SchemaMark(schema=1, version="0"), sweep="x", created="", script="train.py",
        points=request.points, params=request.spec.params,
    )  # fmt: skip
    Book(str(tmp_path), head, points, [Entry() for _ in points]).write()
    kept = read_book(str(tmp_path))
    assert kept.head.params == {"momentum": 0.9}
    assert kept.runs[0].params == {"n": 1, "a": 0.5, "b": False, "lr": 0.001, "seed": 0}
    assert [line.params for line in kept.runs] == list(points)
    assert len(kept.runs) == 12


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"grid": {"lr": [NUMBERS]}}, r"grid\['lr'\]: array"),
        ({"zipped": {"lr": [NUMBERS]}}, r"zipped\['lr'\]: array"),
        ({"points": [{"lr": 1}, {"lr": NUMBERS}]}, r"points\[1\]\['lr'\]: array"),
        ({"params": {"lr": NUMBERS}, "grid": {"a": [1]}}, r"params\['lr'\]: array"),
        ({"grid": {"opt/lr": [1]}}, "grid: 'opt/lr' can't be"),
        ({"zipped": {"../x": [1]}}, "zipped: '../x' can't be"),
        ({"points": [{"": 1}]}, r"points\[0\]: '' can't be"),
        ({"params": {"a b": 1}, "grid": {"a": [1]}}, "params: 'a b' can't be"),
        ({"grid": {"api_key": np.array(["hunter22"])}}, "looks like a secret"),
        ({"params": {"api_key": np.str_("hunter22")}, "grid": {"a": [1]}}, "looks like a secret"),
    ],
)
def test_mistakes_are_found_before_anything_is_begun(
    requests: list[SweepRequest], given: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=complaint):
        sweep("train.py", **given)
    assert requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_points_of_a_generator_are_all_taken(requests: list[SweepRequest]) -> None:
    sweep("train.py", points=({"n": n} for n in range(3)))  # type: ignore[arg-type]
    assert json.dumps(requests[0].points.listed) == '[{"n": 0}, {"n": 1}, {"n": 2}]'
