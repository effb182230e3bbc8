"""HDF5 by group, dataset and attribute."""

from __future__ import annotations

import io
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprorun.compare import hdf5
from reprorun.compare.hdf5_values import blocks, flat_place
from reprorun.compare.registry import compare_contents
from reprorun.compare.values import Finding, Settings, Tolerance

from .rich_kit import SETTINGS, Damage, content, damages, judged, kept_away

VALUES = np.arange(600.0).reshape(20, 30)
Change = Callable[[h5py.File], None]


def nothing(file: h5py.File) -> None:
    pass


def written(change: Change = nothing, values: Any = VALUES, **layout: Any) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.create_dataset("net/weight", data=values, **layout)
        file["net/loop"] = file["/net"]
        file["name"] = "hello"
        file["words"] = np.array(["a", "bb"], dtype=h5py.string_dtype())
        file["rows"] = np.array([(1, 2.0, [1, 2]), (3, 4.0, [3, 4])], dtype=ROW)
        lists = file.create_dataset("lists", (2,), dtype=h5py.vlen_dtype("f4"))
        lists[0], lists[1] = [1, 2], [3]
        file.create_dataset("leads", (1,), dtype=h5py.ref_dtype)[0] = file["name"].ref
        file["flag"] = np.array([True, False])
        file["soft"] = h5py.SoftLink("/name")
        file["outside"] = h5py.ExternalLink("/etc/passwd", "/x")
        file.create_dataset("empty", shape=(0, 3), dtype="f4")
        file.attrs["lr"] = 0.5
        file["name"].attrs["unit"] = np.array([1, 2])
        change(file)
    return out.getvalue()


ROW = np.dtype([("i", "i4"), ("f", "f8"), ("pair", "i2", 2)])


def judge(a: bytes, b: bytes, with_settings: Settings = SETTINGS) -> Finding:
    return hdf5.compare(content("m.h5", a), content("m.h5", b), with_settings)


def replaced(path: str, value: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[path]
        file[path] = value

    return change


@pytest.mark.parametrize(
    "other",
    [
        written(chunks=(3, 7), compression="gzip"),
        written(chunks=(20, 1), shuffle=True, fletcher32=True),
        written(track_times=True),
        written(values=VALUES.astype(">f8")),
        written(maxshape=(None, 30)),
    ],
    ids=["compressed", "filters", "times", "order of bytes", "growing"],
)
def test_how_it_is_stored_is_aside(other: bytes) -> None:
    found = judge(written(), other)
    assert (found.verdict, found.divergence, found.notes) == ("equivalent", None, ())


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 19), st.integers(0, 29))
def test_any_changed_element_is_found(row: int, column: int) -> None:
    values = VALUES.copy()
    values[row, column] += 0.25
    found = judge(written(), written(values=values, chunks=(3, 7), compression="lzf"))
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where == f"/net/weight, element [{row}, {column}]"


def set_attribute(path: str, name: str, value: Any) -> Change:
    def change(file: h5py.File) -> None:
        file[path].attrs[name] = value

    return change


def refer(file: h5py.File) -> None:
    file["leads"][0] = file["words"].ref


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda file: file["name"].__setitem__((), "hallo"), "/name"),
        (
            replaced("words", np.array(["a", "bc"], dtype=h5py.string_dtype())),
            "/words, element [1]",
        ),
        (
            replaced("rows", np.array([(1, 2.0, [1, 2]), (3, 4.0, [3, 5])], dtype=ROW)),
            "/rows, element [1], field pair",
        ),
        (replaced("flag", np.array([True, True])), "/flag, element [1]"),
        (replaced("flag", np.array([1, 0], dtype="i1")), "dtype of /flag"),
        (replaced("flag", np.array([[True, False]])), "shape of /flag"),
        (replaced("soft", h5py.SoftLink("/words")), "/soft"),
        (replaced("outside", h5py.ExternalLink("/etc/hosts", "/x")), "/outside"),
        (set_attribute("/", "lr", 0.25), "/: attribute lr"),
        (set_attribute("name", "unit", np.array([1, 3])), "/name: attribute unit, element 1"),
        (set_attribute("name", "more", 1), "/name: attribute more"),
        (refer, "/leads, element [0]"),
        (lambda file: file["lists"].__setitem__(1, [4]), "/lists, element [1][0]"),
        (lambda file: file.create_group("more"), "object /more"),
        (lambda file: file.__delitem__("soft"), "object /soft"),
    ],
)
def test_any_other_change_is_found(change: Change, where: str) -> None:
    found = judge(written(), written(change))
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where == where


def test_tolerance_by_dataset() -> None:
    near = written(values=VALUES + 1e-4)
    allowed = Settings(columns=(("*.h5", "/net/*", Tolerance(atol=0.01)),))
    assert judge(written(), near, allowed).verdict == "within tolerance"
    assert judge(written(), near).verdict == "different"


@given(
    st.lists(st.integers(1, 40), max_size=3).map(tuple), st.sampled_from((1, 8, 1 << 18, 1 << 22))
)
def test_blocks_hold_every_element_in_order(shape: tuple[int, ...], size: int) -> None:
    values = np.arange(prod(shape)).reshape(shape)
    found: list[int] = []
    for block in blocks(shape, None, size):
        part = values[block].reshape(-1)
        place = flat_place("x", shape, block)
        index = list(np.unravel_index(part[-1], shape)) if shape else []
        assert place(len(part) - 1) == (f"x, element {[int(i) for i in index]}" if shape else "x")
        found += part.tolist()
    assert found == list(range(prod(shape)))


# ---------------------------------------------------------------- bad input


@settings(max_examples=100, deadline=None)
@given(damages(), st.booleans(), st.booleans())
def test_damage_is_a_verdict(damage: Damage, first: bool, packed: bool) -> None:
    good = written(chunks=(3, 7), compression="gzip") if packed else written()
    judged(hdf5.compare, "m.h5", *((damage(good), good) if first else (good, damage(good))))


def test_no_other_file_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(4.0).tobytes())

    def outside(file: h5py.File, more: int = 0) -> None:
        file.create_dataset("raw", (4,), dtype="f8", external=[(str(secret), 0, 32)])
        file["more"] = more
        layout = h5py.VirtualLayout((4,), dtype="f8")
        layout[:] = h5py.VirtualSource(str(secret), "x", shape=(4,))
        file.create_virtual_dataset("virtual", layout)

    one = written(outside)
    found = judge(one, written(outside, chunks=(5, 5)))
    assert found.verdict == "unknown"
    assert "/raw keeps its values in another place" in found.reason
    assert "/virtual" in found.reason
    changed = judge(one, written(lambda file: outside(file, 1)))
    assert changed.verdict == "different"
    assert any("/raw" in note for note in changed.notes)


def test_a_dataset_that_claims_to_be_enormous() -> None:
    def claim(file: h5py.File) -> None:
        file.create_dataset("vast", (1 << 40,), dtype="f8", chunks=(1 << 16,))

    found = judge(written(claim), written(claim, chunks=(3, 3)))
    assert found.verdict == "unknown"
    assert "unpacks to more than" in found.reason


def test_without_h5py_it_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = written(), written(chunks=(3, 3))
    kept_away(monkeypatch, "h5py")
    found = compare_contents(content("m.h5", one), content("m.h5", other), SETTINGS)
    assert found.verdict == "unknown"
    assert "h5py" in found.reason
    assert "pip install 'reprorun[compare]'" in found.reason
