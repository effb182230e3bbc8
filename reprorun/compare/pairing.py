"""Which output of one run is which of the other, where names hold a time, a host or a process."""

from __future__ import annotations

import re
from collections.abc import Iterable

_EVENTS = re.compile(r"(?P<directory>.*/)?(?P<before>[^/]*)events\.out\.tfevents\.(?P<rest>[^/]*)")
_KINDS = (".profile-empty", ".v2", ".profile")
_DIGITS = re.compile(r"(\d+)")

Pair = tuple[str | None, str | None]
"""A path of the original and the one that it is compared with; None where there is none."""


def pair_names(names_a: Iterable[str], names_b: Iterable[str]) -> list[Pair]:
    """Pair the outputs of two runs: by their path, event files by directory, kind and order.

    TensorBoard's event files are `events.out.tfevents.TIME.HOST.PID`, with a counter and a kind
    behind in some versions. What they hold is in the order of their times.

    Args:
        names_a: paths of the original's outputs, with `/`.
        names_b: of the other's.

    Returns:
        Every path of both, once, sorted by the original's; what is only in the other comes last.
    """
    mine, theirs = list(names_a), list(names_b)
    same = set(mine) & set(theirs)
    pairs: list[Pair] = [(name, name) for name in same]
    groups_a = _groups(name for name in mine if name not in same)
    groups_b = _groups(name for name in theirs if name not in same)
    for key in [*groups_a, *(key for key in groups_b if key not in groups_a)]:
        pairs += _in_order(groups_a.get(key, []), groups_b.get(key, []))
    return sorted(pairs, key=lambda pair: (pair[0] is None, pair[0] or "", pair[1] or ""))


def _groups(names: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
    """Paths that may be each other's, in order; a group of its own for what is no event file."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(names, key=_order):
        groups.setdefault(_key(name), []).append(name)
    return groups


def _key(name: str) -> tuple[str, ...]:
    match = _EVENTS.fullmatch(name)
    if match is None:
        return (name,)
    kind = next((kind for kind in _KINDS if match["rest"].endswith(kind)), "")
    return (match["directory"] or "", match["before"], kind)


def _order(name: str) -> list[tuple[int, str]]:
    """Numbers in a name count as numbers."""
    parts = _DIGITS.split(name)
    return [(int(part[:300]) if index % 2 else 0, part) for index, part in enumerate(parts)]


def _in_order(mine: list[str], theirs: list[str]) -> list[Pair]:
    common = min(len(mine), len(theirs))
    return [
        *zip(mine[:common], theirs[:common], strict=True),
        *((name, None) for name in mine[common:]),
        *((None, name) for name in theirs[common:]),
    ]
