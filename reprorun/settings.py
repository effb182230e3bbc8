"""Settings of a run: what flags, `REPRORUN_*` variables and `[tool.reprorun]` say, in that order.

All three use the same names (`--shm-size`, `REPRORUN_SHM_SIZE`, `shm-size = "2g"`) and the same
forms of values, which are parsed here.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final, Literal, cast, get_args

from reprorun.errors import UsageError
from reprorun.model import Gpus, Limits, Network, Numerics
from reprorun.platforms import parse_platform
from reprorun.project_file import project_table

NAMES: Final = (
    "base-image",
    "file",
    "lock",
    "python",
    "platform",
    "as-of",
    "gpus",
    "network",
    "memory",
    "cpus",
    "shm-size",
    "timeout",
    "numerics",
)
CHECK: Final = "check"  # the table of what `compare` and `check` go by; no setting of a run
ENGINE: Final = "engine"  # where a run is made; no setting of the run itself
EngineName = Literal["docker", "podman", "local"]
# What takes the container away, or its bounds: a project's file may be somebody else's
_FROM_YOU_ALONE: Final = {
    (ENGINE, "local"): "its code would run on this machine itself, without a container",
    ("network", "host"): "its code would reach all that this machine does",
}
_SIZES: Final = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_TIMES: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def resolve(given: Mapping[str, str | None], directory: str) -> dict[str, Any]:
    """The settings of a run as fields of `RunSpec`.

    Args:
        given: flags by name, None where a flag was not given.
        directory: where the search for a pyproject.toml with `[tool.reprorun]` starts.

    Raises:
        UsageError: a value that can't be understood, or that no project may ask for; the message
            names where it came from.
    """
    project, path = _project_settings(directory)
    values: dict[str, Any] = {}
    for name in NAMES:
        found = _first(name, given, project, path)
        if found:
            values[name] = _parse(name, *found)
    limits = {field: values.pop(name) for name, field in _LIMITS.items() if name in values}
    return {**{_field(name): value for name, value in values.items()}, "limits": Limits(**limits)}


def usual(name: str, directory: str) -> Any:
    """What the environment or the project says of one setting; None where they say nothing.

    Raises:
        UsageError: the value can't be understood.
    """
    project, path = _project_settings(directory)
    found = _first(name, {}, project, path)
    return _parse(name, *found) if found else None


def of_flags(given: Mapping[str, str | None]) -> dict[str, Any]:
    """Only what flags say, as fields of `RunSpec`; those of its limits in a dict of their own.

    Raises:
        UsageError: a value that can't be understood.
    """
    values = {
        name: _parse(name, text, f"--{name}") for name, text in given.items() if text is not None
    }
    limits = {field: values.pop(name) for name, field in _LIMITS.items() if name in values}
    return {**{_field(name): value for name, value in values.items()}, "limits": limits}


def engine_of(flag: str | None, directory: str) -> tuple[EngineName | None, str]:
    """Which engine is meant, None where nothing names one, and what says so.

    Args:
        flag: what the command line says, if anything.
        directory: where the search for a pyproject.toml starts.

    Raises:
        UsageError: there is no such engine, or a project asks for none.
    """
    project, path = _project_settings(directory)
    found = _first(ENGINE, {ENGINE: flag}, project, path)
    if found is None:
        return None, ""
    return cast(EngineName, _parse(ENGINE, *found)), found[1]


def check_table(directory: str) -> tuple[Any, str]:
    """`[tool.reprorun.check]` as it stands and the file that has it; empty where there is none.

    Args:
        directory: where the search for a pyproject.toml starts, as for a run.

    Raises:
        UsageError: the pyproject.toml can't be read.
    """
    project, path = _project_settings(directory)
    return project.get(CHECK, {}), path


_LIMITS: Final = {"memory": "memory", "cpus": "cpus", "shm-size": "shm_size", "timeout": "timeout"}


_FIELDS: Final = {"file": "dockerfile"}  # where the spec has another word
_PATHS: Final = ("file", "lock")  # in a pyproject.toml: relative to it


def _field(name: str) -> str:
    return _FIELDS.get(name, name.replace("-", "_"))


def _first(
    name: str, given: Mapping[str, str | None], project: Mapping[str, Any], path: str
) -> tuple[str, str] | None:
    """The value that counts, and where it came from."""
    flag = given.get(name)
    if flag is not None:
        return flag, f"--{name}"
    variable = f"REPRORUN_{name.replace('-', '_').upper()}"
    if os.environ.get(variable):
        return os.environ[variable], variable
    if name in project:
        value = _text(name, project[name])
        where = f"{name} in [tool.reprorun] of {path}"
        _refuse_unasked(name, value, where, variable)
        value = os.path.join(os.path.dirname(path), value) if name in _PATHS else value
        return value, where
    return None


def _refuse_unasked(name: str, value: str, where: str, variable: str) -> None:
    why = _FROM_YOU_ALONE.get((name, value))
    if why:
        raise UsageError(
            f"{where}: {value!r} is not for a project to ask for: {why}. If you mean that, say "
            f"--{name} {value} or {variable}={value}; else name another with --{name}."
        )


def _text(name: str, value: Any) -> str:
    """A TOML value in the form of a flag."""
    if name == "python" and isinstance(value, float):  # 3.10 would have become 3.1
        return f"{value} (a number; put it in quotes)"
    return str(value)


def _project_settings(directory: str) -> tuple[dict[str, Any], str]:
    table, path = project_table(directory)
    _refuse_unknown(table, path)
    return table, path


def _refuse_unknown(table: Mapping[str, Any], path: str) -> None:
    unknown = sorted(set(table) - {*NAMES, CHECK, ENGINE})
    if unknown:
        raise UsageError(
            f"{path}: [tool.reprorun] has no setting {unknown[0]!r}. It knows {', '.join(NAMES)}."
        )


# ---------------------------------------------------------------- forms of values


def _parse(name: str, text: str, where: str) -> Any:
    try:
        return _PARSERS[name](text)
    except ValueError as error:
        raise UsageError(f"{where}: {text!r} {error}.") from error


def _python(text: str) -> str:
    if not re.fullmatch(r"3\.\d+", text):
        raise ValueError("is no Python version such as 3.12")
    return text


def _as_of(text: str) -> str:
    if text == "commit":
        return text
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("is neither a date such as 2024-03-31 nor 'commit'") from None


def _network(text: str) -> Network:
    if text not in get_args(Network):
        raise ValueError("is none of none, bridge, host")
    return cast(Network, text)


def _engine(text: str) -> EngineName:
    if text not in get_args(EngineName):
        raise ValueError("is none of docker, podman, local")
    return cast(EngineName, text)


def _numerics(text: str) -> Numerics:
    if text not in get_args(Numerics):
        raise ValueError("is neither native nor portable")
    return cast(Numerics, text)


def parse_gpus(text: str) -> Gpus:
    """`all`, `none`, a number, or `device=0,2`. Raises ValueError."""
    if text in ("all", "none", "auto"):
        return Gpus(kind=cast(Any, text))
    if text.isdecimal():
        count = int(text)
        return Gpus(kind="count", count=count) if count else Gpus(kind="none")
    kind, _, names = text.partition("=")
    devices = tuple(names.split(","))
    if kind != "device" or not all(devices):
        raise ValueError("is none of all, none, a number, device=I,J")
    return Gpus(kind="device", devices=devices)


def parse_size(text: str) -> int:
    """Bytes, such as `512m` or `2g`. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", text.strip().lower())
    size = float(match[1]) * _SIZES[match[2]] if match else 0
    if size < 1 or math.isinf(size):
        raise ValueError("is no size such as 512m or 2g")
    return int(size)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip().lower())
    seconds = float(match[1]) * _TIMES[match[2]] if match else 0.0
    if seconds <= 0 or math.isinf(seconds):
        raise ValueError("is no time such as 90, 30s, 5m or 2h")
    return seconds


def _cpus(text: str) -> float:
    cpus = float(text) if re.fullmatch(r"\d+(\.\d+)?", text.strip()) else 0.0
    if cpus <= 0 or math.isinf(cpus):
        raise ValueError("is no number of processors such as 2 or 1.5")
    return cpus


_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "base-image": str,
    "file": str,
    "lock": str,
    "python": _python,
    "platform": parse_platform,
    "as-of": _as_of,
    "gpus": parse_gpus,
    "network": _network,
    "memory": parse_size,
    "cpus": _cpus,
    "shm-size": parse_size,
    "timeout": _seconds,
    "numerics": _numerics,
    ENGINE: _engine,
}
