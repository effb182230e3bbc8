"""One form for what protocols of pickles write in several: sets, bytes, objects, names."""

from __future__ import annotations

import _compat_pickle
import re
from typing import Any

from reprorun.compare.inert import Node

_NUMPY_CORE = re.compile(r"numpy\.core\b")  # numpy._core since numpy 2


def normalise(value: Any) -> Any:
    """The same value in one form; nodes are changed in place."""
    value = plain(value)
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Node) and id(node) not in seen:
            seen.add(id(node))
            waiting += _replace_parts(node)
    return value


def _replace_parts(node: Node) -> list[Any]:
    if node.kind == "global":
        node.what = name_of(node)
    node.what, node.args, node.state = plain(node.what), plain(node.args), plain(node.state)
    node.items = [plain(item) for item in node.items]
    node.pairs = [(plain(key), plain(value)) for key, value in node.pairs]
    parts = [node.what, node.args, node.state, *node.items]
    return parts + [part for pair in node.pairs for part in pair]


def plain(value: Any) -> Any:
    """A constant for a call that would make one; sets and objects as later protocols have them."""
    if not isinstance(value, Node) or value.kind != "call":
        return value
    name, arguments = name_of(value.what), items_of(value.args)
    if name in ("builtins.set", "builtins.frozenset") and len(arguments) <= 1 and not value.pairs:
        return _as_set(value, name, arguments)
    if name == "_codecs.encode" and arguments and isinstance(arguments[0], str):
        return _encoded(value, arguments[0])
    if name in ("builtins.bytes", "builtins.bytearray"):
        return _as_bytes(value, name, arguments)
    if name == "copyreg._reconstructor" and len(arguments) == 3 and arguments[2] is None:
        value.what, value.args = arguments[0], Node("tuple")
    elif name == "copyreg.__newobj__" and arguments:
        value.what, value.args = arguments[0], Node("tuple", arguments[1:])
    return value


def name_of(node: Any) -> str:
    """The dotted name of a global as Python 3 and numpy 2 have it; empty for anything else."""
    if not isinstance(node, Node) or node.kind != "global" or not isinstance(node.what, str):
        return ""
    module, _, name = node.what.rpartition(".")
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    return _NUMPY_CORE.sub("numpy._core", f"{module}.{name}")


def items_of(node: Any) -> list[Any]:
    """The items of a tuple or list; none for anything else."""
    is_list = isinstance(node, Node) and node.kind in ("tuple", "list")
    return node.items if is_list else []


def _as_set(node: Node, name: str, arguments: list[Any]) -> Node:
    node.kind = "set" if name == "builtins.set" else "frozenset"
    node.items = items_of(arguments[0]) if arguments else []
    node.what = node.args = None
    return node


def _encoded(node: Node, text: str) -> Any:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return node


def _as_bytes(node: Node, name: str, arguments: list[Any]) -> Any:
    data = plain(arguments[0]) if arguments else b""
    if not isinstance(data, bytes):
        return node
    return data if name == "builtins.bytes" else bytearray(data)
