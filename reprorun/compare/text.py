"""Text and logs compared line by line: volatile parts aside, numbers within tolerance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from typing import BinaryIO

from msgspec.structs import replace

from reprorun.compare.bytes import first_difference
from reprorun.compare.content import PIECE
from reprorun.compare.numbers import Numbers, cut
from reprorun.compare.registry import HEAD, looks_like_text
from reprorun.compare.values import Content, Divergence, Finding, Settings, Unreadable
from reprorun.compare.volatile import NUMBER, VolatileTally, number_of, of_one_kind, side_by_side

LONGEST = 1 << 20  # bytes of a line; what is longer is compared in pieces
_END = "end of the file"


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two texts. The first line that differs ends it, for after that nothing aligns."""
    comparison = TextComparison(settings, a.name)
    start, number = common_start(a, b)
    with a.open() as one, b.open() as other:
        for file in (one, other):
            _refuse_binary(file)
            file.seek(start)
        for line, twin in zip_longest(_lines(one), _lines(other)):
            number += 1
            if line != twin and not comparison.lines(line, twin, f"line {number}"):
                break
    return comparison.finding("text")


class TextComparison:
    """Compares texts piece by piece and keeps what was found."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.numbers = Numbers(settings.tolerance_of(name))
        self.volatile = VolatileTally()
        self._line: Divergence | None = None

    def lines(self, line: bytes | None, twin: bytes | None, where: str) -> bool:
        """Compare two lines; None stands for the end of the file.

        Returns:
            Whether the lines after these are still worth a look.
        """
        if line is None or twin is None:
            self._line = Divergence(where=where, original=_shown(line), now=_shown(twin))
            return False
        if self.texts(_decoded(line), _decoded(twin), where):
            return True
        self._line = Divergence(where=where, original=_shown(line), now=_shown(twin))
        return False

    def texts(self, one: str, other: str, where: str) -> bool:
        """Compare two texts of one line that differ; False where more than numbers differs."""
        one, other = self._without_line_end(one, other)
        one, other = self._as_on_screen(one, other)
        pairs = side_by_side(one, other)
        if pairs is None:
            return False
        self.volatile.add_all(pairs)
        before = ""
        for ours, theirs in pairs:
            if ours.kind == NUMBER:
                self._number(ours.text, theirs.text, partial(_place, where, before))
            before = ours.text
        return True

    def finding(self, comparator: str) -> Finding:
        """What is said of the whole."""
        volatile = self.volatile.result()
        aside = ", ".join(f"{entry.count} {entry.what}" for entry in volatile)
        found = self.numbers.finding(
            comparator, volatile=volatile, equal=f"but for what differs from run to run: {aside}"
        )
        if self._line is None:
            return found
        reason = "the lines differ"
        if self._line.now == _END:
            reason = "lines are missing at the end"
        elif self._line.original == _END:
            reason = "there are more lines at the end"
        if found.verdict == "different":  # in its numbers, and that was earlier
            return replace(found, notes=(f"from {self._line.where} on {reason}",))
        return replace(found, verdict="different", reason=reason, divergence=self._line)

    def _number(self, one: str, other: str, where: Callable[[], str]) -> None:
        a, b = number_of(one), number_of(other)
        if a is None or b is None:  # neither would have been a token of a number
            self.numbers.mismatch(where, one, other)
            return
        if a != b:  # 1 and 0.99 may be printed so by one and the same program
            a, b = of_one_kind(a, b)
        self.numbers.number(a, b, where)

    def _without_line_end(self, one: str, other: str) -> tuple[str, str]:
        bare = one.rstrip("\r\n"), other.rstrip("\r\n")
        ends = one[len(bare[0]) :], other[len(bare[1]) :]
        if ends[0] != ends[1]:
            words = [repr(end)[1:-1] or "none" for end in ends]
            self.volatile.add("line end", words[0], words[1])
        return bare

    def _as_on_screen(self, one: str, other: str) -> tuple[str, str]:
        """What is left of a line that was written over again and again, as progress bars are."""
        if "\r" not in one and "\r" not in other:
            return one, other
        shown = [[part for part in text.split("\r") if part.strip()] for text in (one, other)]
        last = [parts[-1] if parts else "" for parts in shown]
        if shown[0][:-1] != shown[1][:-1]:
            counts = [f"{len(parts)} states" for parts in shown]
            self.volatile.add("progress bar", counts[0], counts[1])
        return last[0], last[1]


def _place(where: str, before: str) -> str:
    """Where a number stands: its line, and the word before it."""
    words = before.split()
    return f"{where}, after {words[-1][-40:]!r}" if words else where


# ---------------------------------------------------------------- lines


def common_start(a: Content, b: Content) -> tuple[int, int]:
    """Where the last line begins that all before is the same, and how many lines that are."""
    difference = first_difference(a, b)
    left = difference.offset if difference else a.size
    start, number, offset = 0, 0, 0
    with a.open() as file:
        while left > 0:
            piece = file.read(min(PIECE, left))
            if not piece:
                break
            number += piece.count(b"\n")
            last = piece.rfind(b"\n")
            if last >= 0:
                start = offset + last + 1
            offset += len(piece)
            left -= len(piece)
    return start, number


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(LONGEST):
        yield line


def _decoded(line: bytes) -> str:
    return line.decode(errors="backslashreplace")


def _shown(line: bytes | None) -> str:
    return _END if line is None else cut(_decoded(line).rstrip("\r\n"))


def _refuse_binary(file: BinaryIO) -> None:
    start = file.read(HEAD)
    if not looks_like_text(start) and b"\0" in start:
        raise Unreadable("it is no text")
