"""Extraction: a tar that came out of a container is hostile, and nothing leaves the root."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reprorun import streams
from reprorun.extract import extract as extract_tar
from reprorun.model import LeftOut

Member = tuple[str, bytes, str, bytes, int]  # name, type, link's target, content, mode


def file(name: str, content: bytes = b"x", mode: int = 0o644) -> Member:
    return (name, tarfile.REGTYPE, "", content, mode)


def link(name: str, target: str) -> Member:
    return (name, tarfile.SYMTYPE, target, b"", 0o777)


def twin(name: str, target: str) -> Member:
    return (name, tarfile.LNKTYPE, target, b"", 0o644)


def other(name: str, kind: bytes = tarfile.DIRTYPE, mode: int = 0o755) -> Member:
    return (name, kind, "", b"", mode)


def packed(*members: Member) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, target, content, mode in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, target, mode
            entry.size, entry.uid, entry.gid = len(content), 12345, 12345
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def extract(root: Path, *members: Member, below: str = "") -> dict[str, str]:
    """Extracts, and returns what was left out with the reasons."""
    root.mkdir(exist_ok=True)
    with streams.stream_tar([packed(*members)]) as tar:
        return {entry.path: entry.reason for entry in extract_tar(tar, str(root), below)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("host's own")
    return tmp_path / "root"


def test_files_and_directories(root: Path) -> None:
    left_out = extract(root, other("d"), file("d/x", b"1"), file("a/b/y", b"2", 0o755), other("e"))
    assert left_out == {}
    assert (root / "d/x").read_bytes() == b"1"
    assert (root / "a/b/y").read_bytes() == b"2"
    assert (root / "e").is_dir()


def test_below(root: Path) -> None:
    assert extract(root, file("x"), below="a/b") == {}
    assert (root / "a/b/x").is_file()


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o7777, 0o1777, 0o600, 0o000])
def test_owners_and_modes_are_ours(root: Path, mode: int) -> None:
    extract(root, file("x", mode=mode), other("d", mode=mode))
    found = (root / "x").stat()
    assert stat.S_IMODE(found.st_mode) == (0o755 if mode & 0o100 else 0o644)
    assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())
    assert not stat.S_IMODE((root / "d").stat().st_mode) & 0o7000


OUT = "its path leads out of the record"


@pytest.mark.parametrize(
    ("name", "below", "path"),
    [
        ("../secret", "", "../secret"),
        ("a/../../secret", "", "../secret"),
        ("../../x", "a", "../x"),
        ("/secret", "", "/secret"),
        ("/secret", "a", "/secret"),
        ("..", "", ".."),
    ],
)
def test_paths_that_lead_out(name: str, below: str, path: str, root: Path) -> None:
    assert extract(root, file(name), below=below) == {path: OUT}
    assert extract(root, other(name), below=below) == {path: OUT}


def test_a_sibling_with_the_same_beginning_is_outside(root: Path) -> None:
    assert extract(root, file("../root2/x")) == {"../root2/x": OUT}
    assert not (root.parent / "root2").exists()


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "..", "d/../../secret", "/"])
def test_links_that_lead_out(target: str, root: Path) -> None:
    left_out = extract(root, link("l", target))
    assert left_out == {"l": f"a link that leads out of the outputs (to {target})"}
    assert not os.path.lexists(root / "l")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_links_that_lead_out_by_way_of_another(order: tuple[int, int], root: Path) -> None:
    members = [link("here", "."), link("l", "here/../secret")]
    assert list(extract(root, *(members[number] for number in order))) == ["l"]
    assert not os.path.lexists(root / "l")


def test_a_hard_link_to_a_link_is_that_link_from_its_new_place(root: Path) -> None:
    left_out = extract(root, file("secret"), link("d/l", "../secret"), twin("l", "d/l"))
    assert list(left_out) == ["l"]  # from here, `../secret` is the host's
    assert (root / "d/l").read_text() == "x"


def test_links_inside(root: Path) -> None:
    left_out = extract(root, file("d/x"), link("l", "d/x"), link("d/up", "../l"), link("gone", "y"))
    assert left_out == {}
    assert (root / "l").read_text() == (root / "d/up").read_text() == "x"
    assert (root / "gone").is_symlink()


@pytest.mark.parametrize("target", ["d", "../root/d"])
def test_nothing_is_written_through_a_link(target: str, root: Path) -> None:
    left_out = extract(
        root, other("d"), link("l", "d"), file("l/x"), other("l/e"), link("l/m", "x")
    )
    assert set(left_out.values()) == {"its path leads through a link"}
    assert list((root / "d").iterdir()) == []


def test_a_link_that_was_there_before_is_not_followed(root: Path) -> None:
    root.mkdir()
    (root / "l").symlink_to(root.parent)
    (root / "secret").symlink_to(root.parent / "secret")
    left_out = extract(root, file("l/secret"), file("secret", b"new"))
    assert left_out == {"l/secret": "its path leads through a link"}
    assert (root.parent / "secret").read_text() == "host's own"
    assert (root / "secret").read_text() == "new"


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_devices_and_pipes(kind: bytes, root: Path) -> None:
    assert extract(root, other("x", kind)) == {"x": "not a regular file"}
    assert list(root.iterdir()) == []


def test_hard_links_become_copies(root: Path) -> None:
    assert extract(root, file("a", b"1", 0o755), twin("b", "a")) == {}
    assert (root / "b").read_bytes() == b"1"
    assert (root / "a").stat().st_nlink == 1


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "missing", "d", "d/../../secret"])
def test_hard_links_to_something_else(target: str, root: Path) -> None:
    left_out = extract(root, other("d"), twin("x", target))
    assert left_out == {"x": "a hard link to something else than an output"}
    assert not os.path.lexists(root / "x")


def test_hard_links_through_a_link(root: Path) -> None:
    root.mkdir()
    (root / "l").symlink_to(root.parent)
    assert list(extract(root, twin("x", "l/secret"))) == ["x"]
    assert not os.path.lexists(root / "x")


def test_the_last_of_several_counts(root: Path) -> None:
    left_out = extract(root, file("x", b"1"), twin("y", "x"), file("x", b"2"), link("z", "x"))
    assert left_out == {}
    assert (root / "x").read_bytes() == b"2"
    assert (root / "y").read_bytes() == b"1"
    extract(root, file("z", b"3"))
    assert (root / "z").read_bytes() == b"3"
    assert (root / "x").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("members", "bad"),
    [
        ([file("x"), other("x")], "x"),
        ([other("x"), file("x")], "x"),
        ([file("x"), file("x/y")], "x/y"),
        ([file("x"), other("x/y")], "x/y"),
        ([file(".")], "."),
        ([link(".", "x")], "."),
        ([file("n" * 300)], "n" * 300),
        ([file("a\0b/c")], "a\0b/c"),
    ],
)
def test_what_can_not_be_made_is_said(members: list[Member], bad: str, root: Path) -> None:
    left_out = extract(root, *members, file("after"))
    assert list(left_out) in ([bad], [])  # a NUL ends a name where the format has no room for it
    assert (root / "after").is_file()


def test_a_full_disk_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        extract(root, file("x"))


def test_odd_names(root: Path) -> None:
    names = ["a b", "it's", "line\nbreak", "schön", "-rf", "\udcff"]
    assert extract(root, *(file(name) for name in names)) == {}
    assert {entry.name for entry in root.iterdir()} == set(names)


PARTS = ["..", ".", "a", "b", "c", "root", "secret", "", "outside"]
PATHS = st.builds(
    lambda front, parts: front + "/".join(parts),
    st.sampled_from(["", "", "", "/"]),
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=5),
)
MEMBERS = st.one_of(
    st.builds(file, PATHS, st.binary(max_size=3), st.integers(0, 0o7777)),
    st.builds(other, PATHS, st.just(tarfile.DIRTYPE), st.integers(0, 0o7777)),
    st.builds(link, PATHS, PATHS),
    st.builds(twin, PATHS, PATHS),
    st.builds(other, PATHS, st.just(tarfile.FIFOTYPE)),
)


@pytest.mark.parametrize("below", ["", "a/b"])
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=st.lists(MEMBERS, max_size=12))
def test_nothing_leaves_the_root(below: str, members: list[Member], tmp_path: Path) -> None:
    world = tmp_path / os.urandom(6).hex()
    root = world / "root"
    (world / "outside").mkdir(parents=True)
    (world / "secret").write_text("host's own")
    before = snapshot(world)
    extract(root, *members, below=below)
    assert snapshot(world) == before
    real = os.path.realpath(root)
    for path in walk(root):
        assert is_loop(path) or os.path.commonpath((real, os.path.realpath(path))) == real, path
        found = os.lstat(path)
        assert stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) or os.path.islink(path)
        assert os.path.islink(path) or not stat.S_IMODE(found.st_mode) & 0o7000


def is_loop(path: str) -> bool:
    """A link that leads to itself leads nowhere; `realpath` says nonsense of it."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def walk(root: Path) -> Iterator[str]:
    for directory, below, names in os.walk(root):
        yield from (os.path.join(directory, name) for name in (*below, *names))


def snapshot(world: Path) -> dict[str, Any]:
    """Everything beside the root."""
    found: dict[str, Any] = {}
    for directory, below, names in os.walk(world):
        if directory == str(world) and "root" in below:
            below.remove("root")
        for name in (*below, *names):
            path = os.path.join(directory, name)
            state = os.lstat(path)
            content = Path(path).read_bytes() if stat.S_ISREG(state.st_mode) else None
            found[path] = (state.st_mode, state.st_ino, state.st_nlink, content)
    return found


def test_pieces_of_any_size_are_one_tar(root: Path) -> None:
    data = packed(file("x", b"y" * 5000))
    root.mkdir()
    pieces = [data[start : start + 7] for start in range(0, len(data), 7)]
    with streams.stream_tar(iter([b"", *pieces, b""])) as tar:
        left_out: list[LeftOut] = extract_tar(tar, str(root))
    assert left_out == []
    assert (root / "x").read_bytes() == b"y" * 5000
