"""reprorun in a container: which one it is, and what its paths are called outside."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from reprorun.engine import within
from reprorun.engine.within import find_shared, in_container, on_engine, seen_from_here
from reprorun.errors import FilesUnseen
from reprorun.model import EngineInfo, Mount

ID = "ab" * 32
OTHER = "cd" * 32
NAME = "beefbeefbeef"  # of the container, by which engines know it, too
CONTAINER = {
    "Id": ID,
    "Mounts": [
        {"Type": "bind", "Source": "/home/me/project", "Destination": "/work", "RW": True},
        {"Type": "volume", "Source": "/volumes/v/_data", "Destination": "/cache", "RW": False},
        {"Type": "tmpfs", "Source": "", "Destination": "/work/tmp", "RW": True},
    ],
}
SHARED = (
    Mount(source="/home/me/project", target="/work", read_only=False),
    Mount(source="/volumes/v/_data", target="/cache"),
)
MOUNTINFO = (
    f"1 2 0:1 /x / rw - overlay overlay rw,upperdir=/docker/overlay2/{OTHER}/diff\n"
    f"3 1 8:1 /docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda rw\n"
)
ENGINE = EngineInfo(name="docker", version="1", api_version="1", address="unix:///x")


class Asked:
    """An engine that knows one container."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str) -> dict[str, Any] | None:
        self.names.append(name)
        return CONTAINER if ID.startswith(name) or name == NAME else None


def put(root: Path, **files: str) -> str:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_marks_of_containers(tmp_path: Path) -> None:
    assert not in_container(str(tmp_path))
    (tmp_path / ".dockerenv").touch()
    assert in_container(str(tmp_path))
    (tmp_path / "podman/run").mkdir(parents=True)
    (tmp_path / "podman/run/.containerenv").touch()
    assert in_container(str(tmp_path / "podman"))


@pytest.mark.parametrize(
    "files",
    [
        {"proc__self__mountinfo": MOUNTINFO},
        {"proc__self__cgroup": f"9:pids:/docker/{ID}\n"},
        {"etc__hostname": f"{ID[:12]}\n"},
        {"proc__self__mountinfo": MOUNTINFO.replace(ID, OTHER), "etc__hostname": ID[:12]},
    ],
)
def test_which_container_it_is(tmp_path: Path, files: dict[str, str]) -> None:
    assert find_shared(Asked(), put(tmp_path, **files)) == SHARED


def test_what_is_another_containers_name_is_no_id(tmp_path: Path) -> None:
    asked = Asked()
    assert find_shared(asked, put(tmp_path, etc__hostname=NAME)) is None
    assert asked.names == [NAME]


def test_a_hostname_that_the_user_chose_is_no_id(tmp_path: Path) -> None:
    asked = Asked()
    assert find_shared(asked, put(tmp_path, etc__hostname="reprorun\n")) is None
    assert find_shared(asked, str(tmp_path / "empty")) is None
    assert asked.names == []


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/work", "/home/me/project"),
        ("/work/data/run 1", "/home/me/project/data/run 1"),
        ("/work/../work/a", "/home/me/project/a"),
        ("/cache/x", "/volumes/v/_data/x"),
    ],
)
def test_a_path_as_the_engine_has_it(path: str, wanted: str) -> None:
    mount = Mount(source=path, target="/log", read_only=False)
    assert on_engine(mount, SHARED) == Mount(source=wanted, target="/log", read_only=False)


@pytest.mark.parametrize("path", ["/workshop/x", "/tmp/x", "/"])
def test_a_path_that_is_not_shared(path: str) -> None:
    with pytest.raises(FilesUnseen) as caught:
        on_engine(Mount(source=path, target="/log"), SHARED)
    assert path in str(caught.value)
    assert '-v "$PWD:$PWD"' in str(caught.value)


def test_a_tmpfs_of_our_own_within_a_shared_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: path in ("/", "/work", "/work/tmp"))
    assert on_engine(Mount(source="/work/a", target="/log"), SHARED)
    with pytest.raises(FilesUnseen):
        on_engine(Mount(source="/work/tmp/a", target="/log"), SHARED)


def test_a_link_is_followed_here_and_not_there(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    shared = (Mount(source="/there", target=str(tmp_path)),)
    found = on_engine(Mount(source=str(tmp_path / "link/x"), target="/log"), shared)
    assert found.source == "/there/real/x"


# ---------------------------------------------------------------- where the engine is


def test_outside_containers_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(within, "in_container", lambda: False)
    asked = Asked()
    assert seen_from_here(ENGINE, asked) == ENGINE
    assert asked.names == []


def test_an_engine_that_does_not_know_our_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It runs in another one, and sees other files; or within ours, and sees the same."""
    monkeypatch.setattr(within, "in_container", lambda: True)
    monkeypatch.setattr(within, "find_shared", lambda inspect: None)
    assert seen_from_here(ENGINE, Asked()).remote
    with socket.socket(socket.AF_UNIX) as server:
        path = str(tmp_path / "socket")
        server.bind(path)
        server.listen()
        ours = EngineInfo(name="docker", version="1", api_version="1", address=f"unix://{path}")
        assert not seen_from_here(ours, Asked()).remote


def test_an_engine_that_knows_our_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(within, "in_container", lambda: True)
    monkeypatch.setattr(within, "find_shared", lambda inspect: SHARED)
    assert seen_from_here(ENGINE, Asked()).shared == SHARED
