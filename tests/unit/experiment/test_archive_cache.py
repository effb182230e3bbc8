"""A launch archive is made once for the same files, and never taken for that of others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from reprorun.experiment import archive, archive_cache
from reprorun.experiment.archive import write_archive
from reprorun.experiment.tree import LeftOut, Tree

TREE = Tree(files=("a.py", "b.py"), left_out=())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two files that nobody has changed for a while."""
    made = tmp_path / "root"
    made.mkdir()
    (made / "a.py").write_text("a = 1\n")
    (made / "b.py").write_text("b = 1\n")
    return made


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns
    monkeypatch.setattr("time.time_ns", lambda: now() + 60 * 10**9)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read for an archive."""
    found: list[str] = []
    read = archive._read

    def noting(path: str) -> tuple[int, bytes]:
        found.append(os.path.basename(path))
        return read(path)

    monkeypatch.setattr(archive, "_read", noting)
    return found


def test_what_has_not_changed_is_not_read_again(
    root: Path, tmp_path: Path, reads: list[str]
) -> None:
    first = write_archive(str(root), TREE, str(tmp_path / "one"))
    assert reads == ["a.py", "b.py"]
    assert write_archive(str(root), TREE, str(tmp_path / "two")) == first
    assert reads == ["a.py", "b.py"]
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").stat().st_ino != (tmp_path / "two").stat().st_ino


def test_a_copy_can_be_written_over_without_harm_to_the_next(root: Path, tmp_path: Path) -> None:
    first = write_archive(str(root), TREE, str(tmp_path / "one"))
    write_archive(str(root), TREE, str(tmp_path / "two"))
    for name in ("one", "two"):
        with open(tmp_path / name, "r+b") as file:
            file.write(b"something else")
    assert write_archive(str(root), TREE, str(tmp_path / "three")) == first


@pytest.mark.parametrize("change", ["content", "same size and time", "mode", "gone", "left out"])
def test_what_has_changed_is_archived_anew(
    root: Path, tmp_path: Path, reads: list[str], change: str
) -> None:
    first = write_archive(str(root), TREE, str(tmp_path / "one"))
    file, tree = root / "a.py", TREE
    before = file.stat()
    if change == "content":
        file.write_text("a = 22\n")
    elif change == "same size and time":
        file.write_text("a = 2\n")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "mode":
        file.chmod(0o755)
    elif change == "gone":
        file.unlink()
    else:
        tree = Tree(TREE.files, (LeftOut("data/large.bin", 1 << 30, "0" * 64, "large"),))
    reads.clear()
    assert write_archive(str(root), tree, str(tmp_path / "two")) != first
    assert "b.py" in reads


def test_a_file_that_has_just_changed_is_read_again(
    root: Path, tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: int((root / "a.py").stat().st_ctime_ns + 10**9))
    write_archive(str(root), TREE, str(tmp_path / "one"))
    reads.clear()
    write_archive(str(root), TREE, str(tmp_path / "two"))
    assert reads == ["a.py", "b.py"]


def test_a_damaged_archive_is_made_anew_and_kept_again(
    root: Path, tmp_path: Path, reads: list[str]
) -> None:
    first = write_archive(str(root), TREE, str(tmp_path / "one"))
    kept = Path(archive_cache._archive_file(first.removeprefix("sha256:")))
    kept.write_bytes(b"damaged")
    reads.clear()
    assert write_archive(str(root), TREE, str(tmp_path / "two")) == first
    assert reads == ["a.py", "b.py"]
    assert kept.read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("text", ["", "../../x", "é", "0" * 64])
def test_a_damaged_note_is_no_note(root: Path, tmp_path: Path, text: str) -> None:
    first = write_archive(str(root), TREE, str(tmp_path / "one"))
    for note in Path(archive_cache._directory()).glob("*.state"):
        note.write_text(text)
    assert write_archive(str(root), TREE, str(tmp_path / "two")) == first


def test_without_a_place_to_keep_it_an_archive_is_made_all_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert write_archive(str(root), TREE, str(tmp_path / "one")).startswith("sha256:")


def test_without_copies_by_the_kernel_it_is_copied_here(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> int:
        raise OSError(18, "cross-device link")

    monkeypatch.setattr("os.copy_file_range", refuse)
    first = write_archive(str(root), TREE, str(tmp_path / "one"))
    assert write_archive(str(root), TREE, str(tmp_path / "two")) == first


def test_only_the_newest_are_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_cache, "MOST", 2)
    for number in range(4):
        (root / "a.py").write_text(f"a = {number}\n")
        write_archive(str(root), TREE, str(tmp_path / f"{number}"))
    kept = sorted(path.suffix for path in Path(archive_cache._directory()).iterdir())
    assert kept == [".state", ".state", ".xz", ".xz"]
