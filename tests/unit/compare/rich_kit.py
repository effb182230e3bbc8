"""For the tests of rich formats: contents, damage, and a library that is kept away."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from reprorun.compare.content import BytesContent
from reprorun.compare.values import Finding, Settings, Unreadable

SETTINGS = Settings(largest=64 << 20)

Damage = Callable[[bytes], bytes]


def content(name: str, data: bytes) -> BytesContent:
    return BytesContent(name=name, data=data)


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Something that is done to the bytes of a file: bits, numbers, lengths, the end."""
    kind = draw(st.sampled_from(("byte", "number", "cut", "repeat", "insert")))
    place = draw(st.floats(0, 1, exclude_max=True))
    value = draw(st.binary(min_size=1, max_size=8))

    def damage(data: bytes) -> bytes:
        at = int(place * len(data))
        if kind == "byte":
            return data[:at] + value[:1] + data[at + 1 :]
        if kind == "number":
            return data[:at] + b"\xff" * 4 + data[at + 4 :]
        if kind == "cut":
            return data[:at]
        if kind == "repeat":
            return data[:at] + data[at : at + 64] + data[at:]
        return data[:at] + value + data[at:]

    return damage


def judged(compare: Any, name: str, a: bytes, b: bytes) -> Finding | None:
    """What a comparator says; None where it leaves it to the bytes. Nothing else may come of it."""
    try:
        found: Finding = compare(content(name, a), content(name, b), SETTINGS)
    except Unreadable:
        return None
    assert found.verdict != "identical"
    return found


def kept_away(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)


# ---------------------------------------------------------------- files as torch.save writes them


class _Global:
    """Pickled as the name of a class or function that need not be there."""

    def __init__(self, name: str) -> None:
        self.module, _, self.name = name.rpartition(".")


class _Call:
    def __init__(self, function: str, *args: Any) -> None:
        self.function, self.args = _Global(function), args


class Stored:
    """A tensor with its bytes, as it is to be written."""

    def __init__(
        self,
        dtype: str,
        shape: tuple[int, ...],
        data: bytes,
        strides: tuple[int, ...] | None = None,
        device: str = "cpu",
        offset: int = 0,
        learned: bool = False,
    ) -> None:
        self.dtype, self.shape, self.data, self.device = dtype, shape, data, device
        self.offset, self.learned = offset, learned
        steps = [1]
        for length in reversed(shape[1:]):
            steps.insert(0, steps[0] * length)
        self.strides = strides if strides is not None else tuple(steps[: len(shape)])


_SIZES = {"Float": 4, "Double": 8, "Long": 8, "BFloat16": 2, "Half": 2, "Byte": 1}


def _pickled(value: Any, storages: list[Stored], *, legacy: bool) -> bytes:
    """A pickle with persistent ids for storages, by hand: nothing of torch is needed."""
    out = io.BytesIO()
    out.write(b"\x80\x02")
    _write(out, value, storages, legacy)
    out.write(b".")
    return out.getvalue()


def _write(out: io.BytesIO, value: Any, storages: list[Stored], legacy: bool) -> None:
    def inner(part: Any) -> None:
        _write(out, part, storages, legacy)

    if isinstance(value, _Global):
        out.write(f"c{value.module}\n{value.name}\n".encode())
    elif isinstance(value, _Call):
        inner(value.function)
        inner(value.args)
        out.write(b"R")
    elif isinstance(value, Stored):
        storages.append(value)
        out.write(b"ctorch._utils\n_rebuild_tensor_v2\n(")
        count = len(value.data) // _SIZES[value.dtype]
        key = str(len(storages) - 1)
        view = (None,) if legacy else ()
        kind = _Global(f"torch.{value.dtype}Storage")
        inner(("storage", kind, key, value.device, count, *view))
        out.write(b"Q")
        for part in (value.offset, value.shape, value.strides, value.learned):
            inner(part)
        inner(_Call("collections.OrderedDict"))
        out.write(b"tR")
    elif isinstance(value, dict):
        out.write(b"}(")
        for key, part in value.items():
            inner(key)
            inner(part)
        out.write(b"u")
    elif isinstance(value, (list, tuple)):
        out.write(b"(")
        for part in value:
            inner(part)
        out.write(b"t" if isinstance(value, tuple) else b"l")
    else:
        out.write(pickle.dumps(value, protocol=2)[2:-1])


def torch_file(
    value: Any, *, top: str = "archive", compression: int = zipfile.ZIP_STORED, **more: bytes
) -> bytes:
    """A file as torch writes it since 1.6."""
    storages: list[Stored] = []
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr(f"{top}/data.pkl", _pickled(value, storages, legacy=False))
        archive.writestr(f"{top}/byteorder", b"little")
        for key, stored in enumerate(storages):
            archive.writestr(f"{top}/data/{key}", stored.data)
        archive.writestr(f"{top}/version", b"3\n")
        for name, data in more.items():
            archive.writestr(f"{top}/{name}", data)
    return out.getvalue()


def legacy_torch_file(value: Any) -> bytes:
    """A file as torch wrote it before 1.6."""
    storages: list[Stored] = []
    main = _pickled(value, storages, legacy=True)
    parts = [
        pickle.dumps(0x1950A86A20F9469CFC6C, 2),
        pickle.dumps(1001, 2),
        pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2),
        main,
        pickle.dumps([str(key) for key in range(len(storages))], 2),
    ]
    for stored in storages:
        count = len(stored.data) // _SIZES[stored.dtype]
        parts.append(count.to_bytes(8, "little") + stored.data)
    return b"".join(parts)
