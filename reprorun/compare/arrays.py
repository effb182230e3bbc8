"""numpy's part in comparing numbers: which elements of two arrays differ, and by how much."""

from __future__ import annotations

from typing import Any

import numpy as np

from reprorun.compare.distances import LARGEST_ERROR
from reprorun.compare.numbers import Part
from reprorun.compare.values import Tolerance


def differing(
    one: Any, other: Any, tolerance: Tolerance
) -> tuple[Part | None, Part | None, float | None]:
    """Compare two flat numpy arrays of the same length.

    Returns:
        The pairs that differ, those that do within tolerance, and the relative error of the last
        pair of all.
    """
    (indices,) = np.nonzero(one != other)
    indices, a, b = _unequal(indices, one, other)
    if not len(indices):
        return None, None, 0.0
    with np.errstate(all="ignore"):
        far, relative = _distances(a, b, tolerance)
    last: float | None = 0.0
    if indices[-1] == len(one) - 1:
        last = None if np.isnan(relative[-1]) else float(relative[-1])
    if far.all():
        return _part(indices, relative), None, last
    if not far.any():
        return None, _part(indices, relative), last
    near = ~far
    return _part(indices[far], relative[far]), _part(indices[near], relative[near]), last


def _unequal(indices: Any, one: Any, other: Any) -> tuple[Any, Any, Any]:
    """The pairs that are not equal; NaN equals NaN."""
    if not len(indices):
        return indices, None, None
    a, b = (one, other) if len(indices) == len(one) else (one[indices], other[indices])
    if one.dtype.kind in "fcmM":
        nan = _nan_in_both(a, b)
        if nan.any():
            return indices[~nan], a[~nan], b[~nan]
    return indices, a, b


def _nan_in_both(one: Any, other: Any) -> Any:
    if one.dtype.kind == "c" or other.dtype.kind == "c":
        return _equal_or_nan(one.real, other.real) & _equal_or_nan(one.imag, other.imag)
    return (one != one) & (other != other)


def _equal_or_nan(one: Any, other: Any) -> Any:
    return (one == other) | ((one != one) & (other != other))


def _distances(a: Any, b: Any, tolerance: Tolerance) -> tuple[Any, Any]:
    """Which pairs are beyond tolerance, and the relative errors: NaN where there is none."""
    if not {a.dtype.kind, b.dtype.kind} <= set("iufc"):
        return np.ones(len(a), dtype=bool), np.full(len(a), np.nan)
    if a.dtype == b.dtype and a.dtype.kind in "iu":
        apart, size, other_size = _integers(a, b)
    else:
        wide = np.result_type(a, b, np.float64)
        a, b = a.astype(wide, copy=False), b.astype(wide, copy=False)
        apart, size, other_size = abs(a - b), abs(a), abs(b)
    allowed = size * tolerance.rtol + tolerance.atol
    near = (apart <= allowed) & (allowed > 0)
    relative = apart / np.where(size == 0, other_size, size)
    finite = np.isfinite(size) & np.isfinite(other_size)
    if not finite.all():
        near &= finite
        relative[~finite] = np.nan
    np.minimum(relative, LARGEST_ERROR, out=relative)
    return ~near, relative.astype(np.float64, copy=False)


def _integers(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """Distance and magnitudes of integers that are unequal, without overflow; never zero."""
    unsigned = np.dtype(f"u{a.dtype.itemsize}")
    greater = a > b
    # the difference in two's complement, read as unsigned, is right even where it overflows
    apart = np.where(greater, a, b).astype(unsigned) - np.where(greater, b, a).astype(unsigned)
    return apart.astype(np.float64), abs(a.astype(np.float64)), abs(b.astype(np.float64))


def _part(indices: Any, relative: Any) -> Part:
    nan = np.isnan(relative)
    measured = relative[~nan] if nan.any() else relative
    return Part(
        index=int(indices[0]),
        first=None if nan[0] else float(relative[0]),
        count=len(relative),
        measured=len(measured),
        total=float(measured.sum()),
        most=float(measured.max()) if len(measured) else 0.0,
    )
