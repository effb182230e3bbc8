"""Numbers compared one by one: what all numeric comparators share.

    numbers = Numbers(settings.tolerance_of(a.name))
    numbers.array(one, other, lambda index: f"row {start + index}")
    numbers.number(0.5, 0.25, "$.loss")
    return numbers.finding("csv")

NaN equals NaN, an infinity the one of its sign, -0.0 equals 0.0. Integers are compared exactly,
however large; a tolerance holds for them, too. Integer against float is a difference of its own,
as are shape and dtype: for arrays the comparator says so with `mismatch`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from reprorun.compare.distances import both_nan, distance, kind
from reprorun.compare.values import Divergence, Finding, Growth, Tolerance, Verdict, Volatile
from reprorun.model import Value

Where = str | Callable[[], str]
"""A place in words, or what makes them: it is called only for what is reported."""

CHUNK = 1 << 15  # values of an array that are looked at in one go
_SHOWN = 80  # characters of a value in a report


class Part(Value, frozen=True, kw_only=True):
    """The pairs of one chunk that differ in one way; at least one of them."""

    index: int  # of the first, in the chunk
    first: float | None  # its relative error, where it has one
    count: int = 1
    measured: int = 0  # those that have a relative error
    total: float = 0.0  # sum of those
    most: float = 0.0


class Numbers:
    """Compares pairs of values, and remembers the first that differ and by how much."""

    def __init__(self, tolerance: Tolerance) -> None:
        self.tolerance = tolerance
        self.compared = 0
        self._far = _Tally()  # pairs that differ
        self._near = _Tally()  # those that do, within tolerance
        self._last: float | None = 0.0  # relative error of the last pair

    # ------------------------------------------------------------ what is compared

    def number(self, original: Any, now: Any, where: Where) -> bool:
        """Compare two values: int, float and complex by their distance, anything else for equality.

        Returns:
            Whether they are equal or within tolerance.
        """
        kinds = kind(original), kind(now)
        if kinds[0] != kinds[1]:
            self.mismatch(where, f"{shown(original)} ({kinds[0]})", f"{shown(now)} ({kinds[1]})")
            return False
        self.compared += 1
        self._last = 0.0
        if original == now or both_nan(original, now):
            return True
        far, relative = distance(original, now, self.tolerance)
        self._take(far, _single(relative), where, original, now)
        self._last = relative
        return not far

    def array(self, original: Any, now: Any, where: Callable[[int], str]) -> None:
        """Compare two arrays or sequences of the same length, element by element in flat order.

        Args:
            original: a numpy array (of no structured dtype), or a sequence of numbers.
            now: the other one; a numpy array may be of another numeric dtype.
            where: the place of an element, by its index in the flat array.
        """
        if not hasattr(original, "dtype"):
            for index, (one, other) in enumerate(zip(original, now, strict=True)):
                self.number(one, other, lambda index=index: where(index))  # type: ignore[misc]
            return
        one, other = original.reshape(-1), now.reshape(-1)
        for start in range(0, len(one), CHUNK):
            self._chunk(one[start : start + CHUNK], other[start : start + CHUNK], start, where)

    def mismatch(self, where: Where, original: str, now: str) -> None:
        """Note a difference that no tolerance covers: another kind, shape, dtype or text."""
        self.compared += 1
        self._last = None
        self._take(True, _single(None), where, original, now)

    def equal(self, count: int) -> None:
        """Note pairs that are known to be equal, without looking at them again."""
        if count:
            self.compared += count
            self._last = 0.0

    # ------------------------------------------------------------ what came out

    @property
    def verdict(self) -> Verdict:
        """`equivalent` where all are equal."""
        if self._far.count:
            return "different"
        return "within tolerance" if self._near.count else "equivalent"

    @property
    def place(self) -> int | None:
        """How many pairs were compared before the first that differs; None where none does."""
        return self._decisive.place

    @property
    def differing(self) -> int:
        """How many pairs differ; within tolerance where none is beyond."""
        return self._decisive.count

    def divergence(self) -> Divergence | None:
        """The first pair beyond tolerance, else the first that differs; None where all are equal.

        Its growth is over the pairs that differ in the same way.
        """
        tally = self._decisive
        if tally.first is None:
            return None
        growth = None
        if tally.first.relative is not None:
            growth = Growth(
                first=tally.first.relative,
                mean=tally.total / tally.measured,
                most=tally.most,
                last=self._last,
                count=tally.count,
                of=self.compared,
            )
        return Divergence(
            where=tally.first.where,
            original=tally.first.original,
            now=tally.first.now,
            relative=tally.first.relative,
            growth=growth,
        )

    def reason(self) -> str:
        """How many of how many differ; empty where none does."""
        count = self._decisive.count
        if not count:
            return ""
        within = "" if self._far.count else ", within tolerance"
        return how_many(count, self.compared, "value") + within

    def finding(
        self, comparator: str, *, volatile: Iterable[Volatile] = (), equal: str = ""
    ) -> Finding:
        """What is said of an output whose values these are.

        Args:
            comparator: its name.
            volatile: what else differs.
            equal: the reason where all values are equal, such as "only metadata differ".
        """
        return Finding(
            verdict=self.verdict,
            comparator=comparator,
            reason=self.reason() or equal,
            divergence=self.divergence(),
            volatile=tuple(volatile),
        )

    # ------------------------------------------------------------ inside

    @property
    def _decisive(self) -> _Tally:
        return self._far if self._far.count else self._near

    def _take(self, far: bool, part: Part, where: Where, original: Any, now: Any) -> None:
        tally = self._far if far else self._near
        if tally.first is None:
            tally.place = self.compared - 1
            tally.first = Divergence(
                where=where if isinstance(where, str) else where(),
                original=original if isinstance(original, str) else shown(original),
                now=now if isinstance(now, str) else shown(now),
                relative=part.first,
            )
        tally.add(part)

    def _chunk(self, one: Any, other: Any, start: int, where: Callable[[int], str]) -> None:
        from reprorun.compare.arrays import differing

        before = self.compared
        far, near, last = differing(one, other, self.tolerance)
        for part, is_far in ((far, True), (near, False)):
            if part is not None:
                index = part.index
                self.compared = before + index + 1
                self._take(is_far, part, lambda i=index: where(start + i),  # type: ignore[misc]
                           one[index], other[index])  # fmt: skip
        self.compared = before + len(one)
        self._last = last


class _Tally:
    """Pairs that differ in one way: the first, how many, and how much."""

    def __init__(self) -> None:
        self.first: Divergence | None = None
        self.place: int | None = None
        self.count = 0
        self.measured = 0
        self.total = 0.0
        self.most = 0.0

    def add(self, part: Part) -> None:
        self.count += part.count
        self.measured += part.measured
        self.total += part.total
        self.most = max(self.most, part.most)


def _single(relative: float | None) -> Part:
    if relative is None:
        return Part(index=0, first=None)
    return Part(index=0, first=relative, measured=1, total=relative, most=relative)


def how_many(count: int, of: int, what: str) -> str:
    """Such as `1 of 3 values differs`."""
    return f"{count} of {of} {what}{'s' * (of != 1)} differ{'s' * (count == 1)}"


def shown(value: Any) -> str:
    """A value for a report, shortened."""
    if isinstance(value, int) and abs(value) >> 1000:  # Python refuses to write such as decimals
        return f"an integer of {value.bit_length()} bits"
    if hasattr(value, "dtype") and hasattr(value, "item"):
        value = value.item()
    return cut(value if isinstance(value, str) else repr(value))


def cut(text: str) -> str:
    """A text for a report, shortened in its middle."""
    if len(text) <= _SHOWN:
        return text
    return f"{text[: _SHOWN - 20]}...{text[-17:]}"
