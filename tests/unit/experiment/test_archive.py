"""The launch archive."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile

import pytest

from reprorun.experiment import archive_tar, make_launcher_archive
from reprorun.experiment.archive import write_archive
from reprorun.experiment.repository import LARGE_FILE, LeftOut, RepositoryError, Tree, list_tree


def members(path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path, errors="surrogateescape") as tar:
        return {member.name: member for member in tar}


def archive(root, path) -> str:
    return write_archive(str(root), list_tree(str(root)), str(path))


def test_content_modes_and_owners(repo, tmp_path):
    repo.write("deep/er/run.sh", "#!/bin/sh\n").chmod(0o740)
    repo.write(os.fsdecode(b"latin-\xe9 '\n.py"), b"\0\xff")
    repo.write("x" * 150 + "/" + "y" * 150, "long")
    (repo.path / "dangling").symlink_to("/no/such/place")
    digest = archive(repo.path, tmp_path / "a.tar.xz")
    found = members(tmp_path / "a.tar.xz")
    assert [*found] == sorted(found)
    assert {name: oct(m.mode) for name, m in found.items() if "x" * 99 not in name} == {
        "dangling": "0o777",
        "deep": "0o755",
        "deep/er": "0o755",
        "deep/er/run.sh": "0o755",
        os.fsdecode(b"latin-\xe9 '\n.py"): "0o644",
        "train.py": "0o644",
    }
    assert found["dangling"].linkname == "/no/such/place"
    for member in found.values():
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert member.mtime == 315532800
    with tarfile.open(tmp_path / "a.tar.xz") as tar:
        assert tar.extractfile("train.py").read() == b"print('hello')\n"
        assert tar.extractfile("x" * 150 + "/" + "y" * 150).read() == b"long"
    content = (tmp_path / "a.tar.xz").read_bytes()
    assert digest == "sha256:" + hashlib.sha256(content).hexdigest()


def test_the_same_bytes_for_the_same_content(repo, tmp_path):
    repo.write("b/c.py")
    first = archive(repo.path, tmp_path / "a.tar.xz")
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(repo.path, copy)
    os.utime(copy / "train.py", (1, 1))
    (copy / "train.py").chmod(0o666)
    (copy / "b").chmod(0o700)
    assert archive(copy, tmp_path / "b.tar.xz") == first
    (copy / "train.py").write_text("print('other')\n")
    assert archive(copy, tmp_path / "b.tar.xz") != first


def test_parents_of_left_out_files_are_there(tmp_path):
    (tmp_path / "train.py").write_text("x")
    left_out = (
        LeftOut("data/sets/large.bin", 1, "0", "large"),
        LeftOut("runs/a/", None, None, "r"),
    )
    write_archive(str(tmp_path), Tree(("train.py",), left_out), str(tmp_path / "a.tar.xz"))
    assert [*members(tmp_path / "a.tar.xz")] == ["data", "data/sets", "train.py"]


def test_files_that_vanished_or_changed_kind_are_skipped(tmp_path):
    (tmp_path / "train.py").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    tree = Tree(("gone.py", "pipe", "train.py", "train.py/below"), ())
    write_archive(str(tmp_path), tree, str(tmp_path / "a.tar.xz"))
    assert "gone.py" not in members(tmp_path / "a.tar.xz")
    assert "pipe" not in members(tmp_path / "a.tar.xz")


def test_nothing_to_archive(tmp_path):
    for tree in (Tree((), ()), Tree(("gone.py",), ())):
        with pytest.raises(RepositoryError, match="no files"):
            write_archive(str(tmp_path), tree, str(tmp_path / "a.tar.xz"))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_failure_leaves_the_old_archive_and_nothing_else(repo, tmp_path, monkeypatch, error):
    def fail(root, name):
        raise error

    out = tmp_path / "out"
    out.mkdir()
    (out / "a.tar.xz").write_text("old")
    monkeypatch.setattr(archive_tar, "_file", fail)
    with pytest.raises(type(error)):
        archive(repo.path, out / "a.tar.xz")
    assert [path.name for path in out.iterdir()] == ["a.tar.xz"]
    assert (out / "a.tar.xz").read_text() == "old"


def test_an_unreadable_file_is_named(repo, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(archive_tar, "_read", refuse)
    with pytest.raises(RepositoryError, match=r"train\.py can't be read: Permission denied"):
        archive(repo.path, tmp_path / "a.tar.xz")


@pytest.mark.parametrize("encode", [os.fsencode, os.fsdecode])
def test_make_launcher_archive(repo, tmp_path, launcher, encode):
    repo.write(".gitignore", "scratch.py\n")
    launcher(repo.write("scratch.py"))
    assert make_launcher_archive(git_root_path=encode(repo.path), log_dir=encode(tmp_path)) is None
    assert [*members(tmp_path / "launch_archive.tar.xz")] == [
        ".gitignore",
        "scratch.py",
        "train.py",
    ]
    assert not (tmp_path / "left_out.json").exists()


def test_make_launcher_archive_names_what_is_left_out(repo, tmp_path):
    content = b"x" * LARGE_FILE
    repo.write("large.bin", content)
    log = tmp_path / "log"
    log.mkdir()
    with pytest.warns(
        UserWarning, match=r"large\.bin \(8\.0 MiB\).*archive_launch_repo=False"
    ) as w:
        make_launcher_archive(git_root_path=str(repo.path), log_dir=str(log))
    assert w[0].filename == __file__
    entry = {
        "path": "large.bin",
        "size": LARGE_FILE,
        "sha256": hashlib.sha256(content).hexdigest(),
        "reason": "8 MiB or larger",
    }
    assert json.loads((log / "left_out.json").read_text()) == [entry]
    (repo.path / "large.bin").unlink()
    make_launcher_archive(git_root_path=str(repo.path), log_dir=str(log))
    assert json.loads((log / "left_out.json").read_text()) == []
