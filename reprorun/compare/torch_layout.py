"""How torch.save lays a file out: where its pickle is, and where the bytes of each storage are."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, BinaryIO
from zipfile import ZipFile, ZipInfo

from reprorun.compare.content import read_full
from reprorun.compare.inert import LARGEST, Node, read
from reprorun.compare.members import Member, zip_member
from reprorun.compare.rich import Budget
from reprorun.compare.tensors import SIZES, Stretch
from reprorun.compare.values import Unreadable
from reprorun.compare.zips import open_zip, pieces, stretch

_MAGIC = 0x1950A86A20F9469CFC6C
_LENGTH = 8  # bytes of the length before each storage of the old layout
_MARKS = ("version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")

DTYPES = {
    **{f"{name}Storage": dtype for name, dtype in {
        "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16",
        "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8",
        "Bool": "bool", "ComplexFloat": "complex64", "ComplexDouble": "complex128",
        "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32", "Untyped": "byte",
    }.items()},
    **{dtype: dtype for dtype in SIZES},
}  # fmt: skip
"""What torch calls the class of a storage, or a dtype."""


class Saved:
    """A saved value and its storages."""

    def __init__(
        self,
        value: Any,
        storage: Callable[[str], Stretch],
        others: Mapping[str, Member] | None = None,
    ) -> None:
        self.value = value
        self.storage = storage
        self.others = others or {}  # members beside those that are described here


class Storage:
    """What the pickle says of a storage: type, key, device and length."""

    def __init__(self, node: Node) -> None:
        items = node.what.items if isinstance(node.what, Node) else []
        if node.kind != "persistent" or len(items) < 5 or items[0] != "storage":
            raise Unreadable("it has a storage that can't be read")
        self.dtype = dtype_of(items[1])
        self.key = str(items[2])
        self.device = str(items[3])
        self.count = items[4]
        if len(items) > 5 and items[5] is not None:
            raise Unreadable("it has views of storages, as only very old versions of torch wrote")


def dtype_of(node: Any) -> str:
    """The dtype that a class of storages, or a dtype of torch, stands for.

    Raises:
        Unreadable: none that is known.
    """
    name = node.what.rpartition(".")[2] if isinstance(node, Node) and node.kind == "global" else ""
    if name not in DTYPES:
        raise Unreadable(f"it has a tensor of an unknown dtype {name[:40]}".rstrip())
    return DTYPES[name]


# ---------------------------------------------------------------- the layout since 1.6


def is_zip(stream: BinaryIO) -> bool:
    """Whether a file is laid out so."""
    return read_full(stream, 4) == b"PK\3\4"


def read_zip(stream: BinaryIO, size: int, largest: int, opened: ExitStack) -> Saved:
    """A file that is a zip archive.

    Args:
        stream: of the file; stays open.
        size: of the file.
        largest: bytes that it may unpack to.
        opened: closes what is opened.

    Raises:
        Unreadable: it is none of torch's.
        Refused: it is beyond a limit.
    """
    archive = opened.enter_context(open_zip(stream, size))
    members = _members(archive)
    budget = Budget(largest)

    def whole(name: str) -> bytes:
        if members[name].file_size > LARGEST:
            raise Unreadable(f"its {name} has more than {LARGEST >> 20} MiB")
        return b"".join(pieces(archive, members[name], budget))

    def storage(key: str) -> Stretch:
        if key not in found:
            found[key] = _storage(f"data/{key}")
        return found[key]

    def _storage(name: str) -> Stretch:
        if name not in members:
            raise Unreadable(f"it has no {name[:80]}, which its pickle names")
        there = stretch(archive, members[name], stream, budget, opened)
        there.order = order
        return there

    found: dict[str, Stretch] = {}
    order = ">" if "byteorder" in members and whole("byteorder") == b"big" else "<"
    pickle = whole("data.pkl")
    value = read(io.BytesIO(pickle), len(pickle))
    aside = (*_MARKS, "data.pkl")
    others = {
        name: zip_member(archive, info, budget)
        for name, info in members.items()
        if name not in aside and not name.startswith("data/")
    }
    return Saved(value, storage, others)


def _members(archive: ZipFile) -> dict[str, ZipInfo]:
    """The members by their names below the archive's one directory."""
    infos = archive.infolist()
    tops = {info.filename.partition("/")[0] for info in infos}
    members = {info.filename.partition("/")[2]: info for info in infos}
    if len(tops) != 1 or "data.pkl" not in members:
        raise Unreadable("it is no archive of torch's: there is no data.pkl in its one directory")
    if len(members) != len(infos):
        raise Unreadable("it has two members of one name")
    return members


# ---------------------------------------------------------------- the layout before 1.6


def read_legacy(stream: BinaryIO, size: int) -> Saved:
    """A file of several pickles, with the storages' bytes behind them.

    Raises:
        Unreadable: it is none of torch's.
    """
    stream.seek(0)
    if not read_full(stream, 2).startswith(b"\x80"):
        raise Unreadable("it is no file of torch's")
    stream.seek(0)
    bounded = _Pickles(stream)
    if bounded.next() != _MAGIC:
        raise Unreadable("it is no file of torch's: its magic number is missing")
    _, system, value, keys = (bounded.next() for _ in range(4))
    order = "<" if _pairs(system).get("little_endian", True) else ">"
    return Saved(value, _behind(stream, size, keys, value, order))


class _Pickles:
    """Pickles one after the other: none may be longer than is held in memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._data = io.BytesIO(read_full(stream, LARGEST))
        self._stream = stream

    def next(self) -> Any:
        value = read(self._data, 0)
        self._stream.seek(self._data.tell())
        return value


def _pairs(node: Any) -> dict[Any, Any]:
    pairs = node.pairs if isinstance(node, Node) else []
    return {key: value for key, value in pairs if isinstance(key, str)}


def _behind(
    stream: BinaryIO, size: int, keys: Any, value: Any, order: str
) -> Callable[[str], Stretch]:
    """Where the storages are: each is its length in elements and its bytes."""
    sizes = _element_sizes(value)
    names = keys.items if isinstance(keys, Node) else []
    places: dict[str, Stretch] = {}
    at = stream.tell()
    for name in names:
        stream.seek(at)
        count = int.from_bytes(read_full(stream, _LENGTH), "little" if order == "<" else "big")
        length = count * sizes.get(str(name), 0)
        at += _LENGTH
        if at + length > size or str(name) not in sizes:
            raise Unreadable("it ends before the last of its storages")
        places[str(name)] = Stretch(stream, at, length, order)
        at += length

    def storage(key: str) -> Stretch:
        if key not in places:
            raise Unreadable("it has no bytes for a storage that its pickle names")
        return places[key]

    return storage


def _element_sizes(value: Any) -> dict[str, int]:
    """Bytes of an element of every storage that a value holds."""
    sizes: dict[str, int] = {}
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, Node) or id(node) in seen:
            continue
        seen.add(id(node))
        if node.kind == "persistent" and isinstance(node.what, Node) and len(node.what.items) > 4:
            storage = Storage(node)
            sizes[storage.key] = SIZES[storage.dtype]
        waiting += [node.what, node.args, node.state, *node.items]
        waiting += [part for pair in node.pairs for part in pair]
    return sizes
