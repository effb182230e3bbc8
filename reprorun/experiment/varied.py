"""Changes circumstances of a Python process on purpose: its clock, the order of directories, ...

Loaded when Python starts, by a `.pth` file, and only where the variable REPRORUN_VARIED is set: by
a check that finds out what makes a difference. All of it happens in Python: what a library written
in C asks the kernel itself stays as it is.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing's own costs an import
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List

VARIABLE = "REPRORUN_VARIED"
"""Holds what is changed, as a JSON object."""

WORKSPACE = "/workspace"
"""Where the working tree lies unless it is moved."""

TICK = 1_000_000  # nanoseconds that a frozen clock goes on with each look at it


_begun: List[bool] = []


def begin() -> None:
    """Changes, once, what REPRORUN_VARIED says.

    Raises:
        SystemExit: It can't be understood. A run that is not as it claims to be is worth nothing.
    """
    if _begun:
        return  # where the base image's own packages are seen, Python reads its .pth files twice
    _begun.append(True)
    import json

    from reprorun.experiment import steadied

    parts: Dict[str, Callable[[Any], None]] = {
        "clock": change_clock,
        "order": order_directories,
        "cpus": count_cpus,
        "tree": look_for_modules_in,
        "seeded": steadied.seed,
        "schedule": steadied.one_thread_at_a_time,
        "addresses": steadied.number_objects,
    }
    try:
        told = dict(json.loads(os.environ[VARIABLE]).items())
        for name, change in parts.items():
            if name in told:
                change(told[name])
    except Exception as error:  # whatever it is, it would otherwise be printed and passed over
        raise SystemExit(
            "reprorun: error: {} can't be followed: {!r}".format(VARIABLE, error)
        ) from None


class Plain:
    """A function in the place of a built-in one: like that, it never becomes a method."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function = function
        self.__name__ = self.__qualname__ = name
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


# ---------------------------------------------------------------- clock


def change_clock(told: Dict[str, float]) -> None:
    """Shifts the clock, or lets it start at a moment and go on with each look at it.

    Args:
        told: `shift` in seconds, or `frozen` in seconds since 1970.
    """
    import time

    if "frozen" in told:
        read = _ticking(int(told["frozen"] * 1e9))
        for name in ("perf_counter", "process_time", "thread_time"):
            # `monotonic` goes on: waiting with a time limit would never end
            _replace_clock(time, name, _ticking(0))
    else:
        real, shift = time.time_ns, int(told["shift"] * 1e9)

        def read() -> int:
            return real() + shift

    _replace_clock(time, "time", read)
    _default_to_now(time)
    after_import("datetime", _patch_datetime)


def _ticking(start: int) -> Callable[[], int]:
    import itertools

    count = itertools.count(start, TICK)
    return lambda: next(count)


def _replace_clock(time: Any, name: str, read: Callable[[], int]) -> None:
    setattr(time, name, Plain(lambda: read() / 1e9, name))
    setattr(time, name + "_ns", Plain(read, name + "_ns"))


def _default_to_now(time: Any) -> None:
    """The functions that mean the present moment when they are given none."""
    real = {name: getattr(time, name) for name in ("gmtime", "localtime", "strftime")}
    asctime = time.asctime

    def gmtime(seconds: Any = None) -> Any:
        return real["gmtime"](time.time() if seconds is None else seconds)

    def localtime(seconds: Any = None) -> Any:
        return real["localtime"](time.time() if seconds is None else seconds)

    def strftime(form: str, moment: Any = None) -> Any:
        return real["strftime"](form, localtime() if moment is None else moment)

    functions: Dict[str, Callable[..., Any]] = {
        "gmtime": gmtime,
        "localtime": localtime,
        "strftime": strftime,
        "asctime": lambda moment=None: asctime(localtime() if moment is None else moment),
        "ctime": lambda seconds=None: asctime(localtime(seconds)),
    }
    for name, function in functions.items():
        setattr(time, name, Plain(function, name))


def _patch_datetime(module: Any) -> None:
    """`now` and `utcnow` ask the kernel; all else in this module asks `time.time`."""
    import gc
    import time

    def now(cls: Any, tz: Any = None) -> Any:
        return cls.fromtimestamp(time.time(), tz)

    def utcnow(cls: Any) -> Any:
        return cls.fromtimestamp(time.time(), module.timezone.utc).replace(tzinfo=None)

    # A built-in class takes no new attributes, and a subclass would break pickles and the C API.
    # Nobody has looked these up yet, so no cache holds them.
    members = gc.get_referents(module.datetime.__dict__)[0]
    members["now"] = classmethod(now)
    members["utcnow"] = classmethod(utcnow)


# ---------------------------------------------------------------- directories, processors


def order_directories(order: str) -> None:
    """Lists directories in another order: `sorted`, or one that follows from any other text."""
    import hashlib

    listdir, scandir = os.listdir, os.scandir
    start = hashlib.sha256(order.encode())

    def key(name: Any) -> bytes:
        raw: bytes = os.fsencode(name)
        if order == "sorted":
            return raw
        mixed = start.copy()
        mixed.update(raw)
        return mixed.digest()

    def ordered_listdir(path: Any = ".") -> List[Any]:
        return sorted(listdir(path), key=key)

    def ordered_scandir(path: Any = ".") -> _Entries:
        with scandir(path) as entries:
            return _Entries(sorted(entries, key=lambda entry: key(entry.name)))

    setattr(os, "listdir", Plain(ordered_listdir, "listdir"))  # noqa: B010  mypy minds
    setattr(os, "scandir", Plain(ordered_scandir, "scandir"))  # noqa: B010


class _Entries:
    """What `os.scandir` gives: an iterator that can be closed."""

    def __init__(self, entries: List[Any]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


def count_cpus(number: int) -> None:
    """Says another number of processors; how many there really are is the engine's business."""
    for name in ("cpu_count", "process_cpu_count"):
        if hasattr(os, name):
            setattr(os, name, Plain(lambda: number, name))


def look_for_modules_in(tree: str) -> None:
    """Finds modules of the working tree where that has been moved to."""
    from reprorun.experiment.moved import elsewhere

    for number, path in enumerate(sys.path):
        sys.path[number] = elsewhere(path, WORKSPACE, tree)


# ---------------------------------------------------------------- modules to come


def after_import(name: str, change: Callable[[Any], None]) -> None:
    """Changes a module as soon as it has been imported; at once where it has been."""
    if name in sys.modules:
        change(sys.modules[name])
        return
    finder = next((f for f in sys.meta_path if isinstance(f, _Changing)), None)
    if finder is None:
        finder = _Changing()
        sys.meta_path.insert(0, finder)
    finder.changes.setdefault(name, []).append(change)


class _Changing:
    """Finds modules as the others do, and changes them when they have been run."""

    def __init__(self) -> None:
        self.changes: Dict[str, List[Callable[[Any], None]]] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        changes = self.changes.pop(name, None)
        if changes is None:
            return None
        others = (f for f in sys.meta_path if f is not self and hasattr(f, "find_spec"))
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_and_change(module: Any) -> None:
            execute(module)
            for change in changes:
                change(module)

        setattr(spec.loader, "exec_module", exec_and_change)  # noqa: B010
        return spec
