"""HDF5, by group, dataset and attribute; chunks, compression and times of objects are aside.

Links to other files are compared and never followed, and no dataset is read from another file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from msgspec.structs import replace

from reprorun.compare.hdf5_values import ValuePairs, blocks, flat_place
from reprorun.compare.isolated import compare_isolated
from reprorun.compare.numbers import Numbers
from reprorun.compare.rich import Budget, Refused, is_there, on_disk, paired, refused, without
from reprorun.compare.values import SAME, Content, Finding, Settings, Unreadable
from reprorun.model import Value

_MOST = 200_000  # objects, whose names are held in memory
_NAMED = 3  # of those that can't be compared
_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, AttributeError)


class Entry(Value, frozen=True, kw_only=True):
    """An object or link of a file."""

    kind: str  # in words
    object: Any = None  # h5py's, of a group or dataset


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two HDF5 files."""
    if not is_there("h5py"):
        return without("hdf5", "h5py")
    return compare_isolated("hdf5", a, b, settings)


def compare_here(a: Content, b: Content, settings: Settings) -> Finding:
    """The same in this process, which damaged files may crash."""
    try:
        with ExitStack() as opened:
            one, other = (opened.enter_context(_file(content)) for content in (a, b))
            return _Files(a.name, settings, one, other).compare()
    except Refused as error:
        return refused("hdf5", error)
    except _ERRORS as error:
        raise Unreadable(f"it is a damaged HDF5 file: {error}"[:200]) from error


@contextmanager
def _file(content: Content) -> Iterator[Any]:
    import h5py

    with on_disk(content) as path, h5py.File(path, "r", locking=False) as file:
        yield file


class _Files:
    """Two files, side by side."""

    def __init__(self, name: str, settings: Settings, a: Any, b: Any) -> None:
        self._name = name
        self._settings = settings
        self._files = a, b
        self._numbers = Numbers(settings.tolerance_of(name))
        self._pairs = ValuePairs(self._numbers, a, b)
        self._budget = Budget(settings.largest)
        self._unknown: list[str] = []  # what can't be compared, and why

    def compare(self) -> Finding:
        """Compare all objects, by their paths."""
        mine, theirs = map(_entries, self._files)
        for path, one, other in paired(self._numbers, "object", mine, theirs):
            if one.kind != other.kind:
                self._numbers.mismatch(path, one.kind, other.kind)
            elif one.object is not None:
                self._objects(path, one, other)
        return self._finding()

    def _finding(self) -> Finding:
        found = self._numbers.finding(
            "hdf5", equal="all values are equal; layout, compression or times of objects differ"
        )
        if not self._unknown:
            return found
        names = "; ".join(self._unknown[:_NAMED])
        if found.verdict in SAME:
            reason = f"the bytes differ, and not all content can be compared: {names}"
            return replace(found, verdict="unknown", reason=reason)
        return replace(found, notes=(*found.notes, f"not compared: {names}"))

    def _objects(self, path: str, a: Entry, b: Entry) -> None:
        """Compare attributes, and the values of datasets."""
        self._numbers.tolerance = self._settings.tolerance_of(self._name, path)
        try:
            self._attributes(path, a.object, b.object)
            if a.kind == "dataset":
                self._datasets(path, a.object, b.object)
        except _ERRORS as error:
            self._unknown.append(f"{path} can't be read ({error})"[:200])

    def _attributes(self, path: str, a: Any, b: Any) -> None:
        what = f"{path}: attribute"
        for name, one, other in paired(self._numbers, what, _attributes(a), _attributes(b)):
            self._pairs.compare(one, other, partial(_attribute_place, f"{what} {name}"))

    def _datasets(self, path: str, a: Any, b: Any) -> None:
        if _native(a.dtype) != _native(b.dtype):
            self._numbers.mismatch(f"dtype of {path}", str(a.dtype), str(b.dtype))
        elif a.shape != b.shape:
            self._numbers.mismatch(f"shape of {path}", str(a.shape), str(b.shape))
        elif _elsewhere(a) or _elsewhere(b):
            self._unknown.append(f"{path} keeps its values in another place, which is not read")
        elif a.shape is not None:
            self._values(path, a, b)

    def _values(self, path: str, a: Any, b: Any) -> None:
        """Compare two datasets block by block."""
        for block in blocks(a.shape, a.chunks, a.dtype.itemsize):
            one, other = a[block], b[block]
            self._budget.take(getattr(one, "nbytes", 0))
            place = flat_place(path, a.shape, block)
            self._pairs.compare(one, other, place)


def _native(dtype: Any) -> Any:
    """The order of bytes is aside."""
    return dtype.newbyteorder("=")


def _elsewhere(dataset: Any) -> bool:
    return bool(dataset.external or dataset.is_virtual)


def _attribute_place(name: str, index: int) -> str:
    return f"{name}, element {index}" if index else name


def _attributes(thing: Any) -> Mapping[str, Any]:
    return {name: thing.attrs[name] for name in sorted(thing.attrs)}


# ---------------------------------------------------------------- what there is


def _entries(file: Any) -> dict[str, Entry]:
    """All objects and links, by path. What has several names is there once, as itself.

    Raises:
        Refused: there are more than are held in memory.
    """
    import h5py

    found: dict[str, Entry] = {"/": Entry(kind="group", object=file)}
    seen: dict[Any, str] = {_identity(file): "/"}
    waiting = [("/", file)]
    while waiting:
        path, group = waiting.pop()
        for name in sorted(group, reverse=True):
            below = f"{path.rstrip('/')}/{name}"
            entry = _entry(group, name)
            if entry.object is not None:
                first = seen.setdefault(_identity(entry.object), below)
                if first != below:
                    entry = Entry(kind=f"another name of {first}")
                elif isinstance(entry.object, h5py.Group):
                    waiting.append((below, entry.object))
            found[below] = entry
        if len(found) > _MOST:
            raise Refused(f"it has more than {_MOST:,} objects")
    return dict(sorted(found.items()))


def _identity(thing: Any) -> Any:
    import h5py

    return h5py.h5o.get_info(thing.id).addr


def _entry(group: Any, name: str) -> Entry:
    import h5py

    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        return Entry(kind=f"a link to {link.path} of the file {link.filename}")
    if isinstance(link, h5py.SoftLink):
        return Entry(kind=f"a link to {link.path}")
    thing = group[name]
    if isinstance(thing, h5py.Dataset):
        return Entry(kind="dataset", object=thing)
    if isinstance(thing, h5py.Group):
        return Entry(kind="group", object=thing)
    return Entry(kind=f"type {thing.dtype}")
