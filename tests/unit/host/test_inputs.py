"""Read-only inputs: where the container sees them, and what their digest covers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reprorun.errors import UsageError
from reprorun.model import InputFile, LeftOut
from reprorun.probe.inputs import find_inputs

from . import values

DIGEST_OF_X = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project/data").mkdir(parents=True)
    (tmp_path / "project/data/x").write_text("x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x").write_text("x")
    return tmp_path / "project"


def find(project: Path, *paths: str, left_out: tuple[LeftOut, ...] = ()) -> tuple[InputFile, ...]:
    return find_inputs(paths, str(project), values.code(project, left_out=left_out))


@pytest.mark.parametrize("typed", ["data/x", "./data/../data/x", "ABSOLUTE"])
def test_inside_the_repository(typed: str, project: Path) -> None:
    path = str(project / "data/x")
    wanted = InputFile(path=path, target="/workspace/data/x", size=1, sha256=DIGEST_OF_X)
    assert find(project, typed.replace("ABSOLUTE", path)) == (wanted,)


def test_outside_it_appears_at_the_same_path(project: Path) -> None:
    (found,) = find(project, "../outside/x")
    assert found.target == found.path == str(project.parent / "outside/x")


def test_a_directory(project: Path) -> None:
    (project / "data/y").write_text("yy")
    (found,) = find(project, "data")
    assert (found.size, found.files, found.target) == (3, 2, "/workspace/data")


def test_the_directory_around_the_repository_is_outside(project: Path) -> None:
    (found,) = find(project, "..")
    assert found.target == str(project.parent)


def test_a_name_that_begins_with_dots_is_inside(project: Path) -> None:
    (project / "..x").write_text("x")
    assert find(project, "..x")[0].target == "/workspace/..x"


def test_a_link_is_the_file_that_it_leads_to(project: Path) -> None:
    (project / "link").symlink_to("../outside/x")
    (found,) = find(project, "link")
    assert found.path == found.target == str(project.parent / "outside/x")


def test_the_same_one_twice_is_mounted_once(project: Path) -> None:
    assert len(find(project, "data/x", "./data/x", "data")) == 2


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("missing", "there is no such file or directory"),
        (".", "is the repository itself"),
        ("/", "the container has its own"),
        ("/etc", "the container has its own /etc"),
        ("/etc/hostname", "the container has its own /etc"),
        ("/usr/lib", "the container has its own"),
        ("/proc/self", "the container has its own /proc"),
        ("/dev/null", "neither|the container has its own /dev"),
        ("/home", "the container has its own /home/reprorun"),
        ("/var", "the container has its own /var/run"),
        ("/tmp", "the container has its own /tmp"),
    ],
)
def test_inputs_that_can_not_be(typed: str, message: str, project: Path) -> None:
    if not os.path.exists(project / typed):
        message = "there is no such file or directory"
    with pytest.raises(UsageError, match=message) as caught:
        find(project, typed)
    assert f"--input {typed}" in str(caught.value)


def test_a_pipe_is_no_input(project: Path) -> None:
    os.mkfifo(project / "pipe")
    with pytest.raises(UsageError, match="neither a file nor a directory"):
        find(project, "pipe")


def test_what_can_not_be_read_is_an_error(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> str:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("reprorun.probe.inputs.sha256_of", refuse)
    for typed in ("data/x", "data"):
        with pytest.raises(UsageError, match=r"--input data.* can't be read: Permission denied"):
            find(project, typed)


Change = Callable[[Path], object]


def move(data: Path) -> None:
    (data / "d").mkdir()
    (data / "x").rename(data / "d/x")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: (data / "x").write_text("y"),
        lambda data: (data / "x").rename(data / "y"),
        lambda data: (data / "y").write_text(""),
        lambda data: (data / "x").unlink(),
        move,
    ],
)
def test_a_directorys_digest_changes_with_names_and_content(change: Change, project: Path) -> None:
    before = find(project, "data")[0].sha256
    change(project / "data")
    assert find(project, "data")[0].sha256 != before


def test_a_directorys_digest_does_not_change_with_its_place_or_times(project: Path) -> None:
    before = find(project, "data")[0].sha256
    os.utime(project / "data/x", (0, 0))
    (project / "data").rename(project / "moved")
    assert find(project, "moved")[0].sha256 == before


def test_names_do_not_run_into_contents(project: Path) -> None:
    for name in ("a", "b"):
        (project / name).mkdir()
    (project / "a/x").write_text("1")
    (project / "a/y").write_text("2")
    (project / "b/x").write_text("2")
    (project / "b/y").write_text("1")
    assert len({entry.sha256 for entry in find(project, "a", "b")}) == 2


LARGE = LeftOut(path="w/large.bin", reason="8 MiB or more", size=9 << 20, sha256="1" * 64)
SUBMODULE = LeftOut(path="lib/", reason="submodule that is not checked out")


def test_large_files_come_as_inputs(project: Path) -> None:
    found = find(project, "data/x", left_out=(LARGE, SUBMODULE))
    assert [entry.target for entry in found] == ["/workspace/data/x", "/workspace/w/large.bin"]
    assert found[1].path == str(project / "w/large.bin")
    assert (found[1].size, found[1].sha256) == (9 << 20, "1" * 64)


def test_a_large_file_that_is_named_comes_once(project: Path) -> None:
    (project / "w").mkdir()
    (project / "w/large.bin").write_text("x")
    (found,) = find(project, "w/large.bin", left_out=(LARGE,))
    assert found.sha256 == DIGEST_OF_X
