"""torch files by tensor, without torch."""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprorun.compare.registry import compare_contents
from reprorun.compare.tensors import decoded, float8
from reprorun.compare.torch_files import compare
from reprorun.compare.values import Finding, Settings, Tolerance, Unreadable

from .rich_kit import (
    SETTINGS,
    Damage,
    Stored,
    content,
    damages,
    judged,
    kept_away,
    legacy_torch_file,
    torch_file,
)


def floats(*values: float, shape: tuple[int, ...] | None = None, **more: Any) -> Stored:
    return Stored(
        "Float", shape or (len(values),), struct.pack(f"<{len(values)}f", *values), **more
    )


def state(**changed: Any) -> dict[str, Any]:
    """What a training run saves."""
    return {
        "model": {"weight": floats(1, 2, 3, 4, 5, 6, shape=(2, 3)), "bias": floats(0.5, math.nan)},
        "epoch": 3,
        "lr": 0.125,
        "names": ["a", "b"],
        **changed,
    }


def judge(a: bytes, b: bytes, with_settings: Settings = SETTINGS) -> Finding:
    return compare(content("m.pt", a), content("m.pt", b), with_settings)


def other_weight(index: int, value: float) -> dict[str, Any]:
    values = [1.0, 2, 3, 4, 5, 6]
    values[index] = value
    return state(model={"weight": floats(*values, shape=(2, 3)), "bias": floats(0.5, math.nan)})


@pytest.mark.parametrize(
    "other",
    [
        torch_file(state(), top="model"),
        torch_file(state(), compression=zipfile.ZIP_DEFLATED),
        legacy_torch_file(state()),
        torch_file(dict(reversed(list(state().items())))),
    ],
    ids=["another name", "compressed", "the old layout", "another order of keys"],
)
def test_the_same_values_in_another_layout_are_equivalent(other: bytes) -> None:
    found = judge(torch_file(state()), other)
    assert (found.verdict, found.divergence) == ("equivalent", None)


def test_another_device_is_volatile() -> None:
    found = judge(torch_file([floats(1, 2)]), torch_file([floats(1, 2, device="cuda:0")]))
    assert found.verdict == "equivalent"
    assert [(each.what, each.example) for each in found.volatile] == [("device", "cpu / cuda:0")]


def test_the_order_in_memory_is_aside() -> None:
    by_column = floats(1, 4, 2, 5, 3, 6, shape=(2, 3), strides=(1, 2))
    assert judge(torch_file(state()["model"]["weight"]), torch_file(by_column)).verdict == (
        "equivalent"
    )
    changed = floats(1, 4, 2, 5, 3, 7, shape=(2, 3), strides=(1, 2))
    found = judge(torch_file(by_column), torch_file(changed))
    assert found.divergence is not None
    assert found.divergence.where.endswith("element [1, 2]")


def test_a_part_of_a_larger_storage() -> None:
    part = Stored("Float", (2,), struct.pack("<4f", 9, 1, 2, 9), offset=1)
    assert judge(torch_file(part), torch_file(floats(1, 2))).verdict == "equivalent"
    found = judge(torch_file(part), torch_file(floats(1, 3)))
    assert found.divergence is not None
    assert (found.divergence.original, found.divergence.now) == ("2.0", "3.0")


@given(st.integers(0, 5), st.floats(-100, 100, width=32), st.booleans())
def test_any_changed_element_is_found(index: int, value: float, legacy: bool) -> None:
    if value == index + 1:
        return
    write = legacy_torch_file if legacy else torch_file
    found = judge(torch_file(state()), write(other_weight(index, value)))
    assert found.verdict == "different"
    assert found.divergence is not None
    row, column = divmod(index, 3)
    assert found.divergence.where == f"tensor model.weight, element [{row}, {column}]"


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"epoch": 4}, "epoch"),
        ({"epoch": 3.0}, "epoch"),
        ({"lr": 0.25}, "lr"),
        ({"names": ["a", "c"]}, "names[1]"),
        ({"names": ["a"]}, "length of names"),
        ({"more": 1}, "more"),
    ],
)
def test_any_other_value_is_found(changed: dict[str, Any], where: str) -> None:
    found = judge(torch_file(state()), torch_file(state(**changed)))
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where == where


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        (floats(1, 2), floats(1, 2, shape=(1, 2)), "shape of"),
        (floats(1), Stored("Half", (1,), struct.pack("<e", 1)), "dtype of"),
    ],
)
def test_shape_and_dtype_are_differences_of_their_own(
    one: Stored, other: Stored, where: str
) -> None:
    found = judge(torch_file({"w": one}), torch_file({"w": other}))
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where == f"{where} tensor w"


def test_whether_it_is_learned_counts() -> None:
    one, other = (torch_file({"w": floats(1, learned=learned)}) for learned in (False, True))
    found = judge(one, other)
    assert found.verdict == "different"
    assert found.divergence is not None
    assert found.divergence.where == "w (its flags)[0]"


def test_tolerance() -> None:
    near = torch_file(other_weight(4, 5.001))
    allowed = Settings(tolerance=Tolerance(rtol=1e-3))
    assert judge(torch_file(state()), near, allowed).verdict == "within tolerance"
    only_bias = Settings(columns=(("*.pt", "model.bias", Tolerance(rtol=1e-3)),))
    assert judge(torch_file(state()), near, only_bias).verdict == "different"


def test_the_code_of_torchscript_counts() -> None:
    one, other = (torch_file(state(), **{"code/m.py": code}) for code in (b"a = 1\n", b"a = 2\n"))
    found = judge(one, other)
    assert found.verdict == "different"
    assert [named.path for named in found.inner] == ["code/m.py"]
    debug = (torch_file(state(), **{"code/m.py.debug_pkl": data}) for data in (b"1", b"2"))
    assert judge(*debug).verdict == "equivalent"


def test_nothing_is_loaded(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (mark,))

    found = judge(torch_file({"a": Evil(), "b": 1}), torch_file({"a": Evil(), "b": 2}))
    assert found.verdict == "different"
    assert not mark.exists()
    pickle.loads(pickle.dumps(Evil()))
    assert mark.exists()


def test_numbers_of_every_width() -> None:
    assert decoded(struct.pack("<2H", 0x3FC0, 0xC000), "bfloat16").tolist() == [1.5, -2.0]
    assert decoded(b"\x00\x01\x02", "bool").tolist() == [False, True, True]
    assert decoded(struct.pack("<2e", 1, 2), "complex32").tolist() == [1 + 2j]
    assert float8(0x38, "float8_e4m3fn") == float8(0x3C, "float8_e5m2") == 1.0
    assert float8(0x7E, "float8_e4m3fn") == 448
    assert float8(0xFC, "float8_e5m2") == -math.inf
    assert math.isnan(float8(0x80, "float8_e4m3fnuz"))
    assert float8(127, "float8_e8m0fnu") == 1.0


def test_without_numpy_it_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = torch_file(state()), torch_file(other_weight(1, 9))
    renamed = torch_file(state(), top="x")
    kept_away(monkeypatch, "numpy")
    found = judge(one, other)
    assert found.verdict == "unknown"
    assert "pip install 'reprorun[compare]'" in found.reason
    assert judge(one, renamed).verdict == "equivalent"  # the bytes of each tensor are the same


# ---------------------------------------------------------------- bad input


@settings(max_examples=150, deadline=None)
@given(damages(), st.booleans(), st.booleans())
def test_damage_is_a_verdict(damage: Damage, legacy: bool, first: bool) -> None:
    good = (legacy_torch_file if legacy else torch_file)(state())
    pair = (damage(good), good) if first else (good, damage(good))
    judged(compare, "m.pt", *pair)


def test_a_tensor_that_is_larger_than_its_data() -> None:
    with pytest.raises(Unreadable, match="larger than its data"):
        judge(torch_file(floats(1, 2, shape=(9,))), torch_file(floats(1, 3, shape=(9,))))


def test_a_tensor_of_impossible_size_is_not_unpacked() -> None:
    wide = [floats(value, shape=(1 << 40, 4), strides=(0, 0)) for value in (1.0, 2.0)]
    assert judge(*map(torch_file, wide)).verdict == "unknown"
    negative = floats(1, shape=(1,), strides=(-1,))
    with pytest.raises(Unreadable, match="impossible shape"):
        judge(torch_file(negative), torch_file(floats(1)))


def test_a_value_that_is_part_of_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    data = [torch_file(state(), top=top) for top in "ab"]
    found = compare_contents(content("m.pt", data[0]), content("m.pt", data[1]), SETTINGS)
    assert found.verdict == "equivalent"
    plain = [content("m.pkl", pickle.dumps([loop, value])) for value in (1, 2)]
    assert compare_contents(*plain, SETTINGS).verdict == "different"


def test_random_tensors_of_numpy_agree() -> None:
    values = np.random.default_rng(0).standard_normal(200_000).astype("<f4")
    other = values.copy()
    other[123_456] += 1
    one, two = (Stored("Float", (400, 500), each.tobytes()) for each in (values, other))
    found = judge(torch_file({"w": one}), torch_file({"w": two}))
    assert found.divergence is not None
    assert found.divergence.where == "tensor w, element [246, 456]"
    assert found.divergence.growth is not None
    assert found.divergence.growth.count == 1
