"""Launch archives that may be hostile: what is refused, with which words, at which cost."""

from __future__ import annotations

import io
import lzma
import os
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reprorun.errors import RecordError
from reprorun.experiment.archive import write_archive
from reprorun.experiment.repository import list_tree
from reprorun.launch_archive import ArchiveLimits, guarded, list_archive

Write = Callable[[tarfile.TarFile], None]


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.mode = kind, 0o755 if kind == tarfile.DIRTYPE else 0o644
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def link(name: str, to: str) -> tarfile.TarInfo:
    return member(name, tarfile.SYMTYPE, linkname=to)


def twin(name: str, of: str, **fields: Any) -> tarfile.TarInfo:
    return member(name, tarfile.LNKTYPE, linkname=of, **fields)


def folder(name: str, **fields: Any) -> tarfile.TarInfo:
    return member(name, tarfile.DIRTYPE, **fields)


def tar_of(*members: tarfile.TarInfo, form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar; what a file holds is its name, repeated."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for one in members:
            tar.addfile(one, io.BytesIO((one.name.encode() * 9999)[: one.size]))
    return out.getvalue()


def write(path: Path, tar: bytes) -> str:
    path.write_bytes(lzma.compress(tar, preset=0))
    return str(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "launch_archive.tar.xz"


def refusal(path: str, limits: ArchiveLimits = ArchiveLimits(), **given: Any) -> str:  # noqa: B008
    """Why an archive is refused: one line that names it; not what stands before that."""
    with pytest.raises(RecordError) as caught:
        list_archive(path, limits, **given)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"the launch archive {path} ")
    return said.removeprefix(f"the launch archive {path} ")


# ---------------------------------------------------------------- what is right


def repository(root: Path) -> Path:
    """Files of all sorts that git keeps."""
    (root / "src/deep").mkdir(parents=True)
    (root / "train.py").write_text("print(1)\n")
    (root / "run.sh").write_text("true\n")
    (root / "run.sh").chmod(0o755)
    (root / "src/empty").write_text("")
    (root / "src" / ("long" * 40)).write_text("a long name\n")
    (root / "src/deep/größe \udcff").write_text("no UTF-8\n")
    (root / "src/deep/up").symlink_to("../../train.py")
    (root / "src/around").symlink_to("deep/../../train.py")
    (root / "far").symlink_to("x" * 150)
    return root


NAMES = [
    *("far", "run.sh", "src/around", "src/deep/größe \udcff", "src/deep/up", "src/empty"),
    *("src/" + "long" * 40, "train.py"),
]


def test_our_own(tmp_path: Path, path: Path) -> None:
    root = repository(tmp_path / "repo")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    write_archive(str(root), list_tree(str(root)), str(path))
    listing = list_archive(str(path))
    assert list(listing.files) == NAMES
    sizes = [(root / name).lstat().st_size for name in NAMES if not (root / name).is_symlink()]
    assert listing.size == sum(sizes)
    assert listing.newest == 315532800


@pytest.mark.parametrize("form", ["gnu", "posix", "ustar", "oldgnu"])
def test_what_gnu_tar_writes(tmp_path: Path, path: Path, form: str) -> None:
    """As garage called it: the files that git lists, and the format as the system has it."""
    root = repository(tmp_path / "repo")
    wanted = NAMES
    if form == "ustar":  # can't hold them all
        wanted = [name for name in NAMES if len(name) < 100 and name != "far"]
    os.link(root / "train.py", root / "twin.py")
    os.utime(root / "train.py", (1.6e9, 1.6e9 + 0.5))
    command = ["tar", "--null", "--files-from", "-", "--xz", "--create", "--file", str(path)]
    names = b"\0".join(os.fsencode(name) for name in ("train.py", *wanted, "twin.py") if name)
    unique = b"\0".join(dict.fromkeys(names.split(b"\0")))
    subprocess.run([*command, f"--format={form}"], input=unique, cwd=root, check=True)
    listing = list_archive(str(path))
    assert list(listing.files) == sorted([*wanted, "twin.py"])
    newest = max((root / name).lstat().st_mtime for name in wanted)
    assert listing.newest == int(newest)
    with guarded(str(path)) as tar:
        found = {m.name: (m, tar.extractfile(m).read() if m.isreg() else b"") for m in tar}  # type: ignore[union-attr]
    assert found["train.py"][1] == b"print(1)\n"
    assert found["train.py"][0].mtime == 1600000000
    assert found["twin.py"][0].linkname == "train.py"
    assert found["run.sh"][0].mode & 0o100
    assert {(m.uid, m.gid, m.uname) for m, _ in found.values()} == {(0, 0, "")}


def test_prefixes_and_directories(path: Path) -> None:
    tar = tar_of(
        folder("./"),
        folder("./a", mode=0o2775),
        member("./a//./b", size=700),
        folder("a"),
        link("c/d", "../a/b"),
        twin("e", "./a/b"),
        member("f", tarfile.AREGTYPE),
    )
    with guarded(write(path, tar)) as archive:
        found = list(archive)
    assert [m.name for m in found] == [".", "a", "a/b", "a", "c/d", "e", "f"]
    assert [m.mode for m in found[:3]] == [0o755, 0o775, 0o644]
    assert found[5].linkname == "a/b"
    assert list_archive(str(path)).files == ("a/b", "c/d", "e", "f")
    assert list_archive(str(path)).size == 700


def test_content_that_is_read_in_part(path: Path) -> None:
    with guarded(write(path, tar_of(*(member(n, size=3000) for n in "abc")))) as tar:
        read = [tar.extractfile(m).read(2) for m in tar]  # type: ignore[union-attr]
    assert read == [b"aa", b"bb", b"cc"]


def test_an_empty_one(path: Path) -> None:
    listing = list_archive(write(path, tar_of()))
    assert (listing.files, listing.size, listing.newest) == ((), 0, None)


# ---------------------------------------------------------------- members that are refused

FILE = member("file")
LINK = link("link", "dir")
D_UP = link("d/s", "..")
BAD: list[tuple[str, list[tarfile.TarInfo], str]] = [
    ("absolute", [member("/etc/passwd")], "holds '/etc/passwd', which is an absolute path."),
    ("up", [member("a/../../b")], "holds 'a/../../b', which leads out of the repository."),
    ("up directory", [folder("..")], "which leads out"),
    ("link out", [link("l", "/etc")], "(to '/etc'); if you trust it, give --allow-links."),
    ("link up", [link("a/l", "../../b")], "holds 'a/l', a link that leads out"),
    ("link up by a link", [D_UP, link("l", "d/s/../b")], "holds 'l', a link that leads out"),
    ("link up by a later link", [link("l", "s/../b"), link("s", ".")],
     "holds 'l', a link that leads out"),
    ("link around", [link("l", "/etc/../etc/passwd")], "holds 'l', a link that leads out"),
    ("twin out", [twin("t", "/etc/passwd")], "which is an absolute path"),
    ("twin of nothing", [twin("t", "file"), FILE],
     "holds 't', a hard link to 'file', which is no file before it."),
    ("twin of a link", [LINK, twin("t", "link")], "a hard link to 'link'"),
    ("twin of itself", [FILE, twin("file", "file")], "there already"),
    ("through a link", [LINK, member("link/b")], "holds 'link/b', below 'link', which is a link."),
    ("deep through a link", [LINK, folder("link/b/c/d")], "below 'link', which is a link."),
    ("link over a directory", [member("link/b"), LINK], "holds 'link', which is there already."),
    ("through a file", [FILE, member("file/b")], "below 'file', which is a file."),
    ("through a twin", [FILE, twin("t", "file"), member("t/b")], "below 't', which is a file."),
    ("twice", [FILE, member("./file")], "holds './file', which is there already."),
    ("file over a directory", [folder("d"), member("d")], "there already"),
    ("device", [member("null", tarfile.CHRTYPE)],
     "holds 'null', a device, which no launch archive has."),
    ("block device", [member("sda", tarfile.BLKTYPE)], "a device"),
    ("pipe", [member("pipe", tarfile.FIFOTYPE)], "a FIFO"),
    ("contiguous", [member("c", tarfile.CONTTYPE)], "a member of the unknown kind b'7'"),
    ("unknown", [member("c", b"Q")], "a member of the unknown kind b'Q'"),
    ("sparse", [member("s", tarfile.GNUTYPE_SPARSE)], "a sparse file"),
    ("setuid", [member("su", mode=0o4755)], "holds 'su', a setuid, setgid or sticky file."),
    ("setgid", [member("su", mode=0o2755)], "a setuid"),
    ("sticky", [member("su", mode=0o1755)], "a setuid"),
    ("setuid twin", [FILE, twin("t", "file", mode=0o4755)], "a setuid"),
    ("whiteout", [member("a/.wh.train.py")], "a name that begins with .wh."),
    ("opaque", [folder(".wh..wh..opq")], "a name that begins with .wh."),
    ("no name", [member("")], "holds '', where there should be a name."),
    ("the root as a file", [member("./.")], "which is a file with the name of a directory."),
    ("a file with a slash", [member("d/")], "which is a file with the name of a directory."),
    ("no target", [member("l", tarfile.SYMTYPE)], "where there should be a name"),
    ("long name", [member("a" * 256)], "which is too long for a name"),
    ("long path", [member("a/" * 2048 + "a")], "which is too long for a path"),
    ("date", [member("a", mtime=1 << 60)], "which has an impossible date"),
]  # fmt: skip


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(("members", "said"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_a_bad_member(path: Path, members: list[tarfile.TarInfo], said: str, form: int) -> None:
    assert said in refusal(write(path, tar_of(member("good", size=5), *members, form=form)))


def test_those_before_a_bad_member_come(path: Path) -> None:
    write(path, tar_of(member("a"), member("/b"), member("c")))
    with guarded(str(path)) as tar:
        members = iter(tar)
        assert next(members).name == "a"
        with pytest.raises(RecordError, match="absolute"):
            next(members)


def test_links_out_that_are_known(path: Path) -> None:
    links = [
        link("data", "/mnt/data"),
        link("a/up", "../../there"),
        link("a/late", "b/../../../there"),
        link("through", "data/../there"),
    ]
    write(path, tar_of(*links))
    known = ["data", "a/up", "a/late"]
    assert list_archive(str(path), links_out=known).files == ("a/late", "a/up", "data", "through")
    assert list_archive(str(path), links_out=None).files == ("a/late", "a/up", "data", "through")
    for name in known:
        others = [other for other in known if other != name]
        assert f"holds {name!r}, a link that leads out" in refusal(str(path), links_out=others)


def test_links_that_go_around_but_stay(path: Path) -> None:
    links = {
        "src/x": "deep/../../y",  # deep is no link
        "a/b/c": "../../a/b/../b",
        "circle": "d/../circle",
        "s": "a/b",
        "t": "s/../b",  # a/b/../b
        "hop": "a/hop",
        "a/hop": "../hop/../..",  # a circle: it leads nowhere
    }
    write(path, tar_of(*(link(n, to) for n, to in links.items())))
    assert set(list_archive(str(path)).files) == set(links)


def with_header(block: tarfile.TarInfo, data: bytes, *after: tarfile.TarInfo) -> bytes:
    padded = data + b"\0" * (-len(data) % 512)
    return block.tobuf(tarfile.USTAR_FORMAT) + padded + tar_of(*after)


def pax(text: str, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A pax header and a file that it is for."""
    data = text.encode("utf-8", "surrogateescape")
    return with_header(member("header", kind, size=len(data)), data, member("plain", size=3))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("12 path=a\0b\n", "which has a NUL in it"),
        ("15 path=../out\n", "holds '../out', which leads out"),
        ("12 path=/abc\n", "damaged pax header"),
        ("0 path=abc\n", "damaged pax header"),
        ("-9 path=abc\n", "damaged pax header"),
        ("99 path=abc\n", "damaged pax header"),
        ("12 pathisabc\n", "damaged pax header"),
        ("9" * 3000, "damaged pax header"),
        ("11 size=abc\n", "damaged pax header"),
        ("12 size=abc\n", "holds 'plain' with a damaged size or date"),
        ("12 size=-10\n", "holds 'plain', which is smaller than nothing"),
        ("12 mtime=inf\n", "damaged pax header"),
        ("13 mtime=inf\n", "holds 'plain' with a damaged size or date"),
        ("33 size=999999999999999999999999\n", "holds 'plain' with a damaged size or date"),
        ("22 GNU.sparse.major=1\n", "a sparse file"),
    ],
)
def test_a_bad_pax_header(path: Path, text: str, said: str) -> None:
    assert said in refusal(write(path, pax(text)))


def test_a_pax_header_with_what_is_of_no_use(path: Path) -> None:
    text = "22 comment=of no use\n\n19 path=other/name\n19 SCHILY.dev=1234\n"
    assert list_archive(write(path, pax(text))).files == ("other/name",)


def test_a_header_for_all(path: Path) -> None:
    assert "a global pax header" in refusal(write(path, pax("9 path=a\n", tarfile.XGLTYPE)))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_two_headers_for_one_member(path: Path, kind: bytes) -> None:
    data = b"9 path=a\n" if kind == tarfile.XHDTYPE else b"a\0"
    once = member("h", kind, size=len(data)).tobuf() + data.ljust(512, b"\0")
    assert list_archive(write(path, once + tar_of(FILE))).files == ("a",)
    assert "says twice" in refusal(write(path, once * 5000 + tar_of(FILE)))
    long = member("h", tarfile.GNUTYPE_LONGNAME, size=2).tobuf() + b"b".ljust(512, b"\0")
    assert "says twice" in refusal(write(path, long + once + tar_of(FILE)))


def test_headers_that_say_nothing(path: Path) -> None:
    data = b"16 comment=none\n"
    once = member("h", tarfile.XHDTYPE, size=len(data)).tobuf() + data.ljust(512, b"\0")
    assert list_archive(write(path, once + tar_of(FILE))).files == ("file",)
    assert "says twice" in refusal(write(path, once * 2 + tar_of(FILE)))


def test_a_header_for_nothing(path: Path) -> None:
    long = member("h", tarfile.GNUTYPE_LONGNAME, size=2).tobuf() + b"b".ljust(512, b"\0")
    assert refusal(write(path, long + bytes(1024))) == "is cut short."


def test_a_long_name_with_something_behind_it(path: Path) -> None:
    long = with_header(member("h", tarfile.GNUTYPE_LONGNAME, size=5), b"a\0b\0\0", FILE)
    assert "NUL" in refusal(write(path, long))


def test_content_where_none_belongs(path: Path) -> None:
    for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE):
        odd = member("odd", kind, linkname="file")
        odd.size = 512
        tar = FILE.tobuf() + odd.tobuf() + FILE.tobuf()
        assert "which is no file, but has content" in refusal(write(path, tar))


# ---------------------------------------------------------------- archives that are none


def test_an_archive_that_is_not_there(tmp_path: Path, path: Path) -> None:
    assert "is not there" in refusal(str(path))
    assert "is not there, or is no file" in refusal(str(tmp_path))
    os.mkfifo(path)
    assert "is not there, or is no file" in refusal(str(path))
    assert "is not there" in refusal(str(tmp_path / "\udcff"))


def test_no_xz(path: Path) -> None:
    tar = tar_of(member("a", size=9))
    path.write_bytes(tar)
    assert "is not xz" in refusal(str(path))
    path.write_bytes(b"")
    assert "is cut short" in refusal(str(path))
    path.write_bytes(lzma.compress(tar, format=lzma.FORMAT_ALONE))
    assert "is not xz" in refusal(str(path))


def test_no_tar(path: Path) -> None:
    assert refusal(write(path, b"")) == "is no tar."
    assert refusal(write(path, b"#!/bin/sh\n")) == "is no tar."
    assert refusal(write(path, b"#!/bin/sh\n" * 100)) == "is no tar (invalid header)."


def test_every_place_where_it_can_be_cut(path: Path) -> None:
    whole = lzma.compress(tar_of(member("a", size=700), member("b" * 200)), preset=0)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert "is cut short" in refusal(str(path))


def test_a_tar_that_is_cut_in_whole_xz(path: Path) -> None:
    whole = tar_of(member("a", size=700), member("b" * 200), form=tarfile.PAX_FORMAT)
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    for length in range(512, end + 1, 100):
        said = refusal(write(path, whole[:length]))
        assert "is cut short" in said, length
    assert list_archive(write(path, whole[: end + 512])).files == ("a", "b" * 200)


def test_a_header_damaged_in_the_middle(path: Path) -> None:
    """tarfile takes this for the end."""
    tar = bytearray(tar_of(member("a"), member("b"), member("c")))
    tar[512 + 3] ^= 1
    assert "is a damaged tar (bad checksum)" in refusal(write(path, bytes(tar)))


def test_bytes_after_the_end(path: Path) -> None:
    tar = tar_of(member("a"))
    assert refusal(write(path, tar + b"x")) == "goes on after its end."
    assert refusal(write(path, tar + tar)) == "goes on after its end."
    assert refusal(write(path, tar + bytes(2 << 20))) == "goes on after its end."
    packed = lzma.compress(tar)
    for more in (b"x", bytes(4), packed):
        path.write_bytes(packed + more)
        assert "goes on after its end" in refusal(str(path))


def test_bytes_after_an_end_where_reading_stops(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = lzma.compress(tar_of(member("a")))
    monkeypatch.setattr("reprorun.launch_archive.xz.PIECE", len(packed))
    path.write_bytes(packed)
    assert list_archive(str(path)).files == ("a",)
    path.write_bytes(packed + b"x")
    assert "goes on after its end" in refusal(str(path))


def test_a_dictionary_that_takes_much_memory(path: Path) -> None:
    tar = tar_of(member("a"))
    for size, fits in ((64 << 20, True), (1 << 30, False)):
        packed = lzma.compress(tar, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])
        path.write_bytes(packed.replace(*map(dictionary_header, (1 << 18, size))))
        if fits:
            assert list_archive(str(path)).files == ("a",)
        else:
            assert "Memory usage limit exceeded" in refusal(str(path))


def dictionary_header(size: int) -> bytes:
    """The header of the block in an xz file, for which the encoder would need that memory."""
    import zlib

    bits = next(b for b in range(41) if (2 | (b & 1)) << (b // 2 + 11) >= size)
    header = bytes([2, 0, 0x21, 1, bits, 0, 0, 0])
    return header + zlib.crc32(header).to_bytes(4, "little")


# ---------------------------------------------------------------- bombs

MEASURE = """
import resource, sys, time
from reprorun.errors import RecordError
from reprorun.launch_archive import list_archive
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    list_archive(sys.argv[1])
    print("it is right")
except RecordError as error:
    print(error)
print(time.process_time() - start)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def cost(path: Path) -> tuple[str, float, int]:
    """What is said of an archive, in how many seconds of a processor and how many MiB more."""
    command = [sys.executable, "-c", textwrap.dedent(MEASURE), str(path)]
    said, seconds, memory = subprocess.check_output(command, text=True).splitlines()
    return said, float(seconds), int(memory)


def huge_xz(path: Path, start: bytes, zeros: int) -> None:
    """Write an xz stream of `start` and gigabytes of zeros, without its end, in an instant.

    Its block is put together from pieces of LZMA2, each of which starts with an empty dictionary.
    """
    filters: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "preset": 0}]
    headers = lzma.compress(b"x", check=lzma.CHECK_NONE, filters=filters)
    headers = headers[: 12 + (headers[12] + 1) * 4]
    piece = 16 << 20
    first, more = (
        lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters)[:-1]  # without the end mark
        for data in (start, bytes(piece))
    )
    with path.open("wb") as file:
        file.write(headers + first)
        for _ in range(zeros // piece):
            file.write(more)


def test_the_bomb_is_one(path: Path) -> None:
    """What the next tests refuse does unpack to zeros without an end."""
    huge_xz(path, b"start", 100 << 30)
    assert path.stat().st_size < 20 << 20
    unpacker = lzma.LZMADecompressor()
    data = unpacker.decompress(path.read_bytes()[: 1 << 20], 100 << 20)
    assert len(data) == 100 << 20
    assert data == b"start".ljust(100 << 20, b"\0")


def test_a_bomb_of_one_file(path: Path) -> None:
    huge_xz(path, member("zeros", size=100 << 30).tobuf(tarfile.GNU_FORMAT), 100 << 30)
    said, seconds, memory = cost(path)
    assert (
        "holds 'zeros', which makes it larger than 8589934592 bytes; if you trust it, raise" in said
    )
    assert "--archive-limits FILES,SIZE" in said
    assert seconds < 1
    assert memory < 30


def test_a_bomb_behind_the_end(path: Path) -> None:
    huge_xz(path, FILE.tobuf(), 100 << 30)
    said, seconds, memory = cost(path)
    assert said.endswith("goes on after its end.")
    assert seconds < 1
    assert memory < 30


@pytest.mark.parametrize(
    "kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE]
)
def test_a_bomb_in_a_header(path: Path, kind: bytes) -> None:
    huge_xz(path, member("h", kind, size=100 << 30).tobuf(tarfile.GNU_FORMAT), 100 << 30)
    said, seconds, memory = cost(path)
    assert said.endswith("has a header of 107374182400 bytes.")
    assert seconds < 1
    assert memory < 30


def test_a_bomb_in_many_headers(path: Path) -> None:
    """Each is as large as one may be."""
    long = member("h", tarfile.GNUTYPE_LONGLINK, size=1 << 20).tobuf() + b"x" * (1 << 20)
    with lzma.open(path, "wb", preset=0) as out:
        for number in range(100):
            out.write(long + member(f"f{number}").tobuf())
    said, seconds, memory = cost(path)
    assert "has too much text in its names" in said
    assert seconds < 5
    assert memory < 30


def test_a_bomb_of_empty_files(path: Path) -> None:
    write_members(path, (f"{n:x}" for n in range(1_000_000)))
    said, seconds, memory = cost(path)
    assert "holds more than 200000 files; if you trust it, raise the limits of 200000,8589" in said
    assert seconds < 20
    assert memory < 150


def write_members(path: Path, names: Iterable[str]) -> None:
    """Write a million empty files in a moment: only name and checksum of the header differ."""
    blank = member("").tobuf(tarfile.USTAR_FORMAT)
    total = sum(blank[:148]) + sum(blank[156:]) + 8 * 32
    with lzma.open(path, "wb", preset=0) as out:
        for name in names:
            sum_ = b"%06o\0 " % (total + sum(name.encode()))
            out.write(name.encode().ljust(100, b"\0") + blank[100:148] + sum_ + blank[156:])


def test_a_bomb_of_one_directory(path: Path) -> None:
    write(path, tar_of(folder("d")).rstrip(b"\0").ljust(512, b"\0") * 51)
    assert "holds more than 50 files" in refusal(str(path), ArchiveLimits(files=50))


def test_a_bomb_of_directories_that_are_not_named(path: Path) -> None:
    deep = (f"{n:x}/" + "d/" * 45 + "f" for n in range(10_000))
    write_members(path, deep)
    said, seconds, memory = cost(path)
    assert "has too much text in its names" in said or "holds more than 200000 files" in said
    assert seconds < 5
    assert memory < 200


def test_a_bomb_of_long_names(path: Path) -> None:
    """Each directory above has a long name too, though the archive does not hold them."""
    deep = "/".join(["d" * 250] * 16)
    assert len(deep) < 20 * 400 / 1.5
    write(path, tar_of(member(deep)))
    assert "has too much text in its names" in refusal(str(path), ArchiveLimits(files=20))
    assert list_archive(str(path), ArchiveLimits(files=100)).files == (deep,)


def test_a_bomb_of_tangled_links(path: Path) -> None:
    """Each link takes the one before it twice: the last has 2**30 on its way."""
    links = [link("l0", "d/..")]
    for n in range(1, 31):
        links.append(link(f"l{n}", f"l{n - 1}/d/../l{n - 1}"))
    write(path, tar_of(*links))
    said, seconds, _ = cost(path)
    assert said == "it is right"  # Linux follows 40 links: these lead nowhere
    assert seconds < 1
    wide = "/".join(["d", ".."] * 600)
    many = [link(f"l{n}", wide) for n in range(2000)]
    assert "has too tangled links" in refusal(write(path, tar_of(*many)))


def test_limits_that_are_raised_and_lowered(path: Path) -> None:
    write(path, tar_of(member("a/b", size=1000), member("c")))
    assert list_archive(str(path), ArchiveLimits(files=3, size=3000)).size == 1000
    assert "holds more than 2 files" in refusal(str(path), ArchiveLimits(files=2))
    said = refusal(str(path), ArchiveLimits(files=9, size=1000))
    assert "holds 'a/b', which makes it larger than 1000 bytes" in said
    assert "raise the limits of 9,1000 with --archive-limits FILES,SIZE" in said


# ---------------------------------------------------------------- anything at all

VALID = tar_of(
    folder("d"),
    member("d/f", size=100),
    link("d/l", "f"),
    member("n" * 150, size=3),
    form=tarfile.PAX_FORMAT,
) + bytes(0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 3), st.binary(max_size=20)), max_size=5
    ),
    st.booleans(),
)
def test_any_change_gives_a_listing_or_an_error(
    path: Path, changes: list[tuple[int, int, bytes]], inside: bool
) -> None:
    data = bytearray(VALID if inside else lzma.compress(VALID, preset=0))
    for place, removed, added in changes:
        start = place % (len(data) + 1)
        data[start : start + removed] = added
    path.write_bytes(lzma.compress(bytes(data), preset=0) if inside else bytes(data))
    check_it_is_safe(path)


def names() -> st.SearchStrategy[str]:
    part = st.sampled_from(["a", "b", "c", "..", ".", "", ".wh.a", "\0", "\udcff", "x" * 120])
    return st.lists(part, max_size=4).map("/".join)


KINDS = [
    *(tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE),
    *(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(names(), st.sampled_from(KINDS), names(), st.sampled_from([0, 0, 5, 1 << 40])),
        max_size=8,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_any_members_give_a_listing_or_an_error(
    path: Path, members: list[tuple[str, bytes, str, int]], form: int
) -> None:
    parts = []
    for name, kind, linkname, size in members:
        one = member(name, kind, linkname=linkname, size=size)
        parts.append(one.tobuf(form, "utf-8", "surrogateescape") + bytes(512 if size else 0))
    write(path, b"".join(parts) + bytes(1024))
    check_it_is_safe(path)


def check_it_is_safe(path: Path) -> None:
    """What is listed unpacks into an empty directory as listed, and nothing leaves that."""
    import tempfile

    try:
        listing = list_archive(str(path))
    except RecordError:
        refusal(str(path))
        return
    with tempfile.TemporaryDirectory() as made:
        root = os.path.realpath(made)
        with guarded(str(path)) as tar:
            for m in tar:
                # naively, in order to see that nothing naive can be led astray
                place = os.path.join(root, m.name)
                os.makedirs(place if m.isdir() else os.path.dirname(place), exist_ok=True)
                if m.issym():
                    os.symlink(m.linkname, place)
                elif m.islnk():
                    os.link(os.path.join(root, m.linkname), place)
                elif m.isreg():
                    content = tar.extractfile(m)
                    assert content is not None
                    Path(place).write_bytes(content.read())
        found = []
        for directory, below, files in os.walk(root):
            links = [name for name in below if os.path.islink(os.path.join(directory, name))]
            for name in (*files, *links):
                full = os.path.join(directory, name)
                found.append(os.path.relpath(full, root))
                end = os.path.realpath(full)
                assert end == root or end.startswith(root + "/")
        assert sorted(found) == list(listing.files)
