"""What the user typed (`--grid`, `--zip`, `--from-file`) -> which points a sweep goes through."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from reprorun.errors import UsageError
from reprorun.json_text import canonical, read_value, refuse_odd_text
from reprorun.sweeps.points import Points, common_length, values_of
from reprorun.sweeps.rows import read_rows
from reprorun.sweeps.values import Axis, Params, PointsSpec, Span

LARGEST_LIST = 1_000_000
"""Numbers that a range among other values may stand for."""

_RANGE = re.compile(r"(-?[0-9]+)\.\.(-?[0-9]+)(?:\.\.(-?[0-9]+))?")
_LIKE_A_RANGE = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\.\.")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)  # quoted text, or one character
_SHOWN = 40  # characters of a value in a message


def parse_points(
    grid: Sequence[str],
    zipped: Sequence[str],
    from_file: str | None,
    sample: int | None,
    sample_seed: int,
    common: Params,
) -> tuple[PointsSpec, tuple[str, ...]]:
    """Which points a sweep goes through, and what the user should know of them.

    Args:
        grid: `NAME=VALUES`, in every combination.
        zipped: `NAME=VALUES`, hand in hand.
        from_file: path of a file with a JSON object a line.
        sample: how many of all these points, chosen at random; None: all.
        sample_seed: chooses them.
        common: parameters that all runs share.

    Raises:
        UsageError: it can't be read, contradicts itself, or there are no such points.
    """
    rows, row_notes = read_rows(from_file) if from_file is not None else ((), ())
    in_hand, combined = _axes("--zip", zipped), _axes("--grid", grid)
    spec, notes = points_of(rows, in_hand, combined, sample, sample_seed, common)
    return spec, (*row_notes, *notes)


def points_of(
    rows: tuple[Params, ...],
    in_hand: dict[str, Axis],
    combined: dict[str, Axis],
    sample: int | None,
    sample_seed: int,
    common: Params,
) -> tuple[PointsSpec, tuple[str, ...]]:
    """The same of values.

    Args:
        rows: one point each.
        in_hand: parameters that go hand in hand.
        combined: parameters in every combination.
        sample: how many of all these points, chosen at random; None: all.
        sample_seed: chooses them.
        common: parameters that all runs share.

    Raises:
        UsageError: it contradicts itself, or there are no such points.
    """
    _refuse_names_in_two_places({
        "-P": common,
        "--from-file": {name for row in rows for name in row},
        "--zip": in_hand,
        "--grid": combined,
    })  # fmt: skip
    in_hand, zip_notes = _each_row_once(in_hand)
    combined, grid_notes = _each_value_once(combined)
    spec = PointsSpec(
        listed=rows, zipped=in_hand, grid=combined, sample=sample, sample_seed=sample_seed
    )
    Points(spec)  # raises where there are none such
    return spec, (*zip_notes, *grid_notes)


def _refuse_names_in_two_places(places: dict[str, Collection[str]]) -> None:
    given: dict[str, str] = {}
    for place, names in places.items():
        for name in names:
            if name in given:
                raise UsageError(
                    f"{name} is given twice, by {given[name]} and by {place}. Leave one of them."
                )
            given[name] = place


# ---------------------------------------------------------------- one option


def _axes(flag: str, texts: Sequence[str]) -> dict[str, Axis]:
    axes: dict[str, Axis] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(
                f"{flag} {_short(text)}: give it as NAME=VALUES, such as seed=0..9 or lr=0.1,0.01."
            )
        if name in axes:
            raise UsageError(
                f"{name} has two {flag} options. Give all of its values in one: {name}=0..9,20"
            )
        axes[name] = _axis(values, f"{flag} {name}")
    return axes


def _axis(text: str, where: str) -> Axis:
    """The values of one option."""
    if not text.strip():
        raise UsageError(
            f"{where}= has no values. Give one at least, or write '\"\"' for the empty text."
        )
    pieces = _split(text, where)
    span = _span(pieces[0], where)
    if span and len(pieces) == 1:
        return span
    return tuple(value for piece in _checked(pieces, where) for value in _values(piece, where))


def _split(text: str, where: str) -> list[str]:
    """The text between commas; those within quotes, brackets and braces don't count."""
    pieces, depth = [""], 0
    for token in _TOKEN.findall(text):
        depth = max(0, depth + (token in "[{") - (token in "]}"))
        if token == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += token
    if depth:
        raise UsageError(f"{where}={_short(text)}: a bracket is opened and not closed.")
    return [piece.strip() for piece in pieces]


def _checked(pieces: list[str], where: str) -> list[str]:
    for piece in pieces:
        name, equals, _ = piece.partition("=")
        if not piece:
            raise UsageError(
                f"{where} has a comma with no value beside it. Write '\"\"' for the empty text."
            )
        if equals and name.isidentifier() and piece != pieces[0]:
            raise UsageError(
                f"{where}: {_short(piece)} looks like another parameter. Give it an option of its "
                f"own, or write '\"{_short(piece)}\"' for the text."
            )
    return pieces


def _values(piece: str, where: str) -> Sequence[Any]:
    span = _span(piece, where)
    if span is None:
        where = f"{where}={_short(piece)}"
        value = read_value(piece, where)
        refuse_odd_text(value, where)
        return (value,)
    numbers = values_of(where, span)
    if len(numbers) > LARGEST_LIST:
        raise UsageError(
            f"{where}: {piece} is too long to stand among other values. Give a range like that "
            "alone."
        )
    return numbers


def _span(piece: str, where: str) -> Span | None:
    """A range such as `0..9` or `0..100..10`; None: it is none."""
    match = _RANGE.fullmatch(piece)
    if not match:
        _refuse_what_is_almost_a_range(piece, where)
        return None
    try:
        first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
    except ValueError:  # thousands of digits
        raise UsageError(f"{where}={_short(piece)}: that is too much of a value.") from None
    if match[3] is None and last < first:
        raise UsageError(
            f"{where}={_short(piece)} is empty, since a range counts upwards. Write "
            f"{last}..{first}, or {first}..{last}..-1 to count down."
        )
    span = Span(range=(first, last, step))
    values_of(f"{where}={_short(piece)}", span)  # raises where there are none
    return span


def _refuse_what_is_almost_a_range(piece: str, where: str) -> None:
    if _LIKE_A_RANGE.match(piece):
        raise UsageError(
            f"{where}={_short(piece)}: a range is of whole numbers, 0..9 or 0..100..10. Write "
            f"other values out, such as 0.1,0.2,0.3, and a text as '\"{_short(piece)}\"'."
        )


# ---------------------------------------------------------------- each point once


def _each_value_once(axes: dict[str, Axis]) -> tuple[dict[str, Axis], list[str]]:
    once: dict[str, Axis] = {}
    notes: list[str] = []
    for name, axis in axes.items():
        once[name] = axis
        if not isinstance(axis, Span):
            texts = [canonical(value) for value in axis]
            once[name] = tuple(axis[index] for index in _firsts(texts))
            notes += _notes(f"{name}: ", texts)
    return once, notes


def _each_row_once(axes: dict[str, Axis]) -> tuple[dict[str, Axis], list[str]]:
    values = {name: values_of(name, axis) for name, axis in axes.items()}
    common_length(values)
    if not axes or any(isinstance(axis, Span) for axis in axes.values()):
        return axes, []  # a range has no number twice
    texts = [
        ", ".join(f"{name}={canonical(value)}" for name, value in zip(values, row, strict=True))
        for row in zip(*values.values(), strict=True)
    ]
    firsts = _firsts(texts)
    once: dict[str, Axis] = {
        name: tuple(column[index] for index in firsts) for name, column in values.items()
    }
    return once, list(_notes("--zip: ", texts))


def _firsts(texts: list[str]) -> list[int]:
    """Where each text stands first."""
    places: dict[str, int] = {}
    for index, text in enumerate(texts):
        places.setdefault(text, index)
    return list(places.values())


def _notes(what: str, texts: list[str]) -> Iterator[str]:
    doubles = [(text, number) for text, number in Counter(texts).items() if number > 1]
    if doubles:
        (text, number), *others = doubles
        times = "twice" if number == 2 else f"{number} times"
        more = f", and {len(others):,} other values more than once" if others else ""
        yield f"{what}{_short(text)} stands {times}{more}; it is run once"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
