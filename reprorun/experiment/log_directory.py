"""Names and makes the log directory of one call of an experiment."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any, Mapping

if TYPE_CHECKING:
    import inspect

_LONGEST = 255  # bytes in the name of a directory, on all the usual file systems


def augmented_name(
    name: str, chosen: str | None, signature: inspect.Signature, params: Mapping[str, Any]
) -> str:
    """Adds parameters to an experiment's name.

    Args:
        name: The experiment's name.
        chosen: Which parameters: None, 'passed' or 'all'.
        signature: The experiment's signature.
        params: What was passed.

    Returns:
        The name, such as `train_seed=1_lr=0.5`, in the order of the definition. Values can't
        make directories: a slash in one becomes an underscore.

    Raises:
        ValueError: If `chosen` is none of the three.
    """
    if chosen not in (None, "passed", "all"):
        raise ValueError(f"name_parameters is {chosen!r}; it must be None, 'passed' or 'all'")
    shown = {} if chosen is None else _ordered(signature, params, with_defaults=chosen == "all")
    return "_".join([name, *(_plain(f"{key}={value}") for key, value in shown.items())])


def directory_in_container(record: str, log_dir: Any, name: str) -> str:
    """Returns where a call logs in a container: one directory, directly in the record.

    Args:
        record: The record's directory inside the container.
        log_dir: The log directory that the code asks for, or None.
        name: The experiment's augmented name.

    Returns:
        An absolute path.
    """
    asked = os.path.basename(os.path.abspath(os.fsdecode(log_dir))) if log_dir is not None else ""
    plain = _plain(asked or name)
    return os.path.join(record, "_" if plain in ("", ".", "..") else plain)


def make_log_dir(path: str, use_existing: bool) -> str:
    """Makes a log directory; processes that do so at the same moment get different ones.

    Args:
        path: The directory.
        use_existing: Whether to take the directory if it exists. If not, `_1`, `_2`, ... is
            added until there is none of that name.

    Returns:
        The absolute path of the directory.
    """
    parent, name = os.path.split(os.path.abspath(path))
    os.makedirs(parent, exist_ok=True)
    if use_existing:
        directory = os.path.join(parent, _fitting(name))
        os.makedirs(directory, exist_ok=True)
        return directory
    for number in count():
        directory = os.path.join(parent, _fitting(name, f"_{number}" if number else ""))
        try:
            os.mkdir(directory)  # of all who try, it succeeds for one
        except FileExistsError:
            continue
        return directory
    raise AssertionError("unreachable")


def _ordered(
    signature: inspect.Signature, params: Mapping[str, Any], with_defaults: bool
) -> dict[str, Any]:
    """Returns the parameters as they are defined; those that go into **kwargs come last."""
    result = {}
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if with_defaults or parameter.name in params:
            result[parameter.name] = params.get(parameter.name, parameter.default)
    for name, value in params.items():
        result.setdefault(name, value)
    return result


def _plain(text: str) -> str:
    return text.replace("/", "_").replace("\0", "_")


def _fitting(name: str, suffix: str = "") -> str:
    """Returns name and suffix; a name that is too long is cut, and ends in a hash of itself."""
    import hashlib

    encoded = os.fsencode(name)
    if len(encoded) + len(suffix) <= _LONGEST:
        return name + suffix
    mark = "-" + hashlib.sha256(encoded).hexdigest()[:12] + suffix
    # A character that the cut goes through is left out.
    return encoded[: _LONGEST - len(mark)].decode("utf-8", "ignore") + mark
