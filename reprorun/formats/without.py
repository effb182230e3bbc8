"""Taking one package out of what an experiment wants: something else stands in for it."""

from __future__ import annotations

from msgspec.structs import replace

from reprorun.errors import UsageError
from reprorun.formats.line import Line, normalized, parse
from reprorun.model import Wanted


def without_package(wanted: Wanted, name: str) -> Wanted:
    """The same packages without one, as far as they are listed.

    What the others need stays as it is, that package included. So does a project whose
    pyproject.toml uv reads by itself.

    Args:
        wanted: the packages.
        name: of the one to leave out, however it is spelled.
    """
    name = normalized(name)
    pinned = wanted.pinned
    return replace(
        wanted,
        lines=tuple(line for line in wanted.lines if _name_of(line) != name),
        constraints=tuple(line for line in wanted.constraints if _name_of(line) != name),
        pinned=pinned and tuple(each for each in pinned if normalized(each.name) != name),
    )


def _name_of(line: str) -> str | None:
    try:
        return parse(Line(text=line, source="")).name
    except UsageError:  # what can't be taken apart here is left to uv
        return None
