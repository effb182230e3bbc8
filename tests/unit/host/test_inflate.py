"""Members of zip archives: what comes out, what it costs, and archives that lie."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from reprorun.environment.inflate import Archive

MEGABYTE = 1 << 20
LARGE = 200  # MiB
PEAK = """
import resource, sys
from reprorun.environment.inflate import Archive
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with Archive(sys.argv[1]) as archive:
    size = sum(map(len, archive.pieces("large")))
print(size >> 20, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def packed(place: Path, content: bytes, how: int = zipfile.ZIP_DEFLATED) -> str:
    path = place / "some.zip"
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("first", b"1" * 1000)
        archive.writestr("member", content)
    return str(path)


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * (3 * MEGABYTE // 256) + b"."])
def test_what_was_packed_comes_out(how: int, content: bytes, tmp_path: Path) -> None:
    with Archive(packed(tmp_path, content, how)) as archive:
        assert b"".join(archive.pieces("member")) == content
        assert b"".join(archive.pieces("first")) == b"1" * 1000


def test_a_large_archive_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.zip"
    with (
        # packed without being made smaller, as what can't be is
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=0) as archive,
        archive.open("large", "w") as member,
    ):
        for _ in range(LARGE):
            member.write(bytes(MEGABYTE))
    told = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], check=True, capture_output=True, text=True
    )
    size, peak = map(int, told.stdout.split())
    assert size == LARGE
    assert peak < 20  # MiB


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("header_offset", -5),
        ("header_offset", 7),
        ("header_offset", 1 << 40),
        ("header_offset", 1 << 63),
        ("compress_size", 1 << 40),
        ("compress_size", (1 << 64) - 1),
        ("compress_size", 10),
        ("file_size", 10),
        ("file_size", 1 << 63),
        ("CRC", 1),
    ],
)
def test_an_archive_that_lies_is_found_out(field: str, value: int, tmp_path: Path) -> None:
    with Archive(packed(tmp_path, b"abc" * 1000)) as archive:
        setattr(archive._zip.getinfo("member"), field, value)
        with pytest.raises(zipfile.BadZipFile, match="member"):
            b"".join(archive.pieces("member"))
