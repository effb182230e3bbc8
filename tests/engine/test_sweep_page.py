"""The page of a sweep as somebody sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reprorun.report.sweep_page import page

from ..unit.report.sweeps import grid, head, result
from .browser import CONTRAST, Browser, browser

__all__ = ["browser"]  # a fixture

EVIL = "<img src=x onerror=alert(1)>"
PLOT = "figure.plot:has(svg[aria-label^='loss by lr'])"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "sweep.html"
    failed = result({"seed": 9, "lr": 0.1, "net": EVIL}, status="failed", reason=f"code 1: {EVIL}")
    path.write_text(page(head(), [*grid(rates=(0.001, 0.01, 0.1, 1.0)), failed], name=EVIL))
    return path


@pytest.mark.browser
def test_the_page_in_a_browser(shown: Path, browser: Browser) -> None:
    with browser.open(shown) as seen:
        assert seen.said == []
        assert [url for url in seen.requests if not url.startswith("file:")] == []
        assert len(seen.requests) == 1
        assert seen.page.inner_text("h1") == f"reprorun sweep {EVIL} 1 failed"
        assert seen.ask("document.images.length") == 0
        assert seen.page.locator("figure.plot").count() == 6
        assert seen.page.locator("table.runs tbody tr").count() == 25


@pytest.mark.browser
def test_dots_and_lines_are_seen_in_their_frame(shown: Path, browser: Browser) -> None:
    """Four rates over three decades: equally far apart, from edge to edge, in two colors."""
    with browser.open(shown) as seen:
        frame = seen.page.locator(f"{PLOT} rect.frame").bounding_box()
        line = seen.page.locator(f"{PLOT} svg[role=img] path.means").first.bounding_box()
        assert line["width"] == pytest.approx(frame["width"], rel=0.1)
        inside = (frame["x"] - 1, frame["x"] + frame["width"] + 1)
        assert inside[0] <= line["x"]
        assert line["x"] + line["width"] <= inside[1]
        for kind in ("dots", "means"):
            colors = seen.ask(
                f"[...document.querySelectorAll('path.{kind}')].slice(0, 2)"
                ".map(path => getComputedStyle(path).stroke)"
            )
            assert len(set(colors)) == 2
        width = "getComputedStyle(document.querySelector('path.dots')).strokeLinecap"
        assert seen.ask(width) == "round"  # without it a line of no length is nothing
        assert seen.page.inner_text(f"{PLOT} .keys").split() == ["net:", "small", "wide"]


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_in_the_dark_too(shown: Path, browser: Browser, dark: bool) -> None:
    with browser.open(shown, dark=dark) as seen:
        back = seen.ask("getComputedStyle(document.body).backgroundColor")
        assert back == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
        assert seen.ask(CONTRAST) == []


@pytest.mark.browser
def test_at_the_width_of_a_phone(shown: Path, browser: Browser) -> None:
    with browser.open(shown, phone=True) as seen:
        assert seen.ask("document.documentElement.scrollWidth") <= 360
        beyond = seen.ask(
            "[...document.querySelectorAll('h1,h2,p,figure,.chip,.key,td,th[scope=row]')]"
            ".filter(e => e.getBoundingClientRect().right > 361).map(e => e.outerHTML)"
        )
        assert beyond == []
