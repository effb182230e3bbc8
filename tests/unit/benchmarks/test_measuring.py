"""Pairs, ratios, targets and growth."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from measuring import (
    Effort,
    Growth,
    Row,
    Target,
    compared,
    effort_of,
    in_turn,
    run,
    told,
    trivial_project,
)


def test_the_sides_of_a_pair_take_turns_and_the_first_pair_is_dropped() -> None:
    calls: list[str] = []

    def side(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    ours, theirs = in_turn(lambda: side("ours"), lambda: side("theirs"), 2)
    assert calls == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert (ours, theirs) == ((4.0, 5.0), (3.0, 6.0))
    assert in_turn(lambda: 1.0, lambda: 2.0, 1, warm_up=False) == ((1.0,), (2.0,))


def test_a_ratio_is_of_each_pair_and_the_median_is_judged() -> None:
    row = Row(what="x", ours=(1.0, 3.0, 8.0), theirs=(1.0, 2.0, 2.0), target=Target(at_most=1.5))
    assert row.figures == (1.0, 1.5, 4.0)
    assert row.verdict == "reached"
    assert told(row).endswith("1.50 (1.00 to 4.00), <= 1.5 is reached")


def test_how_many_times_faster_is_the_other_way_round() -> None:
    row = Row(what="x", ours=(1.0, 2.0), theirs=(4.0, 4.0), target=Target(at_least=3.5))
    assert row.figures == (4.0, 2.0)
    assert row.verdict == "missed"


def test_a_figure_without_another_side_is_judged_by_itself() -> None:
    row = Row(what="memory", unit="MB", ours=(149.0,), target=Target(at_most=150))
    assert row.verdict == "reached"
    assert told(row) == "memory: 149 MB (149 to 149); <= 150 is reached"
    assert Row(what="more", ours=(-0.2,), target=Target(at_most=5)).verdict == "reached"


def test_what_could_not_be_measured_is_neither_reached_nor_missed() -> None:
    row = Row(what="x", against="y", missing="no network")
    assert row.verdict == "not measured"
    assert told(row) == "x, against y: not measured: no network"


@pytest.mark.parametrize(("power", "verdict"), [(1.0, "reached"), (1.5, "missed")])
def test_the_exponent_of_growth_is_fitted(power: float, verdict: str) -> None:
    sizes = (10, 100, 1000)
    seconds = tuple((1e-9, 0.001 * size**power, 1e9) for size in sizes)
    growth = Growth(what="x", of="files", sizes=sizes, seconds=seconds)
    assert growth.exponent == pytest.approx(power)
    assert growth.verdict == verdict


def test_a_compared_row_has_as_many_pairs_as_were_asked_for() -> None:
    sides = iter(range(1, 100))
    row = compared("x", "y", lambda: next(sides), lambda: 1.0, Effort(pairs=3), Target(at_most=2))
    assert row.ours == (2, 3, 4)


def test_a_command_is_measured_by_itself() -> None:
    busy = "x = bytearray(30_000_000)\nimport time\nwhile time.process_time() < 0.2: pass"
    ran = run(sys.executable, "-c", busy)
    assert ran.seconds > 0.15
    assert 0.15 < ran.cpu < 2
    assert ran.peak > 30_000_000


def test_a_command_that_fails_stops_the_benchmark_with_what_it_said() -> None:
    with pytest.raises(SystemExit, match="no such luck"):
        run(sys.executable, "-c", "raise SystemExit('no such luck')")


def test_efforts() -> None:
    assert effort_of([], "Doc.") == Effort(pairs=7)
    assert effort_of(["--quick"], "Doc.") == Effort(pairs=2, quick=True)
    assert effort_of(["3"], "Doc.") == Effort(pairs=3)
    assert Effort(quick=True).size(100, 5) == 5


def test_a_trivial_project_is_committed(tmp_path: Path) -> None:
    trivial_project(str(tmp_path))
    assert run("git", "-C", str(tmp_path), "diff", "--exit-code", "HEAD").seconds > 0
