"""What is said of a record that does not come out the same: what made the difference."""

from __future__ import annotations

from typing import Literal

from reprorun.model import Value

Kind = Literal["nondeterministic", "factor", "changed", "unknown"]
"""Why a re-run differs.

`nondeterministic`: it differs from run to run with nothing changed. `factor`: it is the same as
long as nothing is changed. `changed`: it comes out the same each time, but not as the original.
`unknown`: nothing that was tried explains it, or the answers contradicted each other.
"""


class Cause(Value, frozen=True, kw_only=True):
    """One thing that makes the difference."""

    factor: str
    words: str  # such as "thread count"
    original: str  # its value in the original, in words
    now: str
    remedy: str  # what to do, in one sentence or two


class Blame(Value, frozen=True, kw_only=True):
    """Why a record does not come out the same."""

    kind: Kind
    causes: tuple[Cause, ...] = ()  # with `factor`: each by itself, unless `together`
    together: bool = False  # only all causes at once make the difference
    runs: int = 0  # that it took to find out
    notes: tuple[str, ...] = ()  # what a reader should know
