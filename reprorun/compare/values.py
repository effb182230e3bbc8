"""The values of a comparison: what is compared, how strictly, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import BinaryIO, Literal, Protocol

from reprorun.model import Value

Verdict = Literal[
    "identical", "equivalent", "within tolerance", "different", "missing", "extra", "unknown"
]
"""Best first. `unknown`: it can't be told, for want of a library or because it is damaged."""

ORDER: tuple[Verdict, ...] = (
    *("identical", "equivalent", "within tolerance"),
    *("unknown", "extra", "missing", "different"),
)
SAME: frozenset[Verdict] = frozenset(ORDER[:3])


class Tolerance(Value, frozen=True, kw_only=True):
    """How far numbers may be apart: |a - b| <= atol + rtol * |a|, as numpy has it."""

    rtol: float = 0.0
    atol: float = 0.0


class Growth(Value, frozen=True, kw_only=True):
    """How an error goes on from the first divergence; relative errors."""

    first: float
    mean: float  # over the values that differ
    most: float
    last: float | None  # of the last pair; None where one of them is no finite number
    count: int  # values that differ
    of: int  # values that were compared


class Divergence(Value, frozen=True, kw_only=True):
    """The first place where two outputs differ."""

    where: str  # such as "row 120, column loss", "step 120, tag train/loss", "byte 4711"
    original: str  # in words, shortened
    now: str
    relative: float | None = None  # error, of numbers
    growth: Growth | None = None


class Volatile(Value, frozen=True, kw_only=True):
    """Something that differs and is known to differ from run to run."""

    what: str  # such as "timestamp", "duration", "path", "address", "wall time"
    count: int
    example: str = ""  # "2024-01-01T00:00:00 / 2024-01-02T00:00:00"


class Finding(Value, frozen=True, kw_only=True):
    """What a comparator says of one output."""

    verdict: Verdict
    comparator: str  # such as "csv"
    reason: str = ""  # one line, where it is not identical
    divergence: Divergence | None = None
    volatile: tuple[Volatile, ...] = ()
    inner: tuple[NamedFinding, ...] = ()  # members of an archive, that are not identical
    notes: tuple[str, ...] = ()  # such as the library that would tell more


class NamedFinding(Value, frozen=True, kw_only=True):
    """A finding and the output that it is about."""

    path: str
    finding: Finding


class Settings(Value, frozen=True, kw_only=True):
    """How strictly outputs are compared."""

    tolerance: Tolerance = Tolerance()
    files: tuple[tuple[str, Tolerance], ...] = ()  # glob of paths -> tolerance; the first counts
    columns: tuple[tuple[str, str, Tolerance], ...] = ()  # globs of path and column -> tolerance
    ignore: tuple[str, ...] = ()  # globs of paths that are not compared; named in the result
    depth: int = 5  # archives within archives
    largest: int = 8 << 30  # bytes that one archive may unpack to

    def tolerance_of(self, path: str, column: str | None = None) -> Tolerance:
        """The tolerance of an output, or of one column of it: the most particular that is given."""
        if column is not None:
            for paths, columns, tolerance in self.columns:
                if matches(path, paths) and fnmatchcase(column, columns):
                    return tolerance
        for paths, tolerance in self.files:
            if matches(path, paths):
                return tolerance
        return self.tolerance


def matches(path: str, glob: str) -> bool:
    """Whether a path or its last part is meant by a glob, whose `*` takes in `/`, too."""
    return fnmatchcase(path, glob) or fnmatchcase(path.rpartition("/")[2], glob)


class Comparison(Value, frozen=True, kw_only=True):
    """What a comparison of two files, directories or records found."""

    verdict: Verdict  # the worst of all
    findings: tuple[NamedFinding, ...] = ()  # of every output, by path
    ignored: tuple[str, ...] = ()  # outputs that the settings leave out

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many outputs got which verdict; best first, without those that none got."""
        given = [named.finding.verdict for named in self.findings]
        return {verdict: given.count(verdict) for verdict in ORDER if verdict in given}

    @property
    def same(self) -> bool:
        """Whether nothing differs that matters."""
        return self.verdict in SAME


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The one that decides; identical where there is none."""
    return max(verdicts, key=ORDER.index, default="identical")


class Content(Protocol):
    """One output: a file of a record, or a member of an archive. Read as a stream."""

    @property
    def name(self) -> str:
        """Its path as it is shown; the ending says the format."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def path(self) -> str | None:
        """Where it lies as a regular file on this host; None inside an archive."""
        ...

    def open(self) -> BinaryIO:
        """A fresh stream from its first byte."""
        ...


Comparator = Callable[[Content, Content, Settings], Finding]
"""Compares two outputs of one format whose bytes differ. Raises `Unreadable` for what is none."""


class Unreadable(Exception):
    """One of the two is not of its format, or damaged: the bytes decide. The text says which."""
