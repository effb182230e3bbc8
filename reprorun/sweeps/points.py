"""The points of a sweep, made as they are needed, and what tells two runs apart."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from math import prod
from random import Random
from typing import Any

from reprorun.errors import UsageError
from reprorun.files import digest_of
from reprorun.json_text import canonical
from reprorun.sweeps.values import Axis, Params, PointsSpec, Span

_KEY_LENGTH = 32  # hex digits
_PLACE = re.compile(r"\{([^\W\d]\w*)\}")  # {NAME}


class Points:
    """The points of a sweep, in order; none is made before it is asked for.

    Rows of a file come first, then what goes hand in hand, then the grid: its last parameter turns
    fastest. A sample is in the order of the whole.

    Args:
        spec: which points.

    Raises:
        UsageError: there are no such points, too many, or fewer than a sample wants.
    """

    def __init__(self, spec: PointsSpec) -> None:
        self._spec = spec
        self._rows = spec.listed or ({},)
        self._zipped = {name: values_of(name, axis) for name, axis in spec.zipped.items()}
        self._grid = {name: values_of(name, axis) for name, axis in spec.grid.items()}
        self._zip_length = common_length(self._zipped)
        self._total = prod(
            (len(self._rows), self._zip_length, *(len(values) for values in self._grid.values()))
        )
        _check_number(spec, self._total)

    def __len__(self) -> int:
        return self._total if self._spec.sample is None else self._spec.sample

    def __getitem__(self, number: int) -> Params:
        place = range(len(self))[number]
        return self._at(place if self._spec.sample is None else self._chosen[place])

    def __iter__(self) -> Iterator[Params]:
        return (self[number] for number in range(len(self)))

    @property
    def mixed(self) -> bool:
        """Whether not all points have the same parameters in the same order."""
        return len({tuple(row) for row in self._rows}) > 1

    @cached_property
    def _chosen(self) -> Sequence[int]:
        """The places of a sample in the whole."""
        chosen = Random(self._spec.sample_seed).sample(range(self._total), len(self))
        return sorted(chosen)

    def _at(self, place: int) -> Params:
        turned = []
        for name, values in reversed(self._grid.items()):
            place, index = divmod(place, len(values))
            turned.append((name, values[index]))
        row, index = divmod(place, self._zip_length)
        in_hand = {name: values[index] for name, values in self._zipped.items()}
        return {**self._rows[row], **in_hand, **dict(reversed(turned))}


def values_of(name: str, axis: Axis) -> Sequence[Any]:
    """The values of a parameter, in order.

    Raises:
        UsageError: there are none, or more than can be counted.
    """
    try:
        values = _numbers(name, axis) if isinstance(axis, Span) else axis
        if len(values) > 0:
            return values
    except OverflowError:
        raise _too_many() from None
    raise UsageError(f"{name} has no values: a sweep needs one at least.")


def _numbers(name: str, span: Span) -> range:
    first, last, step = span.range
    if step == 0:
        raise UsageError(f"{name}: a range with a step of 0 comes nowhere.")
    return range(first, last + (1 if step > 0 else -1), step)


def common_length(zipped: dict[str, Sequence[Any]]) -> int:
    """How many values each of the parameters has that go hand in hand; 1 where there are none.

    Raises:
        UsageError: one has more than another.
    """
    lengths = {name: len(values) for name, values in zipped.items()}
    for name, length in lengths.items():
        first = next(iter(lengths))
        if length != lengths[first]:
            raise UsageError(
                f"--zip: {first} has {lengths[first]:,} values and {name} {length:,}. They go hand "
                "in hand: give as many of each, or --grid for every combination."
            )
    return next(iter(lengths.values()), 1)


def _check_number(spec: PointsSpec, total: int) -> None:
    if not (spec.listed or spec.zipped or spec.grid):
        raise UsageError(
            "a grid of nothing: say what differs between the runs, such as --grid seed=0..9, "
            "or with --zip or --from-file."
        )
    if total > sys.maxsize:
        raise _too_many()
    if spec.sample is not None and not 0 < spec.sample <= total:
        raise UsageError(
            f"--sample {spec.sample}: the sweep has {total:,} points; give a number from 1 to that."
        )


def _too_many() -> UsageError:
    return UsageError(
        f"that is more than {sys.maxsize:,} points, even before --sample. Give fewer values."
    )


# ---------------------------------------------------------------- what a run is called with


def fill(args: Sequence[str], params: Params) -> tuple[tuple[str, ...], Params]:
    """Arguments with the values of parameters in them, and the parameters that no argument names.

    `{NAME}` stands for the value of a parameter: text as it is, all else as JSON. Braces around
    anything else stay, and so do those that come out of a value.

    Args:
        args: as the user typed them.
        params: of one point.
    """

    def value(match: re.Match[str]) -> str:
        return _as_argument(params[match[1]]) if match[1] in params else match[0]

    named = _named(args)
    rest = {name: value for name, value in params.items() if name not in named}
    return tuple(_PLACE.sub(value, arg) for arg in args), rest


def refuse_unfilled(args: Sequence[str], spec: PointsSpec) -> None:
    """Raise UsageError where an argument names a parameter that only some points have."""
    for name in sorted(_named(args)):
        lacking = [row for row in spec.listed if name not in row]
        if 0 < len(lacking) < len(spec.listed):
            raise UsageError(
                f"an argument holds {{{name}}}, but {len(lacking):,} of {len(spec.listed):,} rows "
                f"of the file say nothing of {name}. Give it in every row."
            )


def _named(args: Sequence[str]) -> set[str]:
    return {name for arg in args for name in _PLACE.findall(arg)}


def _as_argument(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def key(params: Params, args: Sequence[str]) -> str:
    """What tells runs of a sweep apart: a digest of their parameters and arguments."""
    return digest_of(canonical(params), canonical(list(args)))[:_KEY_LENGTH]
