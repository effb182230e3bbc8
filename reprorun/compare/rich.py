"""What the comparators of rich formats share: parts by name, libraries that are missing, limits."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import BinaryIO, TypeVar, cast

from reprorun.compare.content import PIECE
from reprorun.compare.numbers import Numbers, cut
from reprorun.compare.values import Content, Finding, Tolerance, Verdict, Volatile, worst

Part = TypeVar("Part")

_NAMED = 3  # parts in a reason
IN_MEMORY = 4 << 20  # bytes that are unpacked in memory, before they go to a file


class Refused(Exception):
    """What is not unpacked or held in memory, for its size or a password. The text says why."""


class Missing(Exception):
    """A library that isn't installed; the text is its name."""


class Budget:
    """How many bytes may still be unpacked."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most

    def take(self, size: int) -> None:
        """Count bytes.

        Raises:
            Refused: they are too many.
        """
        self._left -= size
        if self._left < 0:
            raise Refused(f"it unpacks to more than {self._most:,} bytes")


def without(comparator: str, library: str) -> Finding:
    """What is said where the library that reads the format isn't there: never a pass."""
    return Finding(
        verdict="unknown",
        comparator=comparator,
        reason=f"the bytes differ, and without {library} it can't be told whether the content does:"
        " pip install 'reprorun[compare]'",
    )


def is_there(library: str) -> bool:
    """Whether a library is installed; it is not imported."""
    try:
        return find_spec(library) is not None
    except ValueError:  # of one that is kept from being imported
        return False


def refused(comparator: str, error: Refused) -> Finding:
    """What is said of an output that is beyond a limit: never a pass."""
    reason = f"the bytes differ, and the content can't be compared: {error}"
    return Finding(verdict="unknown", comparator=comparator, reason=reason)


def paired(
    numbers: Numbers, what: str, a: Mapping[str, Part], b: Mapping[str, Part]
) -> Iterator[tuple[str, Part, Part]]:
    """The parts that both have, in the original's order. What only one has is a difference.

    Args:
        numbers: told of those.
        what: is compared, such as "tensor".
        a: the original's parts by name.
        b: the other's.
    """
    for name, part in a.items():
        if name in b:
            yield name, part, b[name]
        else:
            numbers.mismatch(f"{what} {name}", "there", "missing")
    for name in b:
        if name not in a:
            numbers.mismatch(f"{what} {name}", "missing", "there")


def spool() -> BinaryIO:
    """A file for what is unpacked: in memory while it is small, then on disk, never with a name."""
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(IN_MEMORY, prefix="reprorun-compare-"))


@contextmanager
def on_disk(content: Content) -> Iterator[str]:
    """A path for a library that reads nothing else: the file's own, or that of a copy."""
    if content.path is not None:
        yield content.path
        return
    with tempfile.NamedTemporaryFile(prefix="reprorun-compare-") as copy:
        with content.open() as source:
            shutil.copyfileobj(source, copy, PIECE)
        copy.flush()
        yield copy.name


class Parts:
    """Numbers of several parts, each with its own tolerance and its own first divergence."""

    def __init__(self, comparator: str, what: str) -> None:
        self._comparator = comparator
        self._what = what  # a part is, such as "column"
        self._parts: list[tuple[str, int, Numbers]] = []
        self.whole = Numbers(Tolerance())  # for what is of no part, such as a part that is missing

    def add(self, name: str, numbers: Numbers, order: int) -> None:
        """Add a part.

        Args:
            name: of it.
            numbers: what was compared.
            order: of its first divergence among those of all parts, such as a step.
        """
        self._parts.append((name, order, numbers))

    def finding(self, *, volatile: Iterable[Volatile] = (), equal: str = "") -> Finding:
        """What is said of all: the worst verdict, and the first divergence of those that have it.

        Args:
            volatile: what else differs.
            equal: the reason where all values are equal.
        """
        verdict = worst(("equivalent", self.whole.verdict, *(n.verdict for *_, n in self._parts)))
        decisive = [part for part in self._parts if part[2].verdict == verdict != "equivalent"]
        first = min(decisive, key=lambda part: part[1])[2] if decisive else None
        if self.whole.verdict == verdict:
            first = self.whole
        return Finding(
            verdict=verdict,
            comparator=self._comparator,
            reason=self._reason([name for name, *_ in decisive], verdict) or equal,
            divergence=first.divergence() if first else None,
            volatile=tuple(volatile),
        )

    def _reason(self, names: list[str], verdict: Verdict) -> str:
        shown = ", ".join(cut(name) for name in names[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        within = ", within tolerance" if verdict == "within tolerance" else ""
        plural, verb = ("", "differs") if len(names) == 1 else ("s", "differ")
        parts = [f"{self._what}{plural} {shown}{more} {verb}{within}"] if names else []
        whole = self.whole.divergence()
        return "; ".join([f"{whole.where} differs", *parts] if whole else parts)
