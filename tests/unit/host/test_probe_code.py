"""Finding the launcher's code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from reprorun.errors import UsageError
from reprorun.model import Code
from reprorun.probe import code as probe
from reprorun.probe.code import find_code

from ..conftest import MakeRepository, git


def test_in_a_repository(repository: MakeRepository) -> None:
    root = repository({"train.py": "", "lib/a.py": "", ".gitignore": "*.log\n"})
    (root / "x.log").write_text("")
    (root / "new.py").write_text("")
    found = find_code("train.py", str(root))
    assert found.root == str(root)
    assert found.launcher == "train.py"
    assert found.workdir == "."
    assert found.in_git
    assert found.commit == git(root, "rev-parse", "HEAD")
    assert found.dirty
    assert set(found.files) == {"train.py", "lib/a.py", ".gitignore", "new.py"}


@pytest.mark.parametrize(
    ("cwd", "script", "launcher", "workdir"),
    [
        (".", "./train.py", "train.py", "."),
        ("lib", "../train.py", "train.py", "lib"),
        ("lib", "a.py", "lib/a.py", "lib"),
        ("..", "project/lib/a.py", "lib/a.py", "."),
        ("/", "ABSOLUTE", "train.py", "."),
    ],
)
def test_from_other_directories(
    repository: MakeRepository, cwd: str, script: str, launcher: str, workdir: str
) -> None:
    root = repository({"train.py": "", "lib/a.py": ""})
    script = script.replace("ABSOLUTE", str(root / "train.py"))
    found = find_code(script, os.path.normpath(root / cwd))
    assert (found.root, found.launcher, found.workdir) == (str(root), launcher, workdir)
    assert not found.dirty


def test_through_links(repository: MakeRepository, tmp_path: Path) -> None:
    root = repository({"train.py": "", "lib/a.py": ""})
    (tmp_path / "link").symlink_to(root / "lib")
    found = find_code("a.py", str(tmp_path / "link"))
    assert (found.root, found.launcher, found.workdir) == (str(root), "lib/a.py", "lib")
    (root / "alias.py").symlink_to("train.py")
    assert find_code("alias.py", str(root)).launcher == "alias.py"


def test_a_directory_beside_that_begins_alike_is_outside(
    repository: MakeRepository, tmp_path: Path
) -> None:
    root = repository({"train.py": "", "..data/x": ""})
    (tmp_path / "project2").mkdir()
    assert find_code(str(root / "train.py"), str(tmp_path / "project2")).workdir == "."
    assert find_code("../train.py", str(root / "..data")).workdir == "..data"


def test_without_a_commit(repository: MakeRepository) -> None:
    found = find_code("train.py", str(repository({"train.py": ""}, commit=False)))
    assert found.in_git
    assert found.githash is None


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("missing.py", "there is no script 'missing.py' in"),
        ("lib", "'lib' is a directory; name the script in it"),
        ("", "'' is a directory"),
        ("gone.py", "there is no script 'gone.py'"),
        ("a\x1b[2J", r"there is no script 'a\x1b[2J'"),
    ],
)
def test_no_such_script(script: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "gone.py").symlink_to("nowhere")
    with pytest.raises(UsageError) as caught:
        find_code(script, str(tmp_path))
    assert message in str(caught.value)


def outside(root: Path) -> Code:
    root.mkdir(exist_ok=True)
    (root / "train.py").write_text("")
    return find_code("train.py", str(root))


def test_outside_git(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/data.csv").write_text("")
    found = outside(tmp_path / "a")
    assert not found.in_git
    assert found.githash is None
    assert found.root == str(tmp_path / "a")
    assert set(found.files) == {"train.py", "data.csv"}
    assert found.metadata == {"launcher": str(tmp_path / "a/train.py")}


def test_a_home_directory_is_not_archived(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "link"))
    (tmp_path / "link").symlink_to(tmp_path / "home")
    with pytest.raises(UsageError, match=r"the whole directory would be archived.*git init"):
        outside(tmp_path / "home")
    assert outside(tmp_path / "home/project").files == ("train.py",)


@pytest.mark.parametrize("root", ["/", "/home", "/root", "/home/anyone"])
def test_other_homes(root: str) -> None:
    with pytest.raises(UsageError, match="git init"):
        probe._refuse_home(root)


def test_a_large_directory_is_not_archived(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(probe, "LARGEST_PLAIN_DIRECTORY", 10 << 20)
    (tmp_path / "a").mkdir()
    for name, size in (("large", 9 << 20), ("small", 1 << 20)):
        with open(tmp_path / "a" / name, "wb") as file:
            file.truncate(size)
    assert [entry.path for entry in outside(tmp_path / "a").left_out] == ["large"]
    (tmp_path / "a/more").write_text("x")
    with pytest.raises(UsageError, match=r"holds 10 MiB, more than the 10 MiB.*\.gitignore"):
        outside(tmp_path / "a")


def test_a_file_that_goes_while_it_is_measured(tmp_path: Path) -> None:
    assert probe._size(str(tmp_path / "gone")) == 0
