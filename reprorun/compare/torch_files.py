"""What torch.save wrote, by tensor: its pickle is read by opcodes and never loaded.

Since torch 1.6 it is a zip archive of a pickle and the storages' bytes, before it was several
pickles with the bytes behind them. TorchScript archives are zip archives with more members.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from msgspec.structs import replace

from reprorun.compare.archives import compare_members, summary
from reprorun.compare.inert import Node
from reprorun.compare.numbers import Numbers
from reprorun.compare.rich import Missing, Refused, refused, without
from reprorun.compare.tensors import Tensor, compare_tensors
from reprorun.compare.torch_layout import (
    Saved,
    Storage,
    dtype_of,
    is_zip,
    read_legacy,
    read_zip,
)
from reprorun.compare.values import (
    Content,
    Finding,
    NamedFinding,
    Settings,
    Unreadable,
    Volatile,
    worst,
)
from reprorun.compare.walk import Place, Walk

_REBUILD = {
    "torch._utils._rebuild_tensor": 1,
    "torch._utils._rebuild_tensor_v2": 2,
    "torch._utils._rebuild_tensor_v3": 3,
}
_PARAMETER = (
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
)


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two files of torch by tensor, and the other values in them.

    On which device a tensor was, and how the file is laid out, is aside.
    """
    numbers = Numbers(settings.tolerance_of(a.name))
    try:
        with ExitStack() as opened:
            mine, theirs = (_read(content, settings, opened) for content in (a, b))
            comparison = _Comparison(numbers, settings, a.name, mine, theirs)
            comparison.run()
            inner = _other_members(a.name, mine, theirs, settings)
    except Missing as error:
        return without("torch", str(error))
    except Refused as error:
        return refused("torch", error)
    found = numbers.finding(
        "torch",
        volatile=comparison.volatile(),
        equal="all tensors and values are equal; the layout of the file differs",
    )
    return _with_members(found, inner, len(mine.others)) if inner else found


def _other_members(name: str, a: Saved, b: Saved, settings: Settings) -> tuple[NamedFinding, ...]:
    """The code and constants of TorchScript; where in the sources they were is aside."""
    mine, theirs = (
        {name: member for name, member in saved.others.items() if not name.endswith(".debug_pkl")}
        for saved in (a, b)
    )
    return compare_members(name, mine, theirs, settings)


def _with_members(found: Finding, inner: tuple[NamedFinding, ...], count: int) -> Finding:
    """What the tensors and the other members say together."""
    members = summary(inner, count, "torch")
    if worst((found.verdict, members.verdict)) == found.verdict:
        return replace(found, inner=members.inner, notes=members.notes)
    return replace(members, volatile=found.volatile)


def _read(content: Content, settings: Settings, opened: ExitStack) -> Saved:
    stream = opened.enter_context(content.open())
    if is_zip(stream):
        return read_zip(stream, content.size, settings.largest, opened)
    return read_legacy(stream, content.size)


class _Comparison:
    """Two saved values, walked through side by side."""

    def __init__(self, numbers: Numbers, settings: Settings, name: str, a: Saved, b: Saved) -> None:
        self._numbers = numbers
        self._settings = settings
        self._name = name
        self._saved = a, b
        self._devices: list[tuple[str, str]] = []
        self._walk = Walk(numbers, self._leaf)

    def run(self) -> None:
        """Compare them."""
        a, b = self._saved
        self._walk.compare(a.value, b.value)

    def volatile(self) -> tuple[Volatile, ...]:
        """What differs and doesn't matter."""
        found = []
        if self._devices:
            example = " / ".join(self._devices[0])
            found.append(Volatile(what="device", count=len(self._devices), example=example))
        if self._walk.reordered:
            found.append(Volatile(what="order of keys", count=self._walk.reordered))
        return tuple(found)

    def _leaf(self, a: Node, b: Node, place: Place) -> bool:
        """Compares tensors and storages; all else is compared by its parts."""
        if _called(a) in _PARAMETER and _called(b) == _called(a):
            self._walk.also(_rest(a, 1), _rest(b, 1), place.step_down(" (its flags)"))
            self._walk.also(a.args.items[0], b.args.items[0], place)
            return True
        one, other = (_tensor(node, saved) for node, saved in zip((a, b), self._saved, strict=True))
        if one is None or other is None:
            return False
        name = str(place)
        self._numbers.tolerance = self._settings.tolerance_of(self._name, name)
        compare_tensors(self._numbers, f"tensor {name}", one, other)
        self._numbers.tolerance = self._settings.tolerance_of(self._name)
        self._note_devices(_storage(a).device, _storage(b).device)
        if a.kind == b.kind == "call":
            self._walk.also(_rest(a, 4), _rest(b, 4), place.step_down(" (its flags)"))
        return True

    def _note_devices(self, original: str, now: str) -> None:
        if original != now:
            self._devices.append((original, now))


def _called(node: Node) -> str:
    """The name of the function that is called with at least one argument; else empty."""
    named = isinstance(node.what, Node) and node.what.kind == "global"
    with_arguments = isinstance(node.args, Node) and node.args.kind == "tuple" and node.args.items
    return str(node.what.what) if node.kind == "call" and named and with_arguments else ""


def _rest(node: Node, start: int) -> Node:
    """The later arguments of a call, such as whether it needs a gradient."""
    return Node("tuple", node.args.items[start:])


def _storage(node: Node) -> Storage:
    """The storage that a node is, or that the tensor has which it would make."""
    return Storage(node if node.kind == "persistent" else node.args.items[0])


def _tensor(node: Node, saved: Saved) -> Tensor | None:
    """The tensor that a node would make, or a storage as a tensor; None where it is neither."""
    if node.kind == "persistent":
        storage = _storage(node)
        return Tensor(storage.dtype, (storage.count,), lambda: saved.storage(storage.key))
    version = _REBUILD.get(_called(node))
    if version is None:
        return None
    arguments = node.args.items
    if len(arguments) < (7 if version == 3 else 4) or not isinstance(arguments[0], Node):
        raise Unreadable("it has a tensor that can't be read")
    storage = _storage(node)
    return Tensor(
        dtype_of(arguments[6]) if version == 3 else storage.dtype,
        _lengths(arguments[2]),
        lambda: saved.storage(storage.key),
        offset=arguments[1],
        strides=_lengths(arguments[3]),
    )


def _lengths(node: Any) -> tuple[Any, ...]:
    """A shape or strides; torch.Size is a call."""
    if isinstance(node, Node) and node.kind == "call" and isinstance(node.args, Node):
        node = node.args.items[0] if node.args.items else None
    if not isinstance(node, Node) or node.kind != "tuple":
        raise Unreadable("it has a tensor that can't be read")
    return tuple(node.items)
