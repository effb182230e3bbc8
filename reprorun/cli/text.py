"""Text for people: names made printable, sizes and times made readable, errors."""

from __future__ import annotations

import math
import os
import sys

from reprorun.printable import printable, printable_lines

__all__ = ["duration", "near", "printable", "printable_lines", "say_error", "size"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def near(path: str) -> str:
    """A path as it is seen from the working directory, where it lies below that."""
    inside = os.path.relpath(path)
    return path if inside.startswith("..") else inside


def size(number: int) -> str:
    """A size in bytes, such as `1.5 MiB`."""
    unit = min((number.bit_length() - 1) // 10, len(_UNITS) - 1) if number > 0 else 0
    if number >> 80:  # nonsense in a record, and too large for a float
        return f"{number >> 10 * unit} {_UNITS[unit]}"
    return f"{number} B" if unit == 0 else f"{number / (1 << 10 * unit):.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """A time span, such as `3.2 s` or `1 h 02 min`."""
    if seconds < 60 or not math.isfinite(seconds):
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def say_error(error: Exception, *, verbose: bool) -> None:
    """Print an error to stderr; with `verbose` also where it came from."""
    if verbose:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, OSError):
        from reprorun.workflow.keeper import explain

        text = explain(error)
    else:
        text = str(error)
    print(f"reprorun: error: {printable_lines(text)}", file=sys.stderr)
