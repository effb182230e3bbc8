"""What Python code gives as parameters -> names and values as `sweep.json` can keep them. Pure."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from reprorun.errors import UsageError
from reprorun.json_text import refuse_nan, refuse_odd_text
from reprorun.printable import printable
from reprorun.sweeps.values import Axis, Params, Span

_HOW = "Give numbers, texts, True, False, None, or lists and dicts of these."


def plain_params(given: Mapping[str, Any], where: str) -> Params:
    """Parameters as JSON has them.

    Args:
        given: values by name.
        where: what to call them in errors, such as `params`.

    Raises:
        UsageError: a name can't be a parameter's, or JSON has no such value.
    """
    return {
        _name(name, where): _plain(value, f"{where}[{name!r}]") for name, value in given.items()
    }


def plain_axes(given: Mapping[str, Sequence[Any]], where: str) -> dict[str, Axis]:
    """The same of several values each; a `range` stays one.

    Raises:
        UsageError: as above, or there is one value in place of several.
    """
    return {
        _name(name, where): _axis(values, f"{where}[{name!r}]") for name, values in given.items()
    }


def _name(name: Any, where: str) -> str:
    if isinstance(name, str) and name.isidentifier():
        return name
    raise UsageError(
        f"{where}: {_shown(name)} can't be a parameter's name. Give one as Python has them, such "
        "as learning_rate."
    )


def _axis(values: Any, where: str) -> Axis:
    if isinstance(values, range) and len(values):
        return Span(range=(values[0], values[-1], values.step))
    if _is_one(values):
        raise UsageError(f"{where}: {_shown(values)} is one value; give a list of values.")
    return tuple(_plain(list(values), where))  # all at once, for there may be a million


def _is_one(values: Any) -> bool:
    if isinstance(values, (str, bytes, Mapping)):
        return True
    try:
        iter(values)
    except TypeError:
        return True
    return False


def _plain(value: Any, where: str) -> Any:
    """The value as it comes back out of JSON: tuples are lists, numpy's numbers are Python's."""
    try:
        value = json.loads(json.dumps(value, default=_number))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{where}: {error}. {_HOW}") from None
    refuse_nan(value, where)
    refuse_odd_text(value, where)
    return value


def _number(value: Any) -> Any:
    """What JSON does not know: a number or truth value of numpy's, or an error."""
    if _is_scalar(value):
        number = value.item()
        if isinstance(number, (bool, int, float)):
            return number
    raise TypeError(f"{_shown(value)} is of type {type(value).__name__}, which JSON has not")


def _is_scalar(value: Any) -> bool:
    """An array of one value is none, nor is a date, whose `item` may be its nanoseconds."""
    dtype = str(getattr(value, "dtype", ""))
    is_date = dtype.startswith(("datetime", "timedelta"))
    return hasattr(value, "item") and getattr(value, "shape", ()) == () and not is_date


def _shown(value: Any) -> str:
    return printable(" ".join(reprlib.repr(value).split()))
