"""Directories on their way between machines: whole, with their links, and nothing leads out."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reprorun.cluster.trees import PIECE, pack_tree, unpack_tree
from reprorun.errors import RecordError


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """What records hold, and what experiments leave in them."""
    root = tmp_path / "record"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "run.json").write_text("{}")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o700)
    (root / "launch_archive.tar.xz").write_bytes(b"code")
    (root / "sub" / "launch_archive.tar.xz").hardlink_to(root / "launch_archive.tar.xz")
    (root / "sub" / "latest").symlink_to("../run.json")
    (root / os.fsdecode(b"caf\xe9")).write_text("no UTF-8")
    (root / ("long" * 50)).write_text("long")
    (root / "large.bin").write_bytes(os.urandom(2 * PIECE + 1))
    (root / "none.bin").write_bytes(b"")
    return root


def sent(root: Path, tmp_path: Path) -> Path:
    target = tmp_path / "there"
    target.mkdir()
    unpack_tree(pack_tree(str(root)), str(target))
    return target


def test_a_record_comes_as_it_was(record: Path, tmp_path: Path) -> None:
    there = sent(record, tmp_path)
    before = {p.relative_to(record): p for p in record.rglob("*")}
    after = {p.relative_to(there): p for p in there.rglob("*")}
    assert before.keys() == after.keys()
    for name, path in before.items():
        if path.is_file():
            assert after[name].read_bytes() == path.read_bytes(), name
    assert (there / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (there / "run.json").stat().st_mode & 0o777 == 0o644
    assert int((there / "run.sh").stat().st_mtime) == int((record / "run.sh").stat().st_mtime)


def test_links_within_it_stay_links(record: Path, tmp_path: Path) -> None:
    there = sent(record, tmp_path)
    name = "launch_archive.tar.xz"
    assert (there / name).samefile(there / "sub" / name)
    assert not (there / "sub" / name).is_symlink()
    assert os.readlink(there / "sub" / "latest") == "../run.json"


def test_pieces_are_bounded(record: Path) -> None:
    sizes = [len(piece) for piece in pack_tree(str(record))]
    assert len(sizes) >= 3
    assert max(sizes) < PIECE + (2 << 20)
    assert min(sizes[:-1]) >= PIECE


def test_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "a.rrpack").write_bytes(b"pack")
    there = sent(tmp_path / "a.rrpack", tmp_path)
    assert [p.name for p in there.iterdir()] == ["a.rrpack"]
    assert (there / "a.rrpack").read_bytes() == b"pack"


def test_what_leads_out_or_is_no_file_is_not_sent(record: Path, tmp_path: Path) -> None:
    (record / "secret").symlink_to("/etc/passwd")
    (record / "sub" / "up").symlink_to("../../elsewhere")
    (record / "sub" / "by-way").symlink_to("latest/../../../elsewhere")
    os.mkfifo(record / "pipe")
    (record / ".reprorun-0123.tmp").write_text("unfinished")
    there = sent(record, tmp_path)
    found = {str(p.relative_to(there)) for p in there.rglob("*")}
    assert not found & {"secret", "sub/up", "sub/by-way", "pipe", ".reprorun-0123.tmp"}
    assert "sub/latest" in found


def test_what_is_cut_short_is_refused(record: Path, tmp_path: Path) -> None:
    pieces = list(pack_tree(str(record)))
    (tmp_path / "there").mkdir()
    with pytest.raises(RecordError, match="cut short"):
        unpack_tree(pieces[:1], str(tmp_path / "there"))


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "record" / "log"
    path.parent.mkdir()
    path.write_bytes(b"x" * (9 << 20))
    pieces = pack_tree(str(path.parent))
    next(pieces)
    path.write_bytes(b"")
    with pytest.raises(OSError, match="shorter"):
        list(pieces)


# ---------------------------------------------------------------- what nobody of ours sends


def hostile(*members: tuple[str, bytes, str, bytes]) -> Iterator[bytes]:
    """A tar of members: name, type, link, content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, link, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, link, len(content)
            tar.addfile(member, io.BytesIO(content))
    yield out.getvalue()


FILE, LINK, TWIN, DIR = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE

ATTACKS: dict[str, Callable[[], Iterator[bytes]]] = {
    "a path upwards": lambda: hostile(("../evil", FILE, "", b"x")),
    "an absolute path": lambda: hostile(("/tmp/reprorun-evil", FILE, "", b"x")),
    "a path upwards in the middle": lambda: hostile(("a/../../evil", FILE, "", b"x")),
    "a link out": lambda: hostile(("out", LINK, "/etc", b"")),
    "a link upwards": lambda: hostile(("out", LINK, "../..", b"")),
    "through a link": lambda: hostile(
        ("d", DIR, "", b""), ("in", LINK, "d", b""), ("in/file", FILE, "", b"x")
    ),
    "a hard link out": lambda: hostile(("evil", TWIN, "../outside", b"")),
    "a hard link to a link": lambda: hostile(
        ("f", FILE, "", b""), ("l", LINK, "f", b""), ("evil", TWIN, "l", b"")
    ),
    "a pipe": lambda: hostile(("pipe", tarfile.FIFOTYPE, "", b"")),
    "a device": lambda: hostile(("null", tarfile.CHRTYPE, "", b"")),
    "a file twice": lambda: hostile(("f", FILE, "", b"1"), ("f", FILE, "", b"2")),
    "a file over a link": lambda: hostile(
        ("f", FILE, "", b""), ("l", LINK, "f", b""), ("l", FILE, "", b"2")
    ),
    "a file as a directory": lambda: hostile(("f", FILE, "", b""), ("f/g", FILE, "", b"")),
    "no tar": lambda: iter([b"no tar at all" * 100]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_never_sent_is_refused(attack: str, tmp_path: Path) -> None:
    place = tmp_path / "around" / "there"
    place.mkdir(parents=True)
    (tmp_path / "around" / "outside").write_text("mine")
    with pytest.raises(RecordError):
        unpack_tree(ATTACKS[attack](), str(place))
    assert sorted(os.listdir(tmp_path / "around")) == ["outside", "there"]
    assert (tmp_path / "around" / "outside").stat().st_nlink == 1
