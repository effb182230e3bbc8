"""docs/guide.md names every flag of every command, and none that there is not."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from reprorun.cli import COMMANDS

GUIDE = (Path(__file__).parents[3] / "docs/guide.md").read_text()
NAMED = frozenset(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", GUIDE, re.IGNORECASE))
OTHERS = frozenset({  # of pip, pytest, Ray, and of the guide's own examples
    "--index-url", "--junitxml", "--num-gpus", "--reprorun", "--reprorun-args",
    "--reprorun-engine", "--seed",
})  # fmt: skip


def flags(name: str) -> list[tuple[str, ...]]:
    """The spellings of each flag of a command."""
    found = vars(import_module(COMMANDS[name][0])).values()
    (command,) = {each for each in found if isinstance(each, click.Command) and each.name == name}
    options = (each for each in command.params if isinstance(each, click.Option))
    return [(*option.opts, *option.secondary_opts) for option in options]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_flag_is_named(name: str) -> None:
    assert [spellings for spellings in flags(name) if not NAMED.intersection(spellings)] == []
    assert f"reprorun {name}" in GUIDE


def test_no_other_flag_is_named() -> None:
    known = {spelling for name in COMMANDS for each in flags(name) for spelling in each}
    long = {name for name in NAMED if name.startswith("--")}
    assert long - known == OTHERS | {"--help"}
