"""What a task tells the submitting machine, as JSON: nothing from a container is ever unpickled.

A task gives `Began`, then `Came`, then the pieces of a tree where one comes back, and an empty
piece at the end. What does not end so has not come.
"""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

from reprorun import errors
from reprorun.errors import EngineError, ReprorunError
from reprorun.model import Value

PROTOCOL = 2
"""Version of all that passes between the machines."""

END = b""

T = TypeVar("T")
_KINDS: dict[str, type[ReprorunError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ReprorunError)
}


class Problem(Value, frozen=True, kw_only=True):
    """An error of ours that happened on a node."""

    kind: str  # its name in `reprorun.errors`
    text: str


class Began(Value, frozen=True, kw_only=True):
    """A task has been placed on a node."""

    node: str


class Came(Value, frozen=True, kw_only=True):
    """What came of a task."""

    problem: Problem | None = None
    tree: bool = False  # a directory follows
    run_id: str | None = None  # of the record that it is
    exit_code: int = 0
    refusal: str | None = None
    check: str | None = None  # the JSON of what a check says
    interrupted: bool = False


def encode(value: Value) -> bytes:
    """A message as JSON, in ASCII: names that are no UTF-8 stand in it as lone surrogates."""
    return json.dumps(msgspec.to_builtins(value)).encode()


def decode(data: bytes, kind: type[T]) -> T:
    """A message of that kind.

    Raises:
        EngineError: it is none.
    """
    try:
        return msgspec.convert(json.loads(data), kind)
    except (ValueError, RecursionError) as error:  # msgspec's own are ValueErrors
        raise EngineError(f"a node answered what can't be understood: {error}") from error


def problem_of(error: ReprorunError, node: str) -> Problem:
    """An error as it travels, with the node where it happened."""
    return Problem(kind=type(error).__name__, text=f"on node {node}: {error}")


def error_of(problem: Problem) -> ReprorunError:
    """The same error, on the submitting machine."""
    return _KINDS.get(problem.kind, EngineError)(problem.text)
