"""A log directory that another user writes in, and that is the caller's own again afterwards."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from reprorun.workflow.lending import lent

from .situations import CONTAINER

OTHER = 20001
LENT = replace(CONTAINER, groups=(str(os.getgid()),))
as_root = pytest.mark.skipif(
    os.getuid() != 0, reason="only root can make another's files; tests/engine does it in any case"
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_nothing_is_lent_to_the_caller(tmp_path: Path) -> None:
    before = mode(tmp_path)
    with lent(str(tmp_path), CONTAINER):
        assert mode(tmp_path) == before


def test_nothing_is_lent_to_the_caller_for_the_groups_of_devices(tmp_path: Path) -> None:
    before = mode(tmp_path)
    with lent(str(tmp_path), replace(LENT, user=f"{os.getuid()}:{os.getgid()}")):
        assert mode(tmp_path) == before


def test_it_is_lent_to_a_group_and_to_nobody_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with lent(str(tmp_path), LENT):
        assert mode(tmp_path) == 0o2770
    assert mode(tmp_path) == 0o700


def test_an_error_ends_it_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), lent(str(tmp_path), LENT):
        raise KeyboardInterrupt
    assert not mode(tmp_path) & stat.S_ISGID


@as_root
def test_everything_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    inode = (tmp_path / "mine").stat().st_ino
    with lent(str(tmp_path), LENT):
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "a/b/file").write_text("theirs")
        (tmp_path / "a/b/file").chmod(0o4777)
        (tmp_path / "program").write_text("#!/bin/sh")
        (tmp_path / "program").chmod(0o750)
        (tmp_path / "link").symlink_to("/etc/passwd")
        (tmp_path / "a/away").symlink_to("..")
        os.mkfifo(tmp_path / "a/pipe")
        for path in (p for p in tmp_path.rglob("*") if p.name != "mine"):
            os.lchown(path, OTHER, os.getgid())
    owners = {p.name: p.lstat().st_uid for p in tmp_path.rglob("*") if p.name != "pipe"}
    assert set(owners.values()) == {os.getuid()}
    assert set(owners) == {"mine", "a", "b", "file", "program", "link", "away"}
    assert stat.S_ISFIFO((tmp_path / "a/pipe").lstat().st_mode)
    assert (tmp_path / "a/b/file").read_text() == "theirs"
    assert mode(tmp_path / "a/b/file") == 0o755  # not set-uid, not for all to write
    assert mode(tmp_path / "program") == 0o750
    assert os.readlink(tmp_path / "link") == "/etc/passwd"
    assert os.readlink(tmp_path / "a/away") == ".."
    assert (tmp_path / "mine").stat().st_ino == inode
