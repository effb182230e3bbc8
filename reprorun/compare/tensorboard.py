"""TensorBoard's event files, by tag and step; wall times and the version line are aside."""

from __future__ import annotations

from array import array
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import Any, BinaryIO

from msgspec.structs import replace

from reprorun.compare.content import BytesContent
from reprorun.compare.events import Reading, Series, read_events, read_reading
from reprorun.compare.numbers import Numbers
from reprorun.compare.registry import compare_member
from reprorun.compare.rich import Parts, Refused, paired, refused
from reprorun.compare.values import SAME, Content, Finding, Settings, Volatile


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two event files. The first divergence is that of the earliest step."""
    try:
        with ExitStack() as opened:
            return _compare(a, b, settings, opened)
    except Refused as error:
        return refused("tensorboard", error)


def _compare(a: Content, b: Content, settings: Settings, opened: ExitStack) -> Finding:
    streams = opened.enter_context(a.open()), opened.enter_context(b.open())
    mine, theirs = read_events(streams[0]), read_events(streams[1])
    parts = Parts("tensorboard", "tag")
    times = _Times()
    for tag, one, other in paired(parts.whole, "tag", mine.series, theirs.series):
        series = _Tag(tag, a.name, settings, streams)
        series.compare(one, other)
        parts.add(tag, series.numbers, series.first_step)
        times.compare(one, other)
    found = parts.finding(
        volatile=times.volatile(), equal="all readings are equal; only wall times or layout differ"
    )
    if mine.cut or theirs.cut:
        which = (
            "both end"
            if mine.cut and theirs.cut
            else "the original ends"
            if mine.cut
            else "it ends"
        )
        found = replace(found, notes=(f"{which} in the middle of a record", *found.notes))
    return found


class _Tag:
    """The readings of one tag."""

    def __init__(
        self, tag: str, name: str, settings: Settings, streams: tuple[BinaryIO, BinaryIO]
    ) -> None:
        self.numbers = Numbers(settings.tolerance_of(name, tag))
        self.first_step = 0
        self._tag = tag
        self._name = name
        self._settings = settings
        self._streams = streams

    def compare(self, a: Series, b: Series) -> None:
        """Compare them, reading by reading."""
        common = _common(a.steps, b.steps)
        if a.places or b.places:
            self._one_by_one(a, b, common)
        else:
            self._scalars(a, b, common)
        if common < max(len(a.steps), len(b.steps)):
            self._ends(a, b, common)

    def _scalars(self, a: Series, b: Series, common: int) -> None:
        self.numbers.array(
            _as_array(a)[:common], _as_array(b)[:common], lambda index: self._where(a.steps[index])
        )
        place = self.numbers.place
        if place is not None:
            self.first_step = a.steps[place]

    def _one_by_one(self, a: Series, b: Series, common: int) -> None:
        for index in range(common):
            before = self.numbers.verdict
            if index in a.places and index in b.places:
                self._reading(a, b, index)
            elif index in a.places or index in b.places:
                kinds = ("scalar", "other") if index in b.places else ("other", "scalar")
                self.numbers.mismatch(self._where(a.steps[index]), *kinds)
            else:
                self.numbers.number(a.scalars[index], b.scalars[index], self._where(a.steps[index]))
            if before != self.numbers.verdict:
                self.first_step = a.steps[index]

    def _ends(self, a: Series, b: Series, common: int) -> None:
        """Note that their steps part, or that one has more of them."""
        ends = [
            f"step {series.steps[common]}" if common < len(series.steps) else "no more steps"
            for series in (a, b)
        ]
        if self.numbers.verdict != "different":
            self.first_step = min(
                series.steps[common] for series in (a, b) if common < len(series.steps)
            )
        self.numbers.mismatch(f"tag {self._tag}, reading {common + 1}", ends[0], ends[1])

    def _where(self, step: int) -> str:
        return f"step {step}, tag {self._tag}"

    def _reading(self, a: Series, b: Series, index: int) -> None:
        one = read_reading(self._streams[0], self._tag, a.places[index])
        other = read_reading(self._streams[1], self._tag, b.places[index])
        where = self._where(a.steps[index])
        if one == other:
            self.numbers.equal(1)
        elif (one.kind, one.shape) != (other.kind, other.shape):
            self.numbers.mismatch(
                where, f"{one.kind} {list(one.shape)}", f"{other.kind} {list(other.shape)}"
            )
        elif len(one.numbers) != len(other.numbers) or len(one.blobs) != len(other.blobs):
            self.numbers.mismatch(where, _length(one), _length(other))
        else:
            self.numbers.array(
                one.numbers, other.numbers, lambda number: f"{where}, element {number}"
            )
            self._blobs(one, other, where)

    def _blobs(self, a: Reading, b: Reading, where: str) -> None:
        for one, other in zip(a.blobs, b.blobs, strict=True):
            if one == other:
                self.numbers.equal(1)
            elif a.kind == "image":
                self._image(one, other, where)
            else:
                self.numbers.number(
                    one.decode(errors="backslashreplace"),
                    other.decode(errors="backslashreplace"),
                    where,
                )

    def _image(self, one: bytes, other: bytes, where: str) -> None:
        """Compare encoded images by what they show."""
        name = f"{self._name}/{self._tag}"
        found = compare_member(
            BytesContent(name=name, data=one), BytesContent(name=name, data=other), self._settings
        )
        if found.verdict in SAME:
            self.numbers.equal(1)
        else:
            self.numbers.mismatch(where, "an image", f"another: {found.reason}")


def _common(one: array[int], other: array[int]) -> int:
    """How many readings at the start are of the same steps."""
    if one == other:
        return len(one)
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _as_array(series: Series) -> Any:
    """As numpy has it where it is there, which is quicker."""
    try:
        import numpy as np
    except ImportError:
        return series.scalars
    return np.frombuffer(series.scalars, np.float64)


def _length(reading: Reading) -> str:
    return f"{len(reading.numbers) + len(reading.blobs)} values"


class _Times:
    """Wall times that differ."""

    def __init__(self) -> None:
        self._count = 0
        self._example = ""

    def compare(self, a: Series, b: Series) -> None:
        """Compare those of one tag."""
        for one, other in zip(a.times, b.times, strict=False):
            if one != other:
                self._count += 1
                self._example = self._example or f"{_shown(one)} / {_shown(other)}"

    def volatile(self) -> tuple[Volatile, ...]:
        """What is said of them."""
        if not self._count:
            return ()
        return (Volatile(what="wall time", count=self._count, example=self._example),)


def _shown(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    except (ValueError, OverflowError, OSError):
        return repr(seconds)
