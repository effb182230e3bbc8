"""Which comparator is taken, and that no output passes because it can't be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprorun.compare import registry
from reprorun.compare.bytes import common_length, first_difference
from reprorun.compare.content import file_content
from reprorun.compare.registry import comparators_of, compare_contents, load
from reprorun.compare.values import Content, Finding, Settings, Unreadable
from tests.compare_zoo import compare, content, first

NAMES = {name for _, names in registry._NAMES for name in names}
MAGIC = {name for _, _, names in registry._MAGIC for name in names}


@pytest.mark.parametrize("name", sorted(NAMES | MAGIC))
def test_every_comparator_is_there(name: str) -> None:
    assert callable(load(name))


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("x.npy", b"", "npy"),
        ("d/X.CSV", b"", "table"),
        ("run/events.out.tfevents.170.host.1.0", b"", "tensorboard"),
        ("x.tar.gz", b"", "archives"),
        ("noname", b"\x93NUMPY\x01", "npy"),
        ("noname", b"\x89HDF\r\n\x1a\n", "hdf5"),
        ("noname", b"\0" * 257 + b"ustar", "archives"),
        ("noname", b"\x80\x04\x95", "pickles"),
        ("x.txt", b"\x93NUMPY\x01", "text"),
        ("noname", b"plain words\n", "text"),
    ],
)
def test_name_and_first_bytes_say_the_format(name: str, data: bytes, expected: str) -> None:
    each = content(name, data)
    assert next(comparators_of(each, each)) == expected


def test_what_is_neither_is_compared_by_bytes() -> None:
    found = compare("x.bin", b"\0" * 3_000_000 + b"a1", b"\0" * 3_000_000 + b"b12")
    assert (found.verdict, found.comparator) == ("different", "bytes")
    assert first(found) == ("byte 3000000", "61 31", "62 31 32")
    assert "3,000,002 bytes against 3,000,003" in found.reason


@pytest.mark.parametrize("error", [Unreadable("it is odd"), MemoryError(), RecursionError()])
def test_what_cant_be_read_is_decided_by_its_bytes(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(a: Content, b: Content, settings: Settings) -> Finding:
        raise error

    monkeypatch.setattr("reprorun.compare.npy.compare", fail)
    found = compare("x.npy", b"1", b"2")
    assert (found.verdict, found.comparator) == ("different", "bytes")
    assert "so its bytes decide" in found.reason


def test_a_file_that_cant_be_read_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    one = file_content(str(tmp_path / "x"))
    (tmp_path / "x").unlink()
    os.mkfifo(tmp_path / "x")
    found = compare_contents(one, one, Settings())
    assert found.verdict == "unknown"
    assert "not a regular file" in found.reason


def test_identical_bytes_are_identical_whatever_they_claim_to_be() -> None:
    assert compare("x.npy", b"nonsense", b"nonsense").verdict == "identical"


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_the_first_byte_that_differs(start: bytes, one: bytes, other: bytes) -> None:
    a, b = start + one, start + other
    expected = next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    assert common_length(a, b) == expected
    found = first_difference(content("x", a), content("x", b))
    assert (found is None) == (a == b)
    if found is not None:
        assert found.offset == expected


@pytest.mark.parametrize("at", [0, 262_143, 262_144, 1_048_576, 2_000_000, 2_099_999])
def test_the_first_byte_that_differs_in_large_files(at: int, tmp_path: Path) -> None:
    data = bytearray(os.urandom(2_100_000))
    (tmp_path / "a").write_bytes(data)
    data[at] ^= 1
    (tmp_path / "b").write_bytes(data)
    (tmp_path / "c").write_bytes(data[: at or 1])
    one, other, cut = (file_content(str(tmp_path / name)) for name in "abc")
    found = first_difference(one, other)
    assert found is not None
    assert found.offset == at
    assert first_difference(other, other) is None
    ended = first_difference(other, cut)
    assert ended is not None
    assert (ended.offset, ended.now) == (at or 1, b"")
