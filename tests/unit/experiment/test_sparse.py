"""Files with holes: their copies have them too, and what is next to nothing but holes is told."""

from __future__ import annotations

import os

import pytest

from reprorun.experiment import sparse
from reprorun.experiment.bring_out import bring_out
from reprorun.experiment.sparse import copy_with_holes, is_sparse, too_sparse

HOLE = 8 << 20  # bytes


@pytest.fixture
def holed(tmp_path):
    """A file with data, a hole, data, and a hole at its end."""
    path = tmp_path / "holed"
    with open(path, "wb") as file:
        file.write(b"first")
        file.seek(HOLE)
        file.write(b"last")
        file.truncate(2 * HOLE)
    if not is_sparse(os.stat(path)):
        pytest.fail(f"the file system of {tmp_path} has no holes")
    return path


def test_the_copy_is_the_same_and_takes_as_little_room(holed, tmp_path):
    copy = tmp_path / "copy"
    copy_with_holes(str(holed), str(copy))
    assert copy.read_bytes() == holed.read_bytes()
    assert copy.stat().st_blocks <= holed.stat().st_blocks < HOLE // 512


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 100_000])
def test_files_without_holes(content, tmp_path):
    (tmp_path / "plain").write_bytes(content)
    copy_with_holes(str(tmp_path / "plain"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == content
    assert too_sparse(str(tmp_path / "plain"), os.stat(tmp_path / "plain")) == ""


def test_what_is_next_to_nothing_but_holes(holed, monkeypatch):
    assert too_sparse(str(holed), os.stat(holed)) == ""
    monkeypatch.setattr(sparse, "MOST", HOLE)
    reason = too_sparse(str(holed), os.stat(holed))
    assert reason.startswith(f"a sparse file of {2 * HOLE} bytes, of which ")


def test_what_is_only_compressed_is_data(tmp_path, monkeypatch):
    """It has fewer blocks than its size takes, and no holes."""
    path = tmp_path / "plain"
    path.write_bytes(b"x" * 100_000)
    found = os.stat_result([*os.stat(path)[:6], 1 << 50, *os.stat(path)[7:10]], {"st_blocks": 8})
    monkeypatch.setattr(sparse, "MOST", (1 << 50) - 200_000)
    assert too_sparse(str(path), found)  # such a one has holes
    monkeypatch.setattr(sparse, "_extents", lambda _: iter([(0, 1 << 50)]))
    assert too_sparse(str(path), found) == ""


def test_a_terabyte_of_nothing_is_named_and_not_copied(tmp_path):
    (tmp_path / "workspace").mkdir()
    with open(tmp_path / "workspace/huge", "wb") as file:
        file.truncate(1 << 40)
    left = bring_out(str(tmp_path / "workspace"), str(tmp_path / "outputs"), 0)
    reason = f"a sparse file of {1 << 40} bytes, of which 0 are data"
    assert left == [{"path": "huge", "reason": reason}]
    assert not (tmp_path / "outputs").exists()
