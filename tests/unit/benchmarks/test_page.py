"""docs/performance.md is made of the figures."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import suite
from measuring import Effort, Figure, Growth, Row, Target
from page import Figures, Machine, decoded, encoded, page, plot

SVG = "{http://www.w3.org/2000/svg}"
MACHINE = Machine(date="2026-11-23", cpu="a processor", cpus=2, engine="docker 20", load="0, 1")
ROWS = (
    Row(what="`exec` & <more>", against="`docker run`", note="a note",
        ours=(1.0, 1.2, 1.1), theirs=(1.0, 1.0, 1.0), target=Target(at_most=1)),
    Row(what="archive", against="tar", ours=(1.0,), theirs=(20.0,), target=Target(at_least=15)),
    Row(what="memory", unit="MB", ours=(100.0,), target=Target(at_most=150)),
    Row(what="x", against="caliban", target=Target(at_least=4), missing="it can't be installed"),
)  # fmt: skip
GROWTH = Growth(what="`ls`", of="records", sizes=(10, 100), seconds=((1.0,), (10.0,)))
FOUND = {"startup": Figures(machine=MACHINE, rows=ROWS, growth=(GROWTH,))}


def test_the_page_is_that_of_the_figures_that_are_kept() -> None:
    found = suite.kept()
    assert Path(suite.PAGE).read_text() == page(found), "run `scripts/benchmark --page`"
    assert Path(suite.PLOT).read_text() == plot(found), "run `scripts/benchmark --page`"


def test_the_table_has_ratios_targets_and_verdicts() -> None:
    text = page(FOUND)
    ratio = "1.10 (1.00 to 1.20)"
    assert f"| `exec` & <more> | `docker run` | 1.1 s | 1 s | {ratio} | <= 1 | missed |" in text
    assert "| archive | tar | 1 s | 20 s | 20.00 times faster | >= 15 | reached |" in text
    assert "| memory |  | 100 MB |  |  | <= 150 MB | reached |" in text
    assert "| `ls` | 10, 100 records | 1 s, 10 s | 1.00 | reached |" in text
    assert "- x, against caliban: it can't be installed" in text
    assert "- `exec` & <more>: a note" in text
    assert "startup: Measured 2026-11-23 on 2 processors (a processor), docker 20" in text


def test_a_page_without_growth_or_gaps_has_no_headings_for_them() -> None:
    text = page({"startup": Figures(machine=MACHINE, rows=ROWS[1:2])})
    assert "Growth" not in text
    assert "Not measured" not in text


def test_the_plot_has_a_bar_for_each_ratio_from_as_fast_as_to_its_share() -> None:
    root = ElementTree.fromstring(plot(FOUND))
    bars = [e for e in root.iter(f"{SVG}rect") if e.get("class") in ("reached", "missed")]
    assert [bar.get("class") for bar in bars] == ["missed", "reached"]
    even = next(e for e in root.iter(f"{SVG}line") if e.get("class") == "even")
    slower, faster = bars
    middle = float(even.get("x1", ""))
    assert float(slower.get("x", "")) == middle
    assert float(faster.get("x", "")) + float(faster.get("width", "")) == pytest.approx(middle, 0.1)
    assert float(faster.get("width", "")) > float(slower.get("width", ""))


def test_equal_figures_give_equal_bytes() -> None:
    again = {"startup": decoded(encoded(FOUND["startup"]))}
    assert again == FOUND
    assert (page(again), plot(again)) == (page(FOUND), plot(FOUND))


def test_the_suite_keeps_what_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, path in (("FIGURES", "f"), ("PAGE", "page.md"), ("PLOT", "plot.svg")):
        monkeypatch.setattr(suite, name, str(tmp_path / path))
    (tmp_path / "f").mkdir()
    monkeypatch.setattr(suite, "machine", lambda load: MACHINE)
    asked: list[Effort] = []

    def measure(effort: Effort) -> list[Figure]:
        asked.append(effort)
        return [*ROWS, GROWTH]

    monkeypatch.setitem(sys.modules, "startup", SimpleNamespace(measure=measure))
    assert suite.main(["startup", "--quick"]) == 1  # one is missed
    assert not list((tmp_path / "f").iterdir())
    assert suite.main(["startup", "--pairs", "3"]) == 1
    assert asked == [Effort(pairs=2, quick=True), Effort(pairs=3)]
    assert suite.kept() == FOUND
    assert (tmp_path / "page.md").read_text() == page(FOUND)
    assert "== startup" in capsys.readouterr().out


def test_names_that_there_are_not_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        suite.main(["startup", "nonsense"])
    assert "no benchmark 'nonsense'" in capsys.readouterr().err
