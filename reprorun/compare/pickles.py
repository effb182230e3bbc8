"""Pickles compared by their opcodes, never loaded: protocol, framing and memo are aside."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

from reprorun.compare import inert
from reprorun.compare.inert import Node
from reprorun.compare.numbers import Numbers
from reprorun.compare.pickle_forms import items_of, name_of, normalise
from reprorun.compare.rich import Missing, without
from reprorun.compare.tensors import Stretch, Tensor, compare_tensors
from reprorun.compare.values import Content, Finding, Settings, Unreadable, Volatile
from reprorun.compare.walk import Place, Walk

MOST = 10_000  # pickles one after the other in a file
_DTYPES = {
    **{f"{kind}{size}": f"{name}{size * 8}" for kind, name in (("f", "float"), ("i", "int"),
       ("u", "uint"), ("c", "complex")) for size in (1, 2, 4, 8, 16)},
    "b1": "bool",
}  # fmt: skip
_MAKES_ARRAY = re.compile(
    r"numpy\._core\.(?:multiarray\.(_reconstruct|scalar)|numeric\.(_frombuffer))"
)


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two pickles, or two files with several, value by value."""
    numbers = Numbers(settings.tolerance_of(a.name))
    comparison = PickleComparison(numbers)
    with a.open() as one, b.open() as other:
        mine, theirs = _read_all(one, a.size), _read_all(other, b.size)
    if len(mine) != len(theirs):
        numbers.mismatch("number of pickles", str(len(mine)), str(len(theirs)))
    try:
        for value, twin in zip(mine, theirs, strict=False):
            comparison.values(value, twin)
    except Missing as error:
        return without("pickle", str(error))
    return numbers.finding(
        "pickle",
        volatile=comparison.volatile(),
        equal="all values are equal; how they are written differs",
    )


def _read_all(stream: BinaryIO, size: int) -> list[Any]:
    found: list[Any] = []
    while stream.tell() < size:
        if len(found) == MOST:
            raise Unreadable(f"it has more than {MOST:,} pickles")
        found.append(inert.read(stream, size - stream.tell()))
    return found


class PickleComparison:
    """Compares values of pickles; arrays of numpy by element."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._walk = Walk(numbers, self._leaf)

    def values(self, a: Any, b: Any) -> None:
        """Compare two values.

        Raises:
            Unreadable: they are too intricate.
            Missing: numpy isn't there, and there are arrays that differ.
        """
        self._walk.compare(normalise(a), normalise(b))

    def volatile(self) -> tuple[Volatile, ...]:
        """What differs and doesn't matter."""
        if not self._walk.reordered:
            return ()
        return (Volatile(what="order of keys", count=self._walk.reordered),)

    def _leaf(self, a: Node, b: Node, place: Place) -> bool:
        one, other = _array(a), _array(b)
        if one is None or other is None:
            return False
        compare_tensors(self._numbers, str(place), one, other)
        return True


def _array(node: Node) -> Tensor | None:
    """The array that a node would make; None where it is something else, or of another dtype."""
    found = _MAKES_ARRAY.fullmatch(name_of(node.what)) if node.kind == "call" else None
    name, arguments = found and (found[1] or found[2]), items_of(node.args)
    if name == "_reconstruct":
        state = items_of(node.state)
        return _tensor(state[2], state[1], state[4], state[3]) if len(state) == 5 else None
    if name == "_frombuffer" and len(arguments) == 4:
        return _tensor(arguments[1], arguments[2], arguments[0], arguments[3] == "F")
    if name == "scalar" and len(arguments) == 2:
        return _tensor(arguments[0], Node("tuple"), arguments[1], False)
    return None


def _tensor(dtype: Any, shape: Any, data: Any, fortran: Any) -> Tensor | None:
    found, raw = _dtype(dtype), data
    lengths = tuple(items_of(shape))
    if (
        found is None
        or not isinstance(raw, (bytes, bytearray))
        or not all(type(length) is int for length in lengths)
    ):
        return None
    from io import BytesIO

    strides = None
    if fortran:
        strides = tuple(_product(lengths[:axis]) for axis in range(len(lengths)))
    name, order = found
    return Tensor(name, lengths, lambda: Stretch(BytesIO(raw), 0, len(raw), order), strides=strides)


def _dtype(node: Any) -> tuple[str, str] | None:
    """Name and byte order of a dtype; None where it is none of numbers."""
    if not isinstance(node, Node) or name_of(node.what) != "numpy.dtype":
        return None
    arguments, state = items_of(node.args), items_of(node.state)
    if not arguments or not isinstance(arguments[0], str):
        return None
    name = _DTYPES.get(arguments[0])
    order = state[1] if len(state) > 1 and state[1] in ("<", ">") else "<"
    return (name, order) if name else None


def _product(lengths: tuple[int, ...]) -> int:
    found = 1
    for length in lengths:
        found *= max(length, 1)
    return found
