"""Two inert values (see inert.py) side by side: what is at the same place is compared."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from reprorun.compare.inert import Node
from reprorun.compare.numbers import Numbers
from reprorun.compare.values import Unreadable

Leaf = Callable[[Node, Node, "Place"], bool]
"""Compares two nodes as a whole, or says False to have their parts compared."""

_STEPS = 5_000_000  # pairs that are looked at: shared parts can make more of them than there are
_DEPTH = 20  # of what is a key
_OPAQUE = object()


class Place:
    """Where a value is, as a chain: most are never put into words."""

    __slots__ = ("above", "step")

    def __init__(self, above: Place | None = None, step: str = "") -> None:
        self.above = above
        self.step = step

    def step_down(self, step: str) -> Place:
        """The place of a part."""
        return Place(self, step)

    def __str__(self) -> str:
        steps: list[str] = []
        place: Place | None = self
        while place is not None:
            steps.append(place.step)
            place = place.above
        return "".join(reversed(steps)).removeprefix(".") or "the value"


class Walk:
    """A comparison of two values, part by part, in the original's order."""

    def __init__(self, numbers: Numbers, leaf: Leaf) -> None:
        self.reordered = 0  # dicts whose keys come in another order
        self._numbers = numbers
        self._leaf = leaf
        self._seen: dict[tuple[int, int], tuple[Node, Node]] = {}  # kept, as an id is used again
        self._waiting: list[tuple[Any, Any, Place]] = []

    def compare(self, a: Any, b: Any) -> None:
        """Compare them.

        Raises:
            Unreadable: they are too intricate.
        """
        self._waiting = [(a, b, Place())]
        for _ in range(_STEPS):
            if not self._waiting:
                return
            self._pair(*self._waiting.pop())
        raise Unreadable("its pickle is too intricate")

    def also(self, a: Any, b: Any, place: Place) -> None:
        """Compare two parts of the values next; for the leaf."""
        self._waiting.append((a, b, place))

    def _pair(self, a: Any, b: Any, place: Place) -> None:
        if not (isinstance(a, Node) and isinstance(b, Node)):
            self._constants(a, b, place)
        elif a.kind != b.kind:
            self._numbers.mismatch(lambda: str(place), a.kind, b.kind)
        elif (id(a), id(b)) not in self._seen:
            self._seen[id(a), id(b)] = a, b
            if not self._leaf(a, b, place):
                self._waiting += reversed(self._parts(a, b, place))

    def _constants(self, a: Any, b: Any, place: Place) -> None:
        if isinstance(a, Node) or isinstance(b, Node):
            self._numbers.mismatch(lambda: str(place), _in_words(a), _in_words(b))
        else:
            self._numbers.number(a, b, lambda: str(place))

    def _parts(self, a: Node, b: Node, place: Place) -> list[tuple[Any, Any, Place]]:
        """The parts to be compared next, in order."""
        if a.kind in ("set", "frozenset"):
            return self._sets(a, b, place)
        parts = [(a.what, b.what, place)]
        parts += [(a.args, b.args, place.step_down(" (made of)"))] if a.kind == "call" else []
        parts += self._items(a, b, place)
        parts += self._pairs(a, b, place)
        parts += [(a.state, b.state, place)]
        return [part for part in parts if part[0] is not None or part[1] is not None]

    def _items(self, a: Node, b: Node, place: Place) -> list[tuple[Any, Any, Place]]:
        if len(a.items) != len(b.items):
            self._numbers.mismatch(
                lambda: f"length of {place}", str(len(a.items)), str(len(b.items))
            )
        return [
            (one, other, place.step_down(f"[{index}]"))
            for index, (one, other) in enumerate(zip(a.items, b.items, strict=False))
        ]

    def _pairs(self, a: Node, b: Node, place: Place) -> list[tuple[Any, Any, Place]]:
        """Dicts by their keys, unless those can't be told apart."""
        mine, theirs = _by_key(a), _by_key(b)
        if mine is None or theirs is None:
            keys = Node("list", [part for pair in a.pairs for part in pair])
            others = Node("list", [part for pair in b.pairs for part in pair])
            return self._items(keys, others, place)
        for key in [*mine, *theirs]:
            if key not in mine or key not in theirs:
                there = ("there", "missing") if key in mine else ("missing", "there")
                self._numbers.mismatch(lambda key=key: str(place.step_down(_step(key))), *there)  # type: ignore[misc]
        common = [key for key in mine if key in theirs]
        self.reordered += common != [key for key in theirs if key in mine]
        return [(mine[key], theirs[key], place.step_down(_step(key))) for key in common]

    def _sets(self, a: Node, b: Node, place: Place) -> list[tuple[Any, Any, Place]]:
        mine, theirs = {_key(item) for item in a.items}, {_key(item) for item in b.items}
        if _OPAQUE in mine or _OPAQUE in theirs:
            return self._items(a, b, place)
        if mine != theirs:
            gone, new = sorted(map(str, mine - theirs)), sorted(map(str, theirs - mine))
            self._numbers.mismatch(
                lambda: str(place), ", ".join(gone) or "none more", ", ".join(new) or "none more"
            )
        return []


def _by_key(node: Node) -> dict[Hashable, Any] | None:
    """The values by key; None where keys can't be compared or come twice."""
    found = {_key(key): value for key, value in node.pairs}
    return None if _OPAQUE in found or len(found) != len(node.pairs) else found


def _key(value: Any, depth: int = 0) -> Hashable:
    """Something to tell keys apart by: 1, 1.0 and True are three."""
    if not isinstance(value, Node):  # a bytearray is no key, but a pickle may say so
        return (type(value).__name__, value) if isinstance(value, Hashable) else _OPAQUE
    if depth > _DEPTH or value.pairs or value.kind in ("list", "dict", "set"):
        return _OPAQUE
    parts = [value.what, value.args, value.state, *value.items]
    keys = tuple(_key(part, depth + 1) for part in parts)
    return _OPAQUE if _OPAQUE in keys else (value.kind, *keys)


def _step(key: Any) -> str:
    """A key as it is written in a place."""
    if len(key) == 2 and isinstance(key[1], str):
        return f".{key[1]}"
    return f"[{key[1]!r}]" if len(key) == 2 else f"[{key[0]}]"


def _in_words(value: Any) -> str:
    return value.kind if isinstance(value, Node) else type(value).__name__
