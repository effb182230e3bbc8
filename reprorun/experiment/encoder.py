"""JSON for logs: whatever an experiment was given is written in some readable form."""

from __future__ import annotations

import collections
import collections.abc
import enum
import functools
import json
import os
import sys
import types
import weakref
from typing import Any, Iterator

from reprorun.experiment.atomic import replacing

_BLOCKED = ("tensorflow", "ray", "itertools")  # their objects are too large, or used up by reading
_NATIVE = (type(None), bool, int, float, str)
_SEQUENCES = (list, tuple, collections.deque)
_SETS = (set, frozenset)
_OPAQUE = (types.ModuleType, weakref.ref, BaseException)
_LARGEST_ARRAY = 1000  # elements; numpy's own repr abbreviates above it too
_LARGEST_INT = 8192  # bits; Python refuses to print integers of more than some 14,000
_DEEPEST = 100  # levels; the json module gives up at about 1000
_MOST = 100_000  # containers and objects; a few that refer to each other can be walked without end


def dump_json(filename: str | os.PathLike[str], data: Any) -> None:
    """Writes data as JSON, indented by two, with sorted keys.

    Args:
        filename: Where to write; missing directories are made. The file appears when it is
            complete.
        data: Anything; see `LogEncoder`.

    Raises:
        OSError: If the file can't be written.

    Source:
        The semantics follow garage's documentation of `garage.experiment.dump_json`.
    """
    path = os.fspath(filename)
    text = json.dumps(data, indent=2, sort_keys=True, cls=LogEncoder)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with replacing(path) as file:
        file.write(text.encode("utf-8") + b"\n")


class LogEncoder(json.JSONEncoder):
    """Encodes every object, for use as `cls` of json.dump.

    - numpy numbers become floats, numpy bools bools; arrays of up to 1000 elements become lists,
      larger ones their repr
    - types become {"$typename": ...}, members of enums {"$enum": ...}, functions {"$function": ...}
    - objects become their attributes with their class as "$type"; so do named tuples
    - sets become lists sorted by repr; paths and dates become strings
    - bytes, exceptions, modules, iterators, objects of tensorflow, ray and itertools and all else
      become their repr
    - a circular reference becomes a string that starts with "circular"; what is more than 100
      levels deep, or comes after 100,000 other objects, becomes its repr
    - keys become strings; where two of one dictionary would be the same, the type is added

    It raises for nothing that has a repr, and what has none is named by its type. numpy is not
    imported.

    Source:
        The semantics follow garage's documentation of `garage.experiment.LogEncoder`.
    """

    def iterencode(self, o: Any, _one_shot: bool = False) -> Iterator[str]:
        """Encodes an object piece by piece; json.dump and json.dumps come through here."""
        # Beforehand, since the json module raises for circular references and for keys that are
        # not strings before it asks `default`.
        return super().iterencode(self.default(o), _one_shot)

    def default(self, o: Any) -> Any:
        """Returns an object's form for JSON: a string, number, bool, None, list or dictionary."""
        return _Converter().convert(o)


class _Converter:
    """Converts one object with all that it holds; knows which objects it is inside of."""

    def __init__(self) -> None:
        self._inside: set[int] = set()
        self._count = 0

    def convert(self, o: Any) -> Any:
        try:
            if isinstance(o, _NATIVE) and not isinstance(o, enum.Enum):
                return _native(o)
            return self._convert_once(o)
        except Exception:  # any object may raise anything from its own attributes
            return _describe(o)

    def _convert_once(self, o: Any) -> Any:
        if id(o) in self._inside:
            return "circular " + _describe(o)
        self._count += 1
        if len(self._inside) >= _DEEPEST or self._count > _MOST:
            return _describe(o)
        self._inside.add(id(o))
        try:
            return self._convert(o)
        finally:
            self._inside.discard(id(o))

    def _convert(self, o: Any) -> Any:
        named = _by_name(o)
        if named is not None:
            return named
        if _is_opaque(o):
            return _describe(o)
        if _is_numpy(o):
            return self._numpy(o)
        return self._by_kind(o)

    def _by_kind(self, o: Any) -> Any:
        if isinstance(o, tuple) and hasattr(o, "_fields"):
            return self._attributes(o, zip(o._fields, o))
        if isinstance(o, _SEQUENCES):
            return [self.convert(item) for item in list(o)]
        if isinstance(o, _SETS):
            return [self.convert(item) for item in sorted(o, key=_describe)]
        if isinstance(o, (collections.abc.Mapping, types.MappingProxyType)):
            return self._mapping(o)
        if isinstance(o, (bytes, bytearray)):
            return _describe(o)
        if isinstance(o, functools.partial):
            parts = ("func", o.func), ("args", o.args), ("keywords", o.keywords)
            return self._attributes(o, parts)
        if isinstance(o, os.PathLike):
            return os.fsdecode(o)
        if hasattr(type(o), "isoformat"):
            return str(o.isoformat())
        if hasattr(o, "__dict__") or _slots(o):
            return self._attributes(o, [*_slots(o), *getattr(o, "__dict__", {}).items()])
        return _describe(o)

    def _mapping(self, o: Any) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in list(o.items()):
            name = _key(key)
            while name in result:
                name += f" ({type(key).__name__})"
            result[name] = self.convert(value)
        return result

    def _attributes(self, o: Any, attributes: Any) -> dict[str, Any]:
        result = self._mapping(dict(attributes))
        result["$type"] = f"{type(o).__module__}.{type(o).__name__}"
        return result

    def _numpy(self, o: Any) -> Any:
        numpy = sys.modules["numpy"]
        if isinstance(o, numpy.ndarray):
            return self.convert(o.tolist()) if o.size <= _LARGEST_ARRAY else _describe(o)
        if isinstance(o, numpy.bool_):
            return bool(o)
        # Among numpy's numbers are also time differences and complex ones.
        if isinstance(o, (numpy.integer, numpy.floating)) and not isinstance(o, numpy.timedelta64):
            return float(o)
        return str(o)


def _native(o: Any) -> Any:
    if isinstance(o, int) and int.bit_length(o) > _LARGEST_INT:
        return hex(o)
    return o


def _key(key: Any) -> str:
    """Returns what the json module makes of a key where it takes it, its str otherwise."""
    try:
        if key is None or (isinstance(key, (bool, int, float)) and not isinstance(key, enum.Enum)):
            return json.dumps(_native(key)).strip('"')
        return str.__str__(key if isinstance(key, str) else str(key))
    except Exception:  # any object may raise anything from its own __str__
        return _describe(key)


def _by_name(o: Any) -> dict[str, str] | None:
    """Returns the form of what is written as its name: types, members of enums and functions."""
    if isinstance(o, type):
        return {"$typename": f"{o.__module__}.{o.__name__}"}
    if isinstance(o, enum.Enum):
        member = o.name or o.value  # a combination of flags may have no name
        return {"$enum": f"{type(o).__module__}.{type(o).__name__}.{member}"}
    if callable(o) and isinstance(getattr(o, "__name__", None), str):
        module = getattr(o, "__module__", None)
        return {"$function": f"{module}.{o.__name__}"} if module else None
    return None


def _is_opaque(o: Any) -> bool:
    return isinstance(o, _OPAQUE) or str(type(o).__module__).split(".")[0] in _BLOCKED


def _is_numpy(o: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return isinstance(o, (getattr(numpy, "generic", ()), getattr(numpy, "ndarray", ())))


def _slots(o: Any) -> list[tuple[str, Any]]:
    """Returns the attributes that are in slots, the class's own last; unset ones are absent."""
    found = []
    for cls in reversed(type(o).__mro__):
        names = cls.__dict__.get("__slots__", ())
        for name in [names] if isinstance(names, str) else list(names):
            hidden = name.startswith("__") and not name.endswith("__")
            attribute = f"_{cls.__name__.lstrip('_')}{name}" if hidden else name
            if name not in ("__dict__", "__weakref__") and hasattr(o, attribute):
                found.append((name, getattr(o, attribute)))
    return found


def _describe(o: Any) -> str:
    """Returns an object's repr; where that fails too, the name of its type."""
    try:
        return str.__str__(repr(o))
    except Exception:  # as above, and repr of something endless raises RecursionError
        return f"<{type(o).__module__}.{type(o).__name__}, which has no repr>"
