"""What a report shows beside the verdicts: curves, pictures and code, as they were gathered."""

from __future__ import annotations

from collections.abc import Mapping

from reprorun.model import Value

Point = tuple[float, float]
"""x and y; a y that is NaN or infinite is a gap."""


class Curve(Value, frozen=True, kw_only=True):
    """One series of numbers of the original and of the re-run, thinned out."""

    path: str  # of the output
    name: str  # of the column or tag
    x_name: str  # such as "row", "step"
    original: tuple[Point, ...]
    now: tuple[Point, ...]
    divergence: float  # x of the first value that differs


class Picture(Value, frozen=True, kw_only=True):
    """An image of both runs and their difference, each as a data: address."""

    path: str
    original: str
    now: str
    difference: str


class CodeFile(Value, frozen=True, kw_only=True):
    """A file that the re-run took from a commit, and that the original's archive had otherwise."""

    path: str
    kind: str  # of what the archive did: added, changed, deleted
    facts: tuple[str, ...] = ()
    patch: tuple[str, ...] = ()  # lines of a unified diff


class Exhibits(Value, frozen=True, kw_only=True):
    """What one re-run is shown with."""

    curves: tuple[Curve, ...] = ()
    pictures: tuple[Picture, ...] = ()
    code: tuple[CodeFile, ...] = ()
    notes: tuple[str, ...] = ()  # what could not be shown, and why


Gathered = Mapping[tuple[int, int], Exhibits]
"""By the number of the record and that of its re-run, both from 0."""
