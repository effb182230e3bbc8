"""Two single numbers: of what kind each is, and how far they are apart."""

from __future__ import annotations

import cmath
import math
from typing import Any

from reprorun.compare.values import Tolerance

LARGEST_ERROR = 1e100  # a relative error beyond is said to be this: means of them stay finite


def kind(value: Any) -> str:
    """What a value is, in words: integer and float are two kinds, Python's and numpy's one."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "float"
    kind = getattr(getattr(value, "dtype", None), "kind", None)  # of a numpy scalar
    return _KINDS.get(kind or "", type(value).__name__)


_KINDS = {"b": "bool", "i": "integer", "u": "integer", "f": "float", "c": "complex"}


def distance(original: Any, now: Any, tolerance: Tolerance) -> tuple[bool, float | None]:
    """How far two unequal values are apart.

    Returns:
        Whether that is beyond the tolerance; and the relative error, where there is one: the
        distance by the original, or by the other where the original is zero.
    """
    if isinstance(original, int) and isinstance(now, int) and not isinstance(original, bool):
        return _integers_apart(original, now, tolerance)
    if kind(original) not in ("float", "complex", "integer"):
        return True, None
    a, b = complex(original), complex(now)
    if not (cmath.isfinite(a) and cmath.isfinite(b)):
        return True, None
    apart_by, size_of = _modulus(a - b), _modulus(a) or _modulus(b)
    allowed = tolerance.atol + tolerance.rtol * _modulus(a)
    relative = apart_by / size_of
    return apart_by > allowed, relative if relative < LARGEST_ERROR else LARGEST_ERROR


def _integers_apart(original: int, now: int, tolerance: Tolerance) -> tuple[bool, float]:
    """The same for integers, which may be larger than any float."""
    apart, size = abs(original - now), abs(original)
    try:
        near = apart <= tolerance.atol + tolerance.rtol * size
    except OverflowError:  # beside such a size the absolute tolerance is nothing
        near = _ratio(apart, size) <= tolerance.rtol
    return not near, min(_ratio(apart, size or abs(now)), LARGEST_ERROR)


def _ratio(apart: int, size: int) -> float:
    try:
        return apart / size
    except OverflowError:
        return LARGEST_ERROR


def _modulus(value: complex) -> float:
    return math.hypot(value.real, value.imag)  # inf where it is too large, not an error


def both_nan(original: Any, now: Any) -> bool:
    """Whether they are equal with NaN taken as equal to itself, in each part of complex numbers."""
    if original == original and now == now:
        return False
    if isinstance(original, complex) or kind(original) == "complex":
        parts = ((original.real, now.real), (original.imag, now.imag))
        return all(a == b or (a != a and b != b) for a, b in parts)
    return bool(original != original and now != now)
