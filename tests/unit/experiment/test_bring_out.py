"""Bringing what a run made or changed out of its working tree."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from reprorun.experiment import bring_out as module
from reprorun.experiment.bring_out import bring_out
from reprorun.experiment.supervise import COARSE_CLOCK


@pytest.fixture
def tree(tmp_path):
    """A working tree as the image has it, and the time from which on changes count."""
    root = tmp_path / "workspace"
    (root / "lib").mkdir(parents=True)
    for name in ("kept.txt", "lib/kept.txt", "changed.txt", "touched.txt", "removed.txt"):
        (root / name).write_text("old")
    time.sleep(0.02)  # the clock of the stamps goes in steps
    return root, tmp_path / "outputs", time.clock_gettime_ns(COARSE_CLOCK)


def found(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_only_what_is_new_or_changed(tree):
    root, outputs, since = tree
    (root / "changed.txt").write_text("new")
    (root / "lib" / "made.txt").write_text("made")
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "x").write_text("x")
    (root / "removed.txt").unlink()
    assert bring_out(str(root), str(outputs), since) == []
    assert found(outputs) == {"changed.txt": "new", "lib/made.txt": "made", "deep/er/x": "x"}


def test_nothing_changed_makes_no_directory(tree):
    root, outputs, since = tree
    assert bring_out(str(root), str(outputs), since) == []
    assert not outputs.exists()


def test_times_set_back_deceive_nobody(tree):
    root, outputs, since = tree
    (root / "made.txt").write_text("made")
    os.utime(root / "made.txt", (0, 0))
    bring_out(str(root), str(outputs), since)
    assert found(outputs) == {"made.txt": "made"}


def test_links_stay_links_unless_they_lead_out(tree):
    root, outputs, since = tree
    (root / "lib" / "link").symlink_to("../changed.txt")
    (root / "out").symlink_to("../../etc/passwd")
    (root / "absolute").symlink_to("/etc/passwd")
    not_kept = bring_out(str(root), str(outputs), since)
    assert [entry["path"] for entry in not_kept] == ["absolute", "out"]
    assert os.readlink(outputs / "lib" / "link") == "../changed.txt"
    assert not os.path.lexists(outputs / "out")


def test_special_files_are_named(tree):
    root, outputs, since = tree
    os.mkfifo(root / "pipe")
    expected = [{"path": "pipe", "reason": "not a regular file"}]
    assert bring_out(str(root), str(outputs), since) == expected


def test_modes_are_plain_and_programs_stay_programs(tree):
    root, outputs, since = tree
    for name, mode in (("tool", 0o4755), ("secret", 0o000)):
        (root / name).write_text(name)
        (root / name).chmod(mode)
    bring_out(str(root), str(outputs), since)
    assert oct((outputs / "tool").stat().st_mode & 0o7777) == "0o755"
    assert oct((outputs / "secret").stat().st_mode & 0o7777) == "0o644"
    assert (outputs / "secret").read_text() == "secret"


def test_mounted_inputs_are_no_outputs(tree, monkeypatch):
    root, outputs, since = tree
    (root / "data").mkdir()
    (root / "data" / "x").write_text("x")
    (root / "file").write_text("x")
    mounted = {str(root / "data"), str(root / "file")}
    monkeypatch.setattr(module, "_mounted", lambda: mounted)
    assert bring_out(str(root), str(outputs), since) == []
    assert not outputs.exists()


def test_mount_points_are_read_as_the_kernel_writes_them(tmp_path, monkeypatch):
    path = tmp_path / "mountinfo"
    path.write_bytes(b"36 35 98:0 /a /work/a\\040b\\134c rw - ext4 /dev/x rw\n")
    monkeypatch.setattr(module, "_MOUNTS", str(path))
    assert module._mounted() == {"/work/a b\\c"}


def test_names_that_are_no_utf8(tree):
    root, outputs, since = tree
    name = os.fsencode(root) + b"/\xff.txt"
    with open(name, "w") as file:
        file.write("odd")
    bring_out(str(root), str(outputs), since)
    assert os.listdir(os.fsencode(outputs)) == [b"\xff.txt"]


def test_what_cannot_be_written_is_told(tree, tmp_path):
    root, _outputs, since = tree
    (root / "made.txt").write_text("made")
    (tmp_path / "in_the_way").write_text("")
    with pytest.raises(NotADirectoryError):
        bring_out(str(root), str(tmp_path / "in_the_way" / "outputs"), since)
