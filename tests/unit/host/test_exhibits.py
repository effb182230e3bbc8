"""What a page shows of re-runs that differ, read from both records."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest

from reprorun.engine.fake import FakeProcess
from reprorun.model import Changes
from reprorun.report.values import Exhibits
from reprorun.workflow.check import CheckOptions, RecordCheck
from reprorun.workflow.exhibits import gather_exhibits

from ..conftest import git
from .test_check import Lab


def png(colour: tuple[int, int, int]) -> bytes:
    from PIL import Image

    image = Image.new("RGB", (4, 4), "white")
    image.putpixel((1, 1), colour)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class Drifting:
    """An experiment that comes out otherwise each time."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, process: FakeProcess) -> int:
        self.runs += 1
        shift = 0.5 * (self.runs - 1)
        rows = [f"{n},{n + shift * (n > 7)},{n + shift * (n > 5)},{n}" for n in range(10)]
        process.write("metrics.csv", "\n".join(["epoch,late,loss,same", *rows]).encode())
        process.write("broken.jsonl", f"{{ {self.runs}".encode())
        process.write("plot.png", png((0, 0, 200 + self.runs)))
        process.write("same.csv", b"a\n1\n")
        return 0


@pytest.fixture
def lab(repository: Any, tmp_path: Path) -> Lab:
    return Lab(repository({"train.py": "print('hello')\n"}), tmp_path / "elsewhere")


def gathered(result: RecordCheck, **changes: Any) -> Exhibits:
    found = gather_exhibits([result], CheckOptions(changes=Changes(**changes)))
    assert list(found) == [(0, 0)]
    return found[0, 0]


def test_curves_of_columns_that_differ(lab: Lab) -> None:
    found = gathered(lab.one(lab.record(Drifting()), blame=False))
    curve, late = found.curves
    assert (late.name, late.divergence) == ("late", 8)
    assert (curve.path, curve.name, curve.x_name) == ("outputs/metrics.csv", "loss", "epoch")
    assert curve.divergence == 6
    assert (curve.original[6], curve.now[6]) == ((6, 6), (6, 6.5))


def test_images_side_by_side(lab: Lab) -> None:
    found = gathered(lab.one(lab.record(Drifting()), blame=False))
    (picture,) = found.pictures
    prefix = "data:image/png;base64,"
    assert base64.b64decode(picture.original.removeprefix(prefix)) == png((0, 0, 201))
    assert base64.b64decode(picture.now.removeprefix(prefix)) == png((0, 0, 202))
    assert base64.b64decode(picture.difference.removeprefix(prefix)).startswith(b"\x89PNG")


def test_what_cant_be_shown_is_said(lab: Lab) -> None:
    found = gathered(lab.one(lab.record(Drifting()), blame=False))
    assert any("no curves of outputs/broken.jsonl" in note for note in found.notes)


def test_an_image_that_is_too_large_is_not_embedded(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reprorun.workflow.exhibits._LARGEST_IMAGE", 10)
    found = gathered(lab.one(lab.record(Drifting()), blame=False))
    assert found.pictures == ()
    assert any("outputs/plot.png is not shown: it is larger" in note for note in found.notes)


def test_the_page_has_room_for_so_many_images(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reprorun.workflow.exhibits._ALL_IMAGES", 10)
    found = gathered(lab.one(lab.record(Drifting()), blame=False))
    assert found.pictures == ()
    assert any("no room for more images" in note for note in found.notes)


def test_of_the_same_nothing_is_gathered(lab: Lab) -> None:
    def program(process: FakeProcess) -> int:
        process.write("a.csv", b"a\n1\n")
        return 0

    result = lab.one(lab.record(program), keep=True)
    assert gather_exhibits([result], CheckOptions(changes=Changes())) == {}


def test_code_that_a_commit_has_otherwise(lab: Lab) -> None:
    (lab.root / "train.py").write_text("print('changed')\n")
    record = lab.record(Drifting())
    git(lab.root, "checkout", "-q", "--", "train.py")
    result = lab.one(record, changes=Changes(repo=str(lab.root)), blame=False)
    found = gathered(result, repo=str(lab.root))
    (file,) = found.code
    assert (file.path, file.kind) == ("train.py", "changed")
    assert "+print('changed')" in file.patch


def test_an_original_that_has_gone_is_said(lab: Lab) -> None:
    record = Path(lab.record(Drifting()))
    result = lab.one(str(record), blame=False)
    record.rename(record.with_name("elsewhere"))
    found = gathered(result)
    assert found.curves == ()
    assert "can't be read" in found.notes[0]
    assert json.dumps(found.notes)
