"""The page of a check: what is on it, that nothing in it is obeyed, that it stays small."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

from reprorun.report.page import page
from reprorun.report.values import CodeFile, Curve, Exhibits, Picture
from reprorun.workflow.check import RecordCheck

from . import results
from .results import EVIL, named, repeat, result

PNG = "data:image/png;base64,iVBORw0KGgo="
CURVE = Curve(
    path=EVIL,
    name=EVIL,
    x_name=EVIL,
    original=((1.0, 1.0), (2.0, 2.0)),
    now=((1.0, 1.0), (2.0, 3.0)),
    divergence=2.0,
)
HOSTILE = Exhibits(
    curves=(CURVE,),
    pictures=(Picture(path=EVIL, original=PNG, now=PNG, difference=PNG),),
    code=(CodeFile(path=EVIL, kind="changed", facts=(EVIL,), patch=("@@", "-old", f"+{EVIL}")),),
    notes=(EVIL,),
)
VOID = {"meta", "img", "rect", "line", "polyline"}


class Read(HTMLParser):
    """The page as a browser reads it: its elements, each closed in its place, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_what_is_on_it() -> None:
    given = (results.SAME, results.DIFFERS, results.FAILED, results.BLAMED)
    read = Read(page(given, {}, flags=("--repeat", "2"), made="today", cwd="/here"))
    assert "4 records: 2 different, 1 equivalent, 1 error today" in read.text
    assert "first at row 3, column loss: 0.5, now 0.25 (relative error 0.5)" in read.text
    assert "no image x Pull it." in read.text
    assert "because of: thread count (1 -> 2)" in read.text
    assert "remedy: Use --numerics portable." in read.text
    assert "Varied: threads (2)" in read.text
    assert "Not varied: device: no GPU here" in read.text
    assert "host: processor old new" in read.text
    assert "reprorun check --repeat 2 runs/a" in read.text
    assert "reprorun compare runs/a data/local/check/a" in read.text
    assert "1 identical outputs" in read.text


def test_what_differs_comes_first() -> None:
    text = page((results.SAME, results.DIFFERS), {})
    assert text.index('id="record-2"') < text.index('id="record-1"')
    assert '<h1>reprorun check <span class="chip bad">different</span></h1>' in text
    assert "chip good" in page((results.SAME,), {})


def test_curves_mark_the_divergence() -> None:
    text = page((results.DIFFERS,), {(0, 0): Exhibits(curves=(CURVE,))})
    read = Read(text)
    assert len(read.all("polyline")) == 2
    marks = [attributes for attributes in read.all("g") if attributes["class"] == "divergence"]
    assert len(marks) == 1
    assert "2 on" in text
    assert all(svg["aria-label"] for svg in read.all("svg"))


def test_nothing_in_it_is_obeyed() -> None:
    text = page((results.HOSTILE,), {(0, 0): HOSTILE}, flags=("-e", EVIL), made=EVIL, cwd=EVIL)
    read = Read(text)
    names = {tag for tag, _ in read.tags}
    assert "script" not in names
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert not {"iframe", "object", "embed", "link", "base", "form", "input"} & names
    assert "</script><script>alert(1)</script>" in read.text
    assert all(c.isprintable() or c == "\n" for c in text)
    assert text.encode()


def test_it_needs_nothing_from_elsewhere() -> None:
    text = page((results.HOSTILE, results.DIFFERS), {(0, 0): HOSTILE})
    read = Read(text)
    addresses = [a.get("src") or a.get("href") or "" for _, a in read.tags]
    assert all(not address or address[0] == "#" or address.startswith("data:image/png;base64,")
               for address in addresses)  # fmt: skip
    assert "url(" not in text
    (policy,) = [a["content"] for a in read.all("meta") if a.get("http-equiv")]
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]+'; img-src data:; "
        r"base-uri 'none'; form-action 'none'",
        policy,
    )
    assert not any("style" in attributes for _, attributes in read.tags)  # the policy forbids it


def test_it_can_be_read_without_seeing_it() -> None:
    read = Read(page(results.ALL, {(4, 0): HOSTILE}))
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(image["alt"] for image in read.all("img"))
    assert all(cell.get("scope") in ("col", "row") for cell in read.all("th"))
    anchors = {attributes["href"] for attributes in read.all("a")}
    assert anchors == {f"#{section['id']}" for section in read.all("section")}


def test_ten_thousand_outputs_are_collapsed() -> None:
    outputs = [named(f"out/{n:05}.bin", "identical") for n in range(10_000)]
    outputs += [named(f"z/{n:05}.bin") for n in range(5000)]
    text = page((result(repeat(*outputs)),), {})
    assert "10000 identical outputs" in text
    assert "and 4800 more outputs that differ" in text
    assert len(text) < 500_000


def test_many_records_are_bounded() -> None:
    records: list[RecordCheck] = [results.HOSTILE, *[results.DIFFERS] * 3000, results.SAME]
    text = page(records, {})
    assert "and 1002 more records" in text
    assert len(Read(text).all("section")) == 200
    assert len(text) < 3_000_000
