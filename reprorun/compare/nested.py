"""Python values of rich formats, such as the lists and structures in a column, one by one."""

from __future__ import annotations

from typing import Any

from reprorun.compare.numbers import Numbers, shown
from reprorun.compare.volatile import VolatileTally, differs_by_nature, is_time

_NUMBER = (int, float)


def compare_nested(
    numbers: Numbers, volatile: VolatileTally, a: Any, b: Any, where: str, name: str = ""
) -> None:
    """Compare two values. Lists and dicts are compared by their parts, in the original's order.

    Args:
        numbers: told of what differs.
        volatile: told of what differs and is known to.
        a: the original.
        b: the other.
        where: the place of both.
        name: of the column or key, by which times are told.
    """
    waiting = [(a, b, where, name)]
    while waiting:
        one, other, place, key = waiting.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            pairs = list(one.items()), list(other.items())
            if list(one) == list(other):
                parts = [(v, other[k], f"{place}.{k}", str(k)) for k, v in one.items()]
            else:
                parts = [(pairs[0], pairs[1], place, key)]
            waiting += reversed(parts)
        elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
            if len(one) != len(other):
                numbers.mismatch(f"length of {place}", str(len(one)), str(len(other)))
            parts = [
                (v, w, f"{place}[{index}]", key)
                for index, (v, w) in enumerate(zip(one, other, strict=False))
            ]
            waiting += reversed(parts)
        else:
            _leaf(numbers, volatile, one, other, place, key)


def _leaf(numbers: Numbers, volatile: VolatileTally, a: Any, b: Any, where: str, name: str) -> None:
    texts = isinstance(a, str) and isinstance(b, str)
    same = a == b and type(a) is type(b)
    if same or (texts and differs_by_nature(a, b, volatile)):
        numbers.equal(1)
    elif _is_number(a) and _is_number(b) and is_time(name, a, b):
        volatile.add(f"time ({name})", shown(a), shown(b))
        numbers.equal(1)
    else:
        numbers.number(a, b, where)


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBER) and not isinstance(value, bool)
