"""One column of two tables: its cells compared as numbers, as times, or as texts."""

from __future__ import annotations

from typing import Any

from reprorun.compare.numbers import Numbers, cut, shown
from reprorun.compare.values import Divergence, Tolerance
from reprorun.compare.volatile import (
    VolatileTally,
    differs_by_nature,
    is_time,
    number_of,
    of_one_kind,
)


class Column:
    """Takes in pairs of cells and keeps what was found."""

    def __init__(self, name: str, tolerance: Tolerance) -> None:
        self.name = name
        self.numbers = Numbers(tolerance)
        self.volatile = VolatileTally()
        self.has_float = [False, False]  # in what was looked at of each side
        self._rows: dict[str, int] = {}  # of the places that were reported
        self._kinds: tuple[int, str, str] | None = None  # first integer that is a float elsewhere

    @property
    def first_row(self) -> int:
        """Row of the divergence; for sorting."""
        divergence = self.divergence()
        return self._rows.get(divergence.where, 0) if divergence else 0

    def divergence(self) -> Divergence | None:
        """The first pair of cells that differ; of equal numbers also where only one is integer."""
        self.settle()
        return self.numbers.divergence()

    def settle(self) -> None:
        """Decide, at the end, on what depends on the whole column: whether it holds integers."""
        if self._kinds is not None and self.has_float[0] != self.has_float[1]:
            row, one, other = self._kinds
            words = [
                f"{cut(text)} ({'float' if is_float else 'integer'})"
                for text, is_float in zip((one, other), self.has_float, strict=True)
            ]
            self.numbers.mismatch(self.place(row), words[0], words[1])
        self._kinds = None

    def equal(self, cell: str) -> None:
        """Take in two cells that are the same."""
        self.numbers.equal(1)
        if not all(self.has_float) and any(sign in cell for sign in ".eEnN"):
            self.has_float = [True, True]

    def cells(self, one: str, other: str, row: int) -> None:
        """Compare two cells that differ as texts."""
        one, other = one.strip(), other.strip()
        a, b = number_of(one), number_of(other)
        if a is not None and b is not None:
            self._numbers((one, a), (other, b), row)
        elif one == other or differs_by_nature(one, other, self.volatile):
            self.numbers.equal(1)
        else:
            self.numbers.mismatch(self.place(row), one or "nothing", other or "nothing")

    def arrays(self, one: Any, other: Any, rows: Any) -> None:
        """Compare two numpy arrays of numbers that differ as texts.

        Args:
            one: the original's numbers.
            other: the others, of the same dtype.
            rows: of each pair, or of the first where one follows the other.
        """
        import numpy as np

        def where(index: int) -> str:
            return self.place(int(rows[index]) if isinstance(rows, np.ndarray) else rows + index)

        ends = [end(each).item() for each in (one, other) for end in (np.min, np.max)]
        if is_time(self.name, *ends):
            self._is_time(one[0], other[0], len(one))
        else:
            self.numbers.array(one, other, where)

    def note_kinds(self, one: str, other: str, row: int) -> None:
        """Note a pair of equal numbers of which one is written as an integer."""
        if self._kinds is None:
            self._kinds = row, one, other

    def place(self, row: int) -> str:
        """A cell in words. Rows count from 1, without the header."""
        text = f"row {row + 1}, column {cut(self.name)}"
        self._rows[text] = row
        return text

    def _numbers(
        self, one: tuple[str, int | float], other: tuple[str, int | float], row: int
    ) -> None:
        """Compare two numbers and how they are written."""
        (text, a), (twin, b) = one, other
        for side, value in enumerate((a, b)):
            self.has_float[side] |= isinstance(value, float)
        if is_time(self.name, a, b):
            self._is_time(a, b, 1)
            return
        if type(a) is not type(b) and a == b:
            self.note_kinds(text, twin, row)
        a, b = of_one_kind(a, b)
        self.numbers.number(a, b, lambda: self.place(row))

    def _is_time(self, one: Any, other: Any, count: int) -> None:
        self.volatile.add(f"time (column {cut(self.name)})", shown(one), shown(other), count)
        self.numbers.equal(count)
