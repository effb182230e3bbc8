"""What an experiment leaves in its log directory, where the host looks at it afterwards."""

from __future__ import annotations

import os
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from reprorun import store
from reprorun.compare import isolated
from reprorun.compare.values import Settings
from reprorun.extract import extract


def test_what_is_setuid_is_so_no_longer(tmp_path: Path) -> None:
    names = ("run.json", "tool", "deep/er/tool", ".reprorun-unfinished")
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        path.chmod(0o6755)
    outside = tmp_path.parent / "outside"
    outside.write_text("x")
    outside.chmod(0o4755)
    (tmp_path / "link").symlink_to(outside)
    store.list_outputs(str(tmp_path))
    assert {oct((tmp_path / name).stat().st_mode & 0o7777) for name in names} == {"0o755"}
    assert outside.stat().st_mode & 0o7777 == 0o4755  # nothing is changed through a link


def test_a_size_that_no_file_has(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a")
    info.size = 1 << 60
    data = info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    with tarfile.open(fileobj=BytesIO(data), mode="r|") as tar, pytest.raises(tarfile.ReadError):
        extract(tar, str(tmp_path))


def test_an_interrupted_child_answers_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its late answer would be taken for that to the next request."""
    child = isolated._Child()
    path = os.fsencode(tmp_path / "x.png")
    Path(os.fsdecode(path)).write_bytes(b"x")
    request = isolated.Request(
        comparator="images", names=(b"a", b"b"), paths=(path, path), settings=Settings()
    )

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(isolated, "_comes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            child.ask(request, 10)
    assert child._process is None
    assert child.ask(request, 30).unreadable
    child.stop()
