"""A launch archive is made once for the same files, and never taken for that of others."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from reprorun.experiment import archive_cache, archive_tar
from reprorun.experiment.archive import write_archive
from reprorun.experiment.tree import LeftOut, Tree, hash_file

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
    read = archive_tar._read

    def noting(path: str) -> tuple[int, bytes]:
        found.append(os.path.basename(path))
        return read(path)

    monkeypatch.setattr(archive_tar, "_read", noting)
    return found


def test_what_has_not_changed_is_not_read_again(
    root: Path, tmp_path: Path, reads: list[str]
) -> None:
    first = write_archive(str(root), TREE, str(tmp_path / "one"))
    assert reads == ["a.py", "b.py"]
    assert write_archive(str(root), TREE, str(tmp_path / "two")) == first
    assert reads == ["a.py", "b.py"]
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_all_records_share_one_file_that_nobody_is_to_write(root: Path, tmp_path: Path) -> None:
    for number in range(10):
        write_archive(str(root), TREE, str(tmp_path / f"{number}"))
    assert len({(tmp_path / f"{number}").stat().st_ino for number in range(10)}) == 1
    assert (tmp_path / "0").stat().st_mode & 0o777 == 0o444


def test_writing_once_more_into_the_same_directory_leaves_nothing_else(
    root: Path, tmp_path: Path
) -> None:
    before = os.listdir(tmp_path)
    for _ in range(3):
        write_archive(str(root), TREE, str(tmp_path / "one"))
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "one"])
    assert sorted(path.suffix for path in Path(archive_cache._directory()).iterdir()) == [
        *(".state", ".xz")
    ]


def test_one_that_was_written_over_does_no_harm_to_the_next(root: Path, tmp_path: Path) -> None:
    first = write_archive(str(root), TREE, str(tmp_path / "one"))
    write_archive(str(root), TREE, str(tmp_path / "two"))
    (tmp_path / "two").chmod(0o644)
    with open(tmp_path / "two", "r+b") as file:
        file.write(b"something else")
    assert write_archive(str(root), TREE, str(tmp_path / "three")) == first
    assert "sha256:" + hash_file(str(tmp_path / "three")) == first


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_no_link_can_be_made_it_is_copied(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str], number: int
) -> None:
    first = write_archive(str(root), TREE, str(tmp_path / "one"))
    reads.clear()
    link, left = os.link, [number]

    def refuse(source: str, target: str) -> None:
        if left and (number != errno.EMLINK or left.pop()):
            raise OSError(number, "no link")
        link(source, target)

    monkeypatch.setattr("os.link", refuse)
    for name in ("two", "three"):
        assert write_archive(str(root), TREE, str(tmp_path / name)) == first
        assert "sha256:" + hash_file(str(tmp_path / name)) == first
    assert reads == []
    inodes = [(tmp_path / name).stat().st_ino for name in ("one", "two", "three")]
    shared = number == errno.EMLINK  # the file that is full of links gives way to the copy
    assert len(set(inodes)) == (2 if shared else 3)
    assert (inodes[1] == inodes[2]) is shared


def test_an_archive_that_is_there_is_shared_from_the_cache(tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(b"code")
    digest = hash_file(str(original))
    for name in ("one", "two"):
        assert archive_cache.place(str(original), digest, str(tmp_path / name))
    assert (tmp_path / "one").samefile(tmp_path / "two")
    assert not (tmp_path / "one").samefile(original)  # which others may write
    assert original.stat().st_mode & 0o200
    original.write_bytes(b"edoc")
    assert archive_cache.place(str(original), digest, str(tmp_path / "three"))
    assert (tmp_path / "three").read_bytes() == b"code"
    assert not archive_cache.place(str(original), "0" * 64, str(tmp_path / "four"))
    assert not (tmp_path / "four").exists()
    assert not any("0" * 64 in name for name in os.listdir(archive_cache._directory()))


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
    kept = Path(archive_cache._archive(first.removeprefix("sha256:")))
    kept.unlink()
    kept.write_bytes(b"damaged")
    reads.clear()
    assert write_archive(str(root), TREE, str(tmp_path / "two")) == first
    assert reads == ["a.py", "b.py"]
    assert kept.samefile(tmp_path / "two")


@pytest.mark.parametrize("text", ["", "../../x", "é", "0" * 64])
def test_a_damaged_note_is_no_note(root: Path, tmp_path: Path, text: str) -> None:
    first = write_archive(str(root), TREE, str(tmp_path / "one"))
    for note in Path(archive_cache._directory()).glob("*.state"):
        note.write_text(text)
    assert write_archive(str(root), TREE, str(tmp_path / "two")) == first


def test_a_flipped_bit_in_a_note_is_found() -> None:
    archive_cache.put("x.tree", b"a.py\0b.py")
    (note,) = Path(archive_cache._directory()).glob("*.tree")
    whole = note.read_bytes()
    for number in range(len(whole) * 8):
        data = bytearray(whole)
        data[number // 8] ^= 1 << number % 8
        note.write_bytes(data)
        assert archive_cache.get("x.tree") == b""


def test_a_note_that_can_not_be_written_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    archive_cache.put("x.tree", b"a.py")
    assert list(Path(archive_cache._directory()).iterdir()) == []


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
    monkeypatch.setattr("os.link", refuse)
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
