"""Our xz files are those of everybody else, and the same whatever made them."""

from __future__ import annotations

import lzma
import os
import random
import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from reprorun.experiment import archive_tar, xz
from reprorun.experiment.archive_tar import tar_of
from reprorun.experiment.tree import LeftOut, Tree
from reprorun.experiment.xz import PIECE, compressed

SIZES = [0, 1, 2, 3, 4, 511, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5]


def text(size: int) -> bytes:
    words = random.Random(size).choices([b"self ", b"return ", b"x = 1\n", b"import "], k=size)
    return b"".join(words)[:size]


@pytest.mark.parametrize("size", SIZES)
def test_it_unpacks_to_what_was_packed(size: int) -> None:
    for content in (text(size), random.Random(size).randbytes(size)):
        packed = b"".join(compressed([content]))
        assert lzma.decompress(packed, format=lzma.FORMAT_XZ) == content
        unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
        assert unpacker.decompress(packed) == content
        assert unpacker.eof  # one stream, and nothing behind it
        assert unpacker.unused_data == b""
        assert unpacker.check == lzma.CHECK_CRC32


@pytest.mark.parametrize("size", SIZES)
def test_xz_itself_takes_it(tmp_path: Path, size: int) -> None:
    program = shutil.which("xz")
    if program is None:
        pytest.fail("this test compares with xz: install xz-utils")
    (tmp_path / "a.xz").write_bytes(b"".join(compressed([text(size)])))
    unpacked = subprocess.run([program, "-dc", tmp_path / "a.xz"], check=True, capture_output=True)
    assert unpacked.stdout == text(size)


def test_the_same_bytes_however_it_comes_and_with_any_number_of_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = text(2 * PIECE + 77)
    first = b"".join(compressed([content]))
    for processors in (1, 2, 7, None):
        monkeypatch.setattr("os.cpu_count", lambda processors=processors: processors)
        parts = [content[start : start + 100_003] for start in range(0, len(content), 100_003)]
        assert b"".join(compressed(iter(parts))) == first


def test_what_is_damaged_is_noticed() -> None:
    packed = bytearray(b"".join(compressed([text(PIECE + 5)])))
    packed[len(packed) // 2] ^= 1
    with pytest.raises(lzma.LZMAError):
        lzma.decompress(bytes(packed))


def test_an_error_of_a_piece_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(piece: bytes) -> bytes:
        raise MemoryError

    monkeypatch.setattr(xz, "_compress", fail)
    with pytest.raises(MemoryError):
        b"".join(compressed([b"x"]))


# ---------------------------------------------------------------- the tar in it


def test_the_tar_is_that_of_tarfile(tmp_path: Path) -> None:
    """Byte for byte, with names and targets of every length up to where headers get longer."""
    root = tmp_path / "root"
    names = ["a", os.fsdecode(b"latin-\xe9 '\n.py"), *("d" * n + "/" + "f" * n for n in (45, 70))]
    for name in [*names, "x/" + "y" * 97, "x/" + "y" * 98, "x/" + "y" * 99]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode(errors="surrogateescape") * len(name))
    (root / "a").chmod(0o740)
    for length in (1, 99, 100, 101, 200):
        (root / f"link-{length}").symlink_to("t" * length)
    (root / "empty").touch()
    files = [os.path.relpath(path, root) for path in root.rglob("*") if not path.is_dir()]
    left_out = (LeftOut("large/data.bin", 1, "0", "large"),)
    ours = b"".join(tar_of(str(root), Tree(tuple(files), left_out)))
    assert ours == by_tarfile(root, sorted([*files, *directories(files), "large"]))


def directories(files: list[str]) -> set[str]:
    return {os.path.dirname(name) for name in files if "/" in name}


def by_tarfile(root: Path, names: list[str]) -> bytes:
    made = BytesIO()
    form = {"format": tarfile.GNU_FORMAT, "encoding": "utf-8", "errors": "surrogateescape"}
    with tarfile.open(fileobj=made, mode="w", **form) as tar:  # type: ignore[call-overload]
        for name in names:
            entry, path = tarfile.TarInfo(name), root / name
            entry.mtime = 315532800
            if path.is_symlink():
                entry.type, entry.mode = tarfile.SYMTYPE, 0o777
                entry.linkname = os.readlink(path)
                tar.addfile(entry)
            elif path.is_dir() or not path.exists():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            else:
                entry.size = path.stat().st_size
                entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                tar.addfile(entry, BytesIO(path.read_bytes()))
    return made.getvalue()


def test_a_link_that_vanishes_while_it_is_read_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("x")
    read = os.readlink
    monkeypatch.setattr(archive_tar.os, "readlink", lambda path: os.unlink(path) or read(path))
    tar = b"".join(tar_of(str(tmp_path), Tree(("link",), ())))
    assert not any(tar)
