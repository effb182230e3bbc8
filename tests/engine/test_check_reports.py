"""The reports of `reprorun check` on the real engine: page, JUnit XML, JSON, pytest."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from reprorun.workflow import check_result

from .bench import Bench, Done
from .browser import CONTRAST, Browser, browser
from .conftest import Session
from .schema import violations

__all__ = ["browser"]  # a fixture

EVIL = "<img src=x onerror=alert(1)>.csv"
TRAIN = """\
import random, struct, zlib

def chunk(kind, data):
    sum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + sum

def png(color):
    rows = b"".join(b"\\0" + bytes([255, 255, 255] * 20 + color * 20) for _ in range(40))
    head = struct.pack(">IIBBBBB", 40, 40, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(parts)

with open("metrics.csv", "w") as file:
    file.write("epoch,loss\\n")
    for epoch in range(1, 1001):
        noise = random.random() if epoch > 600 else 0
        file.write("%d,%r\\n" % (epoch, 1 / epoch + noise / 10))
for name in ("plot.png", "EVIL"):
    color = [random.randrange(255) for _ in range(3)]  # never the same twice
    data = png(color) if name == "plot.png" else b"a\\n%r\\n" % random.random()
    with open(name, "wb") as file:
        file.write(data)
with open("same.txt", "w") as file:
    file.write("hello\\n")
""".replace('b"a\\n%r\\n" % random.random()', '("a\\n%r\\n" % random.random()).encode()').replace(
    "EVIL", EVIL
)

METRICS = "figure.curve:has(figcaption :text('metrics.csv'))"


class Checked:
    """A record that differs and one that doesn't, checked once for all tests."""

    def __init__(self, bench: Bench) -> None:
        bench.write({"train.py": TRAIN, "steady.py": "open('a.txt', 'w').write('1')\n"})
        bench.commit()
        self.bench = bench
        for script in ("train.py", "steady.py"):
            done = bench.exec(script, log_dir=bench.records / script.removesuffix(".py"))
            assert done.code == 0, done.err
        self.done = self.check(str(bench.records), "--json", "--github")

    def check(self, *words: str) -> Done:
        reports = ("--html", "r.html", "--junit-xml", "r.xml")
        env = {"GITHUB_STEP_SUMMARY": str(self.bench.root / "summary.md")}
        return self.bench.reprorun("check", "--no-blame", *reports, *words, env=env)

    def file(self, name: str) -> Path:
        return self.bench.root / name


@pytest.fixture(scope="module")
def checked(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Checked:
    place = tmp_path_factory.mktemp("reports")
    session.places.append(place)
    root, records = place / "project", place / "records"
    root.mkdir()
    records.mkdir()
    return Checked(Bench(root, records, session.env, session.commits))


def test_the_result_as_json(checked: Checked) -> None:
    assert checked.done.code == 1, checked.done.err
    said = json.loads(checked.done.out)
    schema = json.loads(check_result.json_schema())
    assert violations(said, schema, schema) == []
    verdicts = {Path(each["record"]).name: each["verdict"] for each in said["records"]}
    assert verdicts == {"steady": "identical", "train": "different"}


def test_the_result_as_junit_xml(checked: Checked) -> None:
    (suite,) = ElementTree.parse(checked.file("r.xml")).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    (failure,) = suite.iter("failure")
    assert "row 601, column loss" in str(failure.text)
    times = [float(case.get("time", "0")) for case in suite.iter("testcase")]
    assert all(0.1 < time < 100 for time in times)


def test_github_is_told(checked: Checked) -> None:
    lines = [line for line in checked.done.err.splitlines() if line.startswith("::error ")]
    assert len(lines) == 1
    assert "title=reprorun%3A different%3A" in lines[0]
    assert "✅" in checked.file("summary.md").read_text()


# ---------------------------------------------------------------- the page


@pytest.mark.browser
def test_the_page_in_a_browser(checked: Checked, browser: Browser) -> None:
    with browser.open(checked.file("r.html")) as seen:
        assert seen.said == []
        assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []
        assert len([url for url in seen.requests if url.startswith("file:")]) == 1
        text = seen.page.inner_text("body")
        assert EVIL in text
        assert "first at row 601, column loss" in text
        assert seen.ask("document.querySelectorAll('img').length") == 3
        assert seen.ask("[...document.images].every(i => i.complete && i.naturalWidth === 40)")
        assert seen.page.text_content(f"{METRICS} .divergence text") == "differs from epoch 601 on"


@pytest.mark.browser
def test_the_divergence_is_marked_where_the_curves_part(checked: Checked, browser: Browser) -> None:
    """600 of 1000 epochs are the same: the mark is there, and both curves are drawn across it."""
    with browser.open(checked.file("r.html")) as seen:
        box: dict[str, dict[str, float]] = {
            name: seen.page.locator(f"{METRICS} {css}").first.bounding_box()
            for name, css in (
                *(("frame", "rect.frame"), ("mark", ".divergence line")),
                *(("one", "polyline.one"), ("two", "polyline.two")),
            )
        }
        share = (box["mark"]["x"] - box["frame"]["x"]) / box["frame"]["width"]
        assert share == pytest.approx(600 / 999, abs=0.02)
        for name in ("one", "two"):
            assert box[name]["width"] == pytest.approx(box["frame"]["width"], rel=0.05)
        strokes = {
            seen.ask(f"getComputedStyle(document.querySelector('polyline.{name}')).stroke")
            for name in ("one", "two")
        }
        assert len(strokes) == 2


@pytest.mark.browser
def test_at_the_width_of_a_phone(checked: Checked, browser: Browser) -> None:
    with browser.open(checked.file("r.html"), phone=True) as seen:
        assert seen.ask("document.documentElement.scrollWidth") <= 360
        beyond = seen.ask(
            "[...document.querySelectorAll('h1,h2,h3,h4,p,figure,.chip,summary,td')]"
            ".filter(e => e.getBoundingClientRect().right > 361).map(e => e.outerHTML)"
        )
        assert beyond == []
        assert seen.ask("parseFloat(getComputedStyle(document.body).fontSize)") >= 16


@pytest.mark.browser
def test_in_the_dark(checked: Checked, browser: Browser) -> None:
    colors = []
    for dark in (False, True):
        with browser.open(checked.file("r.html"), dark=dark) as seen:
            colors.append(seen.ask("getComputedStyle(document.body).backgroundColor"))
            assert seen.ask(CONTRAST) == []
    assert colors == ["rgb(255, 255, 255)", "rgb(21, 24, 28)"]


@pytest.mark.browser
def test_with_the_keyboard_alone(checked: Checked, browser: Browser) -> None:
    with browser.open(checked.file("r.html")) as seen:
        reached = set()
        for _ in range(30):
            seen.page.keyboard.press("Tab")
            reached.add(seen.ask("document.activeElement.tagName"))
        assert {"A", "SUMMARY", "PRE"} <= reached
        seen.page.locator("summary").first.focus()
        seen.page.keyboard.press("Enter")
        assert seen.ask("document.querySelector('details').open")


# ---------------------------------------------------------------- packs, and pytest


def test_a_pack_has_curves_too(checked: Checked) -> None:
    bench = checked.bench
    done = bench.reprorun("pack", str(bench.records / "train"), "-o", "train.rrpack")
    assert done.code == 0, done.err
    done = checked.check("train.rrpack", "-q")
    assert done.code == 1, done.err
    page = checked.file("r.html").read_text()
    assert 'class="divergence"' in page
    assert "reprorun compare train.rrpack" not in page


MARKED = """\
import random
import pytest

@pytest.mark.reproducible
def test_steady(tmp_path):
    (tmp_path / "a.txt").write_text("1")

@pytest.mark.reproducible
def test_drifts(tmp_path):
    (tmp_path / "r.csv").write_text("r\\n%r\\n" % random.random())
"""


def test_pytest(bench: Bench) -> None:
    """Records and marked tests, on two processors."""
    settings = '[tool.pytest.ini_options]\naddopts = "--strict-markers"\n'
    bench.write({"test_it.py": MARKED, "steady.py": "print(1)\n", "pyproject.toml": settings})
    bench.commit()
    assert bench.exec("steady.py").code == 0
    words = ("-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "--junitxml=r.xml")
    done = bench.python(*words, "--reprorun", str(bench.records), REPRORUN_BASE_IMAGE=bench.env[
        "REPRORUN_BASE_IMAGE"
    ])  # fmt: skip
    assert done.code == 1, done.err
    assert "1 failed, 2 passed" in done.out, done.out
    found: dict[str, Any] = {
        str(case.get("name")).rpartition("/")[2]: case
        for case in ElementTree.parse(bench.root / "r.xml").iter("testcase")
    }
    assert set(found) == {"test_steady", "test_drifts", "run-0"}
    (failure,) = found["test_drifts"].iter("failure")
    assert "outputs/reprorun-tmp/test_drifts0/r.csv" in failure.text
    assert "first at row 1, column r" in failure.text
