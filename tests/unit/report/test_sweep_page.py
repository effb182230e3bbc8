"""The page of a sweep: what is on it and where, that nothing is obeyed, that it stays small."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.report.scales import Categories, Numbers
from reprorun.report.sweep_columns import Columns
from reprorun.report.sweep_page import page
from reprorun.report.sweep_plots import HEIGHT, WIDTH, Plot, make_plot
from reprorun.sweeps.table import Result
from reprorun.sweeps.values import PointsSpec

from .results import EVIL
from .sweeps import grid, head, result
from .test_page import VOID, Read

VOID.add("path")
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def columns(results: Iterable[Result]) -> Columns:
    found = Columns()
    for each in results:
        found.add(each)
    return found


def plot(results: Iterable[Result], metric: str = "loss", factor: str = "lr") -> Plot:
    found = columns(results)
    made = make_plot(found, metric, found.factors[factor])
    assert made is not None
    return made


def points(path: str) -> list[tuple[float, float]]:
    """Where a path goes."""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.e+]+),(-?[\d.e+]+)", path)]


def texts(ticks: Any) -> list[str]:
    return [tick.text for tick in ticks]


# ---------------------------------------------------------------- axes


@given(st.lists(FINITE, min_size=1, max_size=30))
def test_numbers_lie_within_their_axis_in_order(values: list[float]) -> None:
    axis = Numbers(values, 50, 350)
    places = [axis.place(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(50 <= place <= 350 for place in places)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 10
    assert all(50 <= tick.place <= 350 for tick in ticks)
    if len(ticks) > 1:
        assert len({tick.text for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.001, 0.01, 0.1], ["0.001", "0.01", "0.1"]),  # few: a tick for each
        ([1, 2, 3], ["1", "2", "3"]),
        (list(range(101)), ["0", "20", "40", "60", "80", "100"]),
        ([1e-5 * 1.5**n for n in range(30)], ["1e-05", "0.0001", "0.001", "0.01", "0.1", "1"]),
        ([7], ["7"]),
        ([-n for n in range(8)], ["-6", "-4", "-2", "0"]),
        ([1e16 + 2 * n for n in range(9)], None),
        ([5e-324 * n for n in range(9)], None),
        ([-1e308, 1e308], ["-1e+308", "1e+308"]),
    ],
)
def test_ticks(values: list[float], wanted: list[str] | None) -> None:
    found = texts(Numbers(values, 50, 350).ticks())
    assert wanted is None or found == wanted


def test_decades_are_drawn_by_logarithms() -> None:
    assert Numbers([0.001, 1], 0, 100).logs
    assert not Numbers([0.011, 1], 0, 100).logs  # less than two decades
    assert not Numbers([0, 1000], 0, 100).logs
    assert not Numbers([-1, 1000], 0, 100).logs
    axis = Numbers([0.001, 0.01, 0.1, 1], 0, 120)
    steps = [b - a for a, b in pairwise(map(axis.place, (0.001, 0.01, 0.1, 1)))]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.11)


def test_words_are_cut_to_their_room() -> None:
    axis = Categories(["short", "a very long name of a network"], 0, 100)
    assert texts(axis.ticks()) == ["short", "a ver…"]
    assert [tick.place for tick in axis.ticks()] == [25, 75]


# ---------------------------------------------------------------- plots


def test_a_dot_is_a_run_and_a_line_goes_through_the_means() -> None:
    made = plot(grid(rates=(1.0, 2.0, 4.0), seeds=3))
    assert (made.by, [group.label for group in made.groups]) == ("net", ["small", "wide"])
    small, wide = made.groups
    assert [len(points(group.dots)) for group in (small, wide)] == [9, 9]
    assert [len(points(group.means)) for group in (small, wide)] == [3, 3]
    places = [x for x, _ in points(small.means)]
    assert (places[2] - places[1]) == pytest.approx(2 * (places[1] - places[0]), abs=0.2)
    for x, mean in points(small.means):
        own = [y for dot, y in points(small.dots) if dot == x]
        assert mean == pytest.approx(sum(own) / 3, abs=0.11)
    assert min(y for _, y in points(small.dots)) < min(y for _, y in points(wide.dots))  # it is up


def test_rates_over_decades_are_equally_far_apart() -> None:
    made = plot(grid(rates=(0.0001, 0.001, 0.01, 0.1)))
    places = [x for x, _ in points(made.groups[0].means)]
    steps = [b - a for a, b in pairwise(places)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.11)
    assert texts(made.x_ticks) == ["0.0001", "0.001", "0.01", "0.1"]


def test_words_are_categories() -> None:
    made = plot(grid(), factor="net")
    assert texts(made.x_ticks) == ["small", "wide"]
    assert made.by == "lr"
    assert made.in_categories
    assert all(len(points(group.means)) == 2 for group in made.groups)
    mixed = [result({"a": value}, {"m": str(n)}) for n, value in enumerate([1, "auto", None, [1]])]
    assert texts(plot(mixed, "m", "a").x_ticks) == ["1", "auto", "null", "[1]"]
    kinds = [result({"a": value}, {"m": str(n)}) for n, value in enumerate([True, "true"])]
    assert texts(plot(kinds, "m", "a").x_ticks) == ["true", "true"]  # and yet two


def test_colors_stand_for_numbers_by_their_size() -> None:
    runs = [result({"a": a, "b": b}, {"m": str(a + b)}) for a in (1, 2) for b in (0.5, 0.1, 0.2)]
    assert [group.label for group in plot(runs, "m", "a").groups] == ["0.1", "0.2", "0.5"]
    assert [len(points(group.dots)) for group in plot(runs, "m", "a").groups] == [2, 2, 2]


def test_a_seed_has_no_colors() -> None:
    runs = [result({"lr": lr, "seed": s}, {"m": str(lr + s)}) for lr in (1, 2) for s in (1, 2, 3)]
    (group,) = plot(runs, "m", "lr").groups
    assert (group.label, len(points(group.dots)), len(points(group.means))) == ("", 6, 2)
    assert [factor.name for factor in columns(runs).varying()] == ["lr", "seed"]


def test_what_has_no_number_is_counted() -> None:
    texts_ = ["1", "nan", "inf", "", "much", "2"]
    runs = [result({"lr": n}, {"m": text}) for n, text in enumerate(texts_)]
    runs.append(result({"other": 1}, {"m": "3"}))  # has no lr
    made = plot(runs, "m", "lr")
    assert made.notes == ("5 of 7 finished runs have no number here",)
    assert len(points(made.groups[0].dots)) == 2


def test_many_runs_are_thinned_and_that_is_said() -> None:
    runs = (result({"x": n / 7}, {"m": str(math.sin(n))}) for n in range(20_001))
    made = plot(runs, "m", "x")
    assert made.notes == ("one in 5 of 20001 runs is drawn",)
    assert 1000 < len(points(made.groups[0].dots)) <= 4001
    assert made.groups[0].means == ""  # each has its own x
    few = (result({"x": n % 5}, {"m": str(math.sin(n))}) for n in range(20_001))
    made = plot(few, "m", "x")
    assert made.notes == ("one in 5 of 20001 runs is drawn; lines are the means of all",)
    middle = [y for _, y in points(made.groups[0].means)]
    assert max(middle) - min(middle) < 5  # all means are near 0


def test_numbers_that_are_the_same_in_all_runs_are_not_drawn() -> None:
    assert columns(grid()).interesting() == ["loss", "accuracy"]  # and no epoch
    late = [result({}, {"time": str(n), "loss": str(n), "same": "1", "nan": "nan"}) for n in (1, 2)]
    assert columns(late).interesting() == ["loss", "time"]


@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(), st.integers(), st.booleans(), st.text(max_size=5), st.none()),
            st.one_of(st.floats().map(str), st.text(max_size=5)),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_all_that_is_drawn_is_in_the_picture(runs: list[tuple[Any, str]]) -> None:
    found = columns(result({"p": value}, {"m": text}) for value, text in runs)
    made = make_plot(found, "m", found.factors["p"])
    if made is None:
        return
    for group in made.groups:
        for x, y in [*points(group.dots), *points(group.means)]:
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


# ---------------------------------------------------------------- the page


def test_what_is_on_it() -> None:
    runs = [
        *grid(),
        result({"seed": 9, "lr": 0.1, "net": "wide"}, status="failed", reason="exit code 1: boom"),
        result({"seed": 9, "lr": 0.2, "net": "wide"}, status="planned"),
    ]
    text = page(head(), runs, name="data/local/sweep/train", made="today")
    read = Read(text)
    assert "reprorun sweep data/local/sweep/train 1 failed" in read.text
    assert "20 runs: 1 failed, 18 finished, 1 planned today" in read.text
    assert "Script train.py --epochs 20" in read.text
    assert "seed = 0, 1, 2, 3, 4, 5, … (10 values); lr = 0.001, 0.1; net = small, wide" in read.text
    assert "In all runs batch = 32" in read.text
    assert "Ended not yet" in read.text
    assert "Environment sha256:e" in read.text
    assert "Time of all runs 45.0 s" in read.text
    assert "seed=9_lr=0.1_net=wide failed 0.1 wide 9 exit code 1: boom" in read.text
    figures = [a["aria-label"] for a in read.all("svg") if a.get("role") == "img"]
    assert figures == [
        f"{metric} by {factor}, 18 runs"
        for metric in ("loss", "accuracy")
        for factor in ("lr", "net", "seed")
    ]
    order = [text.index(f"<code>seed={n}_lr=0.001_net=small</code>") for n in range(3)]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("statuses", "chip"),
    [
        (["finished", "finished"], "good"),
        (["finished", "lost"], "bad"),
        (["finished", "interrupted"], "doubt"),
        (["planned", "running"], "doubt"),
        ([], "good"),
    ],
)
def test_how_it_went_as_a_whole(statuses: list[Any], chip: str) -> None:
    text = page(head(), [result({"a": n}, status=each) for n, each in enumerate(statuses)])
    heading = text[text.index("<h1>") : text.index("</h1>")]
    assert f'class="chip {chip}"' in heading


def test_points_in_words() -> None:
    def words(**fields: Any) -> str:
        return Read(page(head(points=PointsSpec(**fields)), [])).text

    assert "Listed points 2" in words(listed=({"a": 1}, {"a": 2}))
    assert "Hand in hand a = 1, 2; b = x, y" in words(zipped={"a": (1, 2), "b": ("x", "y")})
    assert "Sample 5 points at random (seed 7)" in words(sample=5, sample_seed=7)


HOSTILE = (
    result({EVIL: EVIL, "b": [EVIL]}, {EVIL: "1", f"2{EVIL}": EVIL}),
    result({EVIL: "b", "b": {EVIL: 1}}, {EVIL: "2"}),
    result({EVIL: "c", "b": 1}, {}, "failed", EVIL),
)
HOSTILE_HEAD = head(
    script=EVIL,
    args=(EVIL,),
    params={EVIL: EVIL},
    points=PointsSpec(grid={EVIL: (EVIL, 1)}, zipped={EVIL: ([EVIL],)}),
    created=EVIL,
    ended=EVIL,
    environment_digest=EVIL,
    githash=EVIL,
)


def test_nothing_in_it_is_obeyed() -> None:
    text = page(HOSTILE_HEAD, HOSTILE, name=EVIL, made=EVIL)
    read = Read(text)
    names = {tag for tag, _ in read.tags}
    assert not {"script", "iframe", "object", "embed", "link", "base", "form", "input"} & names
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert not any("style" in attributes for _, attributes in read.tags)
    assert "</script><script>alert(1)</script>" in read.text
    assert all(c.isprintable() or c == "\n" for c in text)
    assert text.encode()
    assert "url(" not in text
    assert not any(a.get("src") or a.get("href") for _, a in read.tags)
    (policy,) = [a["content"] for a in read.all("meta") if a.get("http-equiv")]
    assert str(policy).startswith("default-src 'none'; style-src 'sha256-")


def test_it_can_be_read_without_seeing_it() -> None:
    read = Read(page(head(), grid()))
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(cell.get("scope") in ("col", "row") for cell in read.all("th"))
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in read.all("svg"))


def test_numbers_in_parameters_that_no_float_holds() -> None:
    runs = [result({"p": value}, {"m": "1"}) for value in (10**400, -(10**400), 1)]
    assert "1000000" in page(head(), runs)


def test_many_runs_are_bounded_and_the_failed_ones_are_there() -> None:
    runs = [
        result({"x": n, "y": n % 3}, {"m": str(n % 100)})
        if n % 1000 != 999
        else result({"x": n, "y": 0}, {}, "failed", "boom")
        for n in range(10_000)
    ]
    text = page(head(), runs)
    read = Read(text)
    assert "2000 of 10000 runs, first of all those that did not finish" in read.text
    assert text.count('<th scope="row"><code>x=') == 2000
    assert text.count("boom") == 10
    assert "one in 2 of 9990 runs is drawn" in read.text
    assert len(text) < 2_000_000


def test_many_columns_are_bounded() -> None:
    def runs() -> Iterable[Result]:
        for n in range(60):
            metrics = {f"metric {m:03} {'x' * 900}": str(n * m) for m in range(1, 200)}
            yield result({f"p{p:03}": n + p for p in range(100)}, metrics)

    text = page(head(), runs())
    assert len([a for a in Read(text).all("svg") if a.get("role") == "img"]) == 24
    assert "Not drawn, as they are many: the parameters p004, p005" in text
    assert "Not drawn, as they are many: metric 007" in text
    assert len(text) < 1_000_000


def test_a_parameter_of_many_words_is_not_drawn() -> None:
    text = page(head(), [result({"p": f"w{n}"}, {"m": str(n)}) for n in range(50)])
    assert "Not drawn: p, which takes 50 values." in text
    assert "<svg" not in text


def test_nothing_to_draw_is_said() -> None:
    read = Read(page(head(), [result({"a": 1}, {"m": "x"}), result({"a": 2}, {"m": "x"})]))
    assert "No number of a progress.csv could be drawn; what stands there is the same" in read.text
    read = Read(page(head(), [result({"a": 1})]))
    assert "No parameter varies in the runs that finished." in read.text
