"""Reads a pickle into inert values, by its opcodes: nothing is imported, called or made of it.

A class or function is its name, a call is the function and its arguments, an object is the call
that would make it and the state that it would be given.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal

from reprorun.compare.values import Unreadable

LARGEST = 64 << 20  # bytes of a pickle, which is held in memory
MOST = 5_000_000  # opcodes

Kind = Literal["list", "tuple", "set", "frozenset", "dict", "global", "call", "persistent"]


class Node:
    """Anything but a constant. It may be part of itself."""

    __slots__ = ("args", "items", "kind", "pairs", "state", "what")

    def __init__(self, kind: Kind, items: list[Any] | None = None, what: Any = None) -> None:
        self.kind: Kind = kind
        self.what = what  # of a global its dotted name, of a call the function, else the id
        self.args: Any = None  # of a call
        self.items: list[Any] = items or []
        self.pairs: list[tuple[Any, Any]] = []
        self.state: Any = None  # that a call's result is given


def read(stream: BinaryIO, size: int) -> Any:
    """The value of the pickle that a stream has next; the stream is then behind it.

    Args:
        stream: of the pickle, and perhaps more.
        size: its bytes, as far as they are known.

    Raises:
        Unreadable: it is no pickle, or beyond the limits.
    """
    if size > LARGEST:
        raise Unreadable(f"it has a pickle of more than {LARGEST >> 20} MiB")
    machine = _Machine()
    try:
        for number, (opcode, argument, _) in enumerate(_opcodes(stream)):
            if number > MOST:
                raise Unreadable(f"it has a pickle of more than {MOST:,} steps")
            machine.step(opcode.name, argument)
        return machine.result
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Unreadable(f"it has a damaged pickle ({type(error).__name__})") from error


def _opcodes(stream: BinaryIO) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    return pickletools.genops(stream)


class _Machine:
    """The stack and the memo. A wrong pickle raises what Python raises for a wrong index."""

    def __init__(self) -> None:
        self.result: Any = None
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self._push(argument)
        elif name in _VALUES:
            self._push(_VALUES[name])
        elif name in _EMPTY:
            self._push(Node(_EMPTY[name]))
        elif name not in _ASIDE:
            _ACTIONS[name](self, argument)

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if self._marks and len(self._stack) <= self._marks[-1]:
            raise IndexError("nothing there")
        return self._stack.pop()

    def _top(self) -> Node:
        node = self._stack[-1]
        if not isinstance(node, Node):
            raise TypeError("a constant can't be added to")
        return node

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    # ------------------------------------------------------------ what the opcodes do

    def mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def stop(self, _: Any) -> None:
        self.result = self._pop()

    def pop(self, _: Any) -> None:
        if self._marks and len(self._stack) == self._marks[-1]:
            self._marks.pop()
        else:
            self._stack.pop()

    def pop_mark(self, _: Any) -> None:
        self._since_mark()

    def dup(self, _: Any) -> None:
        self._push(self._stack[-1])

    def put(self, key: int) -> None:
        self._memo[key] = self._stack[-1]

    def memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, key: int) -> None:
        self._push(self._memo[key])

    def tuple_of(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push(Node("tuple", items[::-1]))

    def tuple_(self, _: Any) -> None:
        self._push(Node("tuple", self._since_mark()))

    def list_(self, _: Any) -> None:
        self._push(Node("list", self._since_mark()))

    def frozenset_(self, _: Any) -> None:
        self._push(Node("frozenset", self._since_mark()))

    def dict_(self, _: Any) -> None:
        node = Node("dict")
        node.pairs = _in_pairs(self._since_mark())
        self._push(node)

    def append(self, _: Any) -> None:
        item = self._pop()
        self._top().items.append(item)

    def appends(self, _: Any) -> None:
        items = self._since_mark()
        self._top().items += items

    def set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._top().pairs.append((key, value))

    def set_items(self, _: Any) -> None:
        pairs = _in_pairs(self._since_mark())
        self._top().pairs += pairs

    def named(self, name: str) -> None:
        self._push(Node("global", what=name.replace(" ", ".", 1)))

    def stack_named(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise TypeError("a name is a text")
        self._push(Node("global", what=f"{module}.{name}"))

    def extension(self, code: int) -> None:
        self._push(Node("global", what=f"extension {code}"))

    def call(self, _: Any) -> None:
        args, function = self._pop(), self._pop()
        self._call(function, args)

    def call_with_keywords(self, _: Any) -> None:
        keywords, args, function = self._pop(), self._pop(), self._pop()
        self._call(function, Node("tuple", [args, keywords]))

    def instance(self, name: str) -> None:
        args = Node("tuple", self._since_mark())
        self._call(Node("global", what=name.replace(" ", ".", 1)), args)

    def instance_of(self, _: Any) -> None:
        function, *items = self._since_mark()
        self._call(function, Node("tuple", items))

    def _call(self, function: Any, args: Any) -> None:
        node = Node("call", what=function)
        node.args = args
        self._push(node)

    def build(self, _: Any) -> None:
        state = self._pop()
        self._top().state = state

    def persistent(self, key: str) -> None:
        self._push(Node("persistent", what=key))

    def stack_persistent(self, _: Any) -> None:
        self._push(Node("persistent", what=self._pop()))

    def buffer(self, _: Any) -> None:
        self._push(Node("persistent", what="buffer out of band"))


def _in_pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(items[::2], items[1::2], strict=True))


_CONSTANTS = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
        "UNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
        "FLOAT",
        "BINFLOAT",
    ]
)
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Kind] = {
    "EMPTY_LIST": "list",
    "EMPTY_TUPLE": "tuple",
    "EMPTY_DICT": "dict",
    "EMPTY_SET": "set",
}
_ASIDE = frozenset(("PROTO", "FRAME", "READONLY_BUFFER"))
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "STOP": _Machine.stop,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.dup,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE": _Machine.tuple_,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "LIST": _Machine.list_,
    "FROZENSET": _Machine.frozenset_,
    "DICT": _Machine.dict_,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "ADDITEMS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.named,
    "STACK_GLOBAL": _Machine.stack_named,
    "EXT1": _Machine.extension,
    "EXT2": _Machine.extension,
    "EXT4": _Machine.extension,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "NEWOBJ_EX": _Machine.call_with_keywords,
    "INST": _Machine.instance,
    "OBJ": _Machine.instance_of,
    "BUILD": _Machine.build,
    "PERSID": _Machine.persistent,
    "BINPERSID": _Machine.stack_persistent,
    "NEXT_BUFFER": _Machine.buffer,
}
