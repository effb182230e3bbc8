"""What a sweep is made of. `Book` is the schema of `sweep.json`."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from reprorun.model import SchemaMark, Value

EntryStatus = Literal["planned", "running", "finished", "failed", "interrupted", "lost"]
"""How far a run of a sweep has come; `planned`: not begun, or to be begun again."""

Params = dict[str, Any]
"""Parameters by name; the values are JSON."""


class Span(Value, frozen=True, kw_only=True):
    """Whole numbers at equal distances. Kept like this, since there may be very many."""

    range: tuple[int, int, int]  # first, last, step; the last one counts where a step meets it


Axis = tuple[Any, ...] | Span
"""The values of one parameter, in order."""


class PointsSpec(Value, frozen=True, kw_only=True):
    """Which points a sweep goes through: the product of all that is given, in this order.

    No value of the grid, and no row of the others, stands twice; no parameter is given in two
    places.
    """

    listed: tuple[Params, ...] = ()  # --from-file: one point a line
    zipped: dict[str, Axis] = field(default_factory=dict)  # --zip: parameters that go hand in hand
    # --grid: every combination; the last parameter turns fastest
    grid: dict[str, Axis] = field(default_factory=dict)
    sample: int | None = None  # --sample: so many of them, chosen at random
    sample_seed: int = 0


class Ask(Value, frozen=True, kw_only=True):
    """What one run of a sweep asks of a machine."""

    cpus: float = 1.0  # processors
    memory: int | None = None  # bytes; None: it does not say
    gpus: int = 0  # how many; -1: all that there are
    devices: tuple[str, ...] = ()  # these very GPUs, in place of a number
    runs_per_gpu: int = 1  # how many runs may share one


class Machine(Value, frozen=True, kw_only=True):
    """What a machine has."""

    cpus: int
    memory: int  # bytes
    gpus: tuple[str, ...] = ()  # as `--gpus device=` takes them


class Slot(Value, frozen=True, kw_only=True):
    """A place for one run at a time."""

    number: int
    devices: tuple[str, ...] = ()  # the GPUs of the run in it


class Entry(Struct, kw_only=True, gc=False):
    """One run of a sweep. There may be many thousands, so it holds little."""

    status: EntryStatus = "planned"
    log_dir: str | None = None  # of its last attempt, relative to the sweep's directory
    id: str | None = None  # of that record
    exit_code: int | None = None
    seconds: float | None = None
    attempts: int = 0


class Head(Value, frozen=True, kw_only=True):
    """`sweep.json` but for its runs."""

    reprorun: SchemaMark
    sweep: str  # id
    created: str
    ended: str | None = None
    script: str  # as typed
    args: tuple[str, ...] = ()  # `{NAME}` in them stands for the value of a parameter
    cwd: str = "."  # relative to the repository's root
    params: Params = field(default_factory=dict)  # that all runs share
    points: PointsSpec = PointsSpec()
    environment_digest: str = ""
    archive_sha256: str = ""
    githash: str | None = None
    launcher: str = ""
