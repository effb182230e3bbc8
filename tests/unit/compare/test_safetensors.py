"""safetensors by tensor."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprorun.compare.registry import compare_contents
from reprorun.compare.safetensors import compare
from reprorun.compare.values import Finding, Settings, Tolerance, Unreadable

from .rich_kit import SETTINGS, Damage, content, damages, judged, kept_away

VALUES = {
    "weight": ("F32", (2, 3), struct.pack("<6f", *range(6))),
    "bias": ("I64", (2,), struct.pack("<2q", 1 << 60, -1)),
    "half": ("BF16", (), b"\x80\x3f"),
}
ENTRY = b'{"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}'
Values = dict[str, tuple[str, tuple[int, ...], bytes]]


def written(values: Values, **metadata: str) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, (dtype, shape, raw) in values.items():
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += raw
    return with_header(header, data)


def with_header(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def judge(a: bytes, b: bytes, with_settings: Settings = SETTINGS) -> Finding:
    return compare(content("m.safetensors", a), content("m.safetensors", b), with_settings)


@given(st.permutations(list(VALUES)), st.text(max_size=5))
def test_order_and_metadata_are_aside(order: list[str], text: str) -> None:
    other = written({name: VALUES[name] for name in order}, text=text)
    assert judge(written(VALUES), other).verdict == "equivalent"


@given(st.integers(0, 5), st.floats(width=32, allow_nan=False))
def test_any_changed_element_is_found(index: int, value: float) -> None:
    values = [float(number) for number in range(6)]
    if values[index] == value:
        return
    values[index] = value
    raw = struct.pack("<6f", *values)
    found = judge(written(VALUES), written({**VALUES, "weight": ("F32", (2, 3), raw)}))
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where == f"tensor weight, element {list(divmod(index, 3))}"


@pytest.mark.parametrize(
    ("name", "other", "where"),
    [
        ("bias", ("I64", (2,), struct.pack("<2q", (1 << 60) + 1, -1)), "tensor bias, element [0]"),
        ("bias", ("U64", (2,), bytes(16)), "dtype of tensor bias"),
        ("bias", ("I64", (1, 2), VALUES["bias"][2]), "shape of tensor bias"),
        ("half", ("BF16", (), b"\x81\x3f"), "tensor half"),
        ("more", ("U8", (1,), b"x"), "tensor more"),
    ],
)
def test_what_differs_is_named(name: str, other: Any, where: str) -> None:
    found = judge(written(VALUES), written({**VALUES, name: other}))
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where == where
    back = judge(written({**VALUES, name: other}), written(VALUES))
    assert back.verdict == "different"


def test_tolerance() -> None:
    near = written({**VALUES, "weight": ("F32", (2, 3), struct.pack("<6f", 0, 1, 2, 3, 4, 5.01))})
    allowed = Settings(columns=(("m.*", "wei*", Tolerance(atol=0.1)),))
    assert judge(written(VALUES), near, allowed).verdict == "within tolerance"


@settings(max_examples=150, deadline=None)
@given(damages(), st.booleans())
def test_damage_is_a_verdict(damage: Damage, first: bool) -> None:
    good = written(VALUES)
    judged(compare, "m", *((damage(good), good) if first else (good, damage(good))))


@pytest.mark.parametrize(
    "bad",
    [
        with_header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(8)),
        with_header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
        with_header({"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}, bytes(8)),
        with_header({"a": {"dtype": "F32", "shape": [0.5], "data_offsets": [0, 2]}}, bytes(8)),
        with_header(
            {
                "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
                "b": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]},
            },
            bytes(8),
        ),
        with_header(b'{"a": %s, "a": %s}' % (ENTRY, ENTRY), b"x"),
        with_header(b"[" * 100_000, b""),
        (1 << 62).to_bytes(8, "little") + b"{}",
        b"",
    ],
    ids=["short", "size", "negative", "float", "overlap", "twice", "nested", "header", "empty"],
)
def test_a_wrong_header_is_refused(bad: bytes) -> None:
    with pytest.raises(Unreadable):
        judge(bad, written(VALUES))
    found = compare_contents(
        content("m.safetensors", bad), content("m.safetensors", written(VALUES)), SETTINGS
    )
    assert found.verdict == "different"
    assert "its bytes decide" in found.reason


def test_without_numpy_it_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kept_away(monkeypatch, "numpy")
    changed = {**VALUES, "half": ("BF16", (), b"\x81\x3f")}
    found = judge(written(VALUES), written(changed))
    assert found.verdict == "unknown"
    assert "pip install 'reprorun[compare]'" in found.reason
    assert judge(written(VALUES), written(VALUES, a="b")).verdict == "equivalent"
