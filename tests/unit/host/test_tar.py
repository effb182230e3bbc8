"""Tars: what is put in comes out, in as many bytes as were said, the same bytes every time."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.environment import tar
from reprorun.environment.tar import Entry
from reprorun.errors import LockFailed


def made(entries: Iterable[Entry]) -> bytes:
    return b"".join(tar.stream(entries))


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = archive.getmembers()
    assert len({member.name for member in found}) == len(found)
    return {member.name: member for member in found}


def contents(data: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content:
                found[member.name] = content.read()
    return found


def in_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> list[Entry]:
    """The entries of a zip with these files."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return [
        Entry(name, size=len(data), archive=str(path), member=name) for name, data in files.items()
    ]


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=120
).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
FILES = st.dictionaries(PATHS, st.binary(max_size=2000), max_size=8).filter(
    lambda files: not any(a != b and b.startswith(f"{a}/") for a in files for b in files)
)

# ---------------------------------------------------------------- good input


@given(FILES)
def test_what_is_put_in_comes_out_in_as_many_bytes_as_were_said(files: dict[str, bytes]) -> None:
    entries = tar.with_parents(tar.file(path, data) for path, data in files.items())
    data = made(entries)
    assert len(data) == tar.size_of(entries)
    assert contents(data) == files
    assert made(entries) == data


@given(FILES)
def test_the_same_from_a_zip(files: dict[str, bytes]) -> None:
    path = Path(os.environ["XDG_CACHE_HOME"], "some.zip")
    zipped = in_zip(path, files)
    plain = [tar.file(name, data) for name, data in files.items()]
    assert tar.size_of(zipped) == tar.size_of(plain)
    assert made(zipped) == made(plain)


def test_files_of_several_zips(tmp_path: Path) -> None:
    first = in_zip(tmp_path / "a.zip", {"a": b"1", "b": b"2"})
    second = in_zip(tmp_path / "b.zip", {"c": b"3"})
    assert contents(made([*first, *second])) == {"a": b"1", "b": b"2", "c": b"3"}


@pytest.mark.parametrize(
    "path",
    [
        "x" * 99,
        "x" * 100,
        "x" * 101,
        "d" * 90 + "/" + "x" * 200,
        "/".join(["directory"] * 60),
        "ü" * 60,  # 120 bytes
        "名前/ファイル.py",
        "with space and 'quotes'\n",
        "caf\udce9",  # a byte that is no UTF-8
        ".hidden",
    ],
)
def test_names_of_any_length_and_script(path: str) -> None:
    entries = tar.with_parents([tar.file(path, b"content")])
    data = made(entries)
    assert len(data) == tar.size_of(entries)
    assert contents(data) == {path: b"content"}


def test_kinds_and_modes() -> None:
    target = "/" + "far/" * 60 + "python"  # longer than a header's field
    entries = [tar.directory("d", 0o777), tar.file("d/f", b"x", 0o755), tar.link("d/l", target)]
    data = made(entries)
    assert len(data) == tar.size_of(entries)
    found = members(data)
    assert (found["d"].isdir(), found["d"].mode) == (True, 0o777)
    assert (found["d/f"].isreg(), found["d/f"].mode) == (True, 0o755)
    assert (found["d/l"].issym(), found["d/l"].linkname) == (True, target)


def test_nothing_tells_when_and_by_whom_it_was_made(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        entries = [tar.directory("d"), tar.link("l", "x"), *in_zip(tmp_path / "z", {"a": b""})]
        found = members(made(entries))
    finally:
        os.umask(before)
    for member in found.values():
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert member.mtime == 315532800
    assert {member.mode for member in found.values()} == {0o755, 0o777, 0o644}


def test_the_pieces_are_worth_being_sent() -> None:
    entries = [tar.file(str(number), bytes(1000)) for number in range(5000)]
    sizes = [len(piece) for piece in tar.stream(entries)]
    assert sum(sizes) == tar.size_of(entries)
    assert min(sizes[:-1]) >= 1 << 20
    assert max(sizes) < 3 << 20


def test_a_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    entries = in_zip(tmp_path / "z", {"large": bytes(20 << 20)})
    assert max(len(piece) for piece in tar.stream(entries)) < 3 << 20


def test_no_entries() -> None:
    assert made([]) == bytes(1024)
    assert tar.size_of([]) == 1024


# ---------------------------------------------------------------- parents


def test_every_parent_comes_before_what_is_in_it_and_once() -> None:
    entries = tar.with_parents(
        [tar.file("a/b/c", b""), tar.file("a/x", b""), tar.directory("a/b"), tar.link("q/r", "s")]
    )
    assert [entry.path for entry in entries] == ["a", "a/b", "a/b/c", "a/x", "q", "q/r"]


def test_a_directory_keeps_the_mode_that_it_is_given_first() -> None:
    found = members(made(tar.with_parents([tar.directory("/w", 0o777), tar.file("/w/x", b"")])))
    assert found["w"].mode == 0o777


def test_absolute_paths_are_below_the_root() -> None:
    assert [entry.path for entry in tar.with_parents([tar.file("/opt/x", b"")])] == ["opt", "opt/x"]


def paths_and_kinds(*entries: Entry) -> list[tuple[str, bytes]]:
    return [(entry.path, entry.kind) for entry in tar.with_parents(entries)]


def test_of_two_entries_with_one_path_the_later_counts() -> None:
    one, two = tar.file("a/x", b"1"), tar.file("/a/x", b"2", 0o755)
    assert tar.with_parents([one, two])[1:] == [two._replace(path="a/x")]


def test_what_things_lie_in_is_a_directory_whatever_it_was_before() -> None:
    wanted = [("x", tarfile.DIRTYPE), ("x/y", tarfile.REGTYPE)]
    assert paths_and_kinds(tar.link("x", "/etc"), tar.file("x/y", b"")) == wanted
    assert paths_and_kinds(tar.file("x", b""), tar.file("x/y", b"")) == wanted


def test_a_file_in_place_of_a_directory_takes_what_was_in_it() -> None:
    below = [tar.file("x/y", b""), tar.file("x/d/z", b"")]
    assert paths_and_kinds(*below, tar.file("x", b"")) == [("x", tarfile.REGTYPE)]


def test_a_directory_in_place_of_a_link() -> None:
    assert paths_and_kinds(tar.link("x", "/etc"), tar.directory("x")) == [("x", tarfile.DIRTYPE)]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "a/b", "a/b/c", "b/c"]), st.integers(0, 2))))
def test_a_tar_never_has_a_path_twice_nor_anything_in_a_file(given: list[tuple[str, int]]) -> None:
    makers = (lambda p: tar.file(p, b"1"), tar.directory, lambda p: tar.link(p, "/etc"))
    found = tar.with_parents(makers[number](path) for path, number in given)
    kinds = {entry.path: entry.kind for entry in found}
    assert len(kinds) == len(found)
    order = [entry.path for entry in found]
    for path in kinds:
        if parent := os.path.dirname(path):
            assert kinds[parent] == tarfile.DIRTYPE
            assert order.index(parent) < order.index(path)
    if given:
        path, number = given[-1]
        assert kinds[path] == (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE)[number]


@given(FILES)
def test_parents_of_any_files(files: dict[str, bytes]) -> None:
    seen: set[str] = set()
    for entry in tar.with_parents(tar.file(path, b"") for path in files):
        assert entry.path not in seen
        parent = os.path.dirname(entry.path)
        assert not parent or parent in seen
        seen.add(entry.path)
    assert set(files) <= seen


# ---------------------------------------------------------------- damaged zips


def refusal(entries: list[Entry]) -> str:
    with pytest.raises(LockFailed) as caught:
        made(entries)
    text = str(caught.value)
    assert "z.whl" in text
    return text


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("at", [40, 200, 700])
def test_a_byte_that_was_flipped(method: int, at: int, tmp_path: Path) -> None:
    path = tmp_path / "z.whl"
    entries = in_zip(path, {"a": os.urandom(1000)}, method)
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    assert str(path) in refusal(entries)


def test_a_zip_that_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "z.whl"
    entries = in_zip(path, {"a": os.urandom(5000)})
    path.write_bytes(path.read_bytes()[:2000])
    assert "can't be read" in refusal(entries)


def test_a_zip_that_is_gone(tmp_path: Path) -> None:
    entries = in_zip(tmp_path / "z.whl", {"a": b"x"})
    (tmp_path / "z.whl").unlink()
    assert "can't be read" in refusal(entries)


@pytest.mark.parametrize("now", [b"shorter", b"x" * 2000])
def test_a_file_of_another_size_than_was_said(now: bytes, tmp_path: Path) -> None:
    path = tmp_path / "z.whl"
    entries = in_zip(path, {"a": b"x" * 1000})
    in_zip(path, {"a": now})
    assert "a is" in refusal(entries)


def test_a_zip_that_lost_a_file(tmp_path: Path) -> None:
    path = tmp_path / "z.whl"
    entries = in_zip(path, {"a": b"x"})
    in_zip(path, {"b": b"x"})
    refusal(entries)


def with_central(path: Path, offset: int, layout: str, value: int) -> None:
    """Overwrite a field of the first entry of the zip's directory."""
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, data.index(b"PK\x01\x02") + offset, value)
    path.write_bytes(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_size_that_lies(method: int, tmp_path: Path) -> None:
    path = tmp_path / "z.whl"
    for size in (10, 5000):
        (entry,) = in_zip(path, {"a": os.urandom(1000)}, method)
        with_central(path, 24, "<I", size)
        refusal([entry._replace(size=size)])


def test_a_file_that_lies_elsewhere_than_is_said(tmp_path: Path) -> None:
    path = tmp_path / "z.whl"
    entries = in_zip(path, {"a": b"x" * 100})
    for offset in (1, 50, 90, 100, 110, 180, 1 << 30):
        in_zip(path, {"a": b"x" * 100})
        with_central(path, 42, "<I", offset)
        refusal(entries)


def test_a_file_that_is_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "z.whl"
    entries = in_zip(path, {"a": b"x"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    path.write_bytes(data)
    with_central(path, 8, "<H", 1)
    assert "encrypted" in refusal(entries)


def test_a_compression_that_nobody_knows(tmp_path: Path) -> None:
    path = tmp_path / "z.whl"
    entries = in_zip(path, {"a": b"x"})
    with_central(path, 10, "<H", 97)
    refusal(entries)
