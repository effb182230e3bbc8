"""Notes in the cache: what is damaged is no note, and what can't be written stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reprorun.notes import read_note, write_note

CONTENT = b'{"python": "3.11.2"}\nand more\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "note.json"


def test_a_note_reads_back(path: Path) -> None:
    for content in (CONTENT, b"", b"\n", b"\x00\xff"):
        write_note(str(path), content)
        assert read_note(str(path)) == content


def test_none_is_none(path: Path) -> None:
    assert read_note(str(path)) is None


def test_every_flipped_bit_is_found(path: Path) -> None:
    write_note(str(path), CONTENT)
    whole = path.read_bytes()
    for number in range(len(whole) * 8):
        data = bytearray(whole)
        data[number // 8] ^= 1 << number % 8
        path.write_bytes(data)
        assert read_note(str(path)) is None


def test_every_cut_is_found(path: Path) -> None:
    write_note(str(path), CONTENT)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert read_note(str(path)) is None


def test_a_directory_in_its_place_stops_nothing(path: Path) -> None:
    path.mkdir()
    write_note(str(path), CONTENT)
    assert read_note(str(path)) is None


def test_a_private_one_is_for_the_user_alone(path: Path) -> None:
    write_note(str(path), CONTENT, private=True)
    assert os.stat(path).st_mode & 0o777 == 0o600
