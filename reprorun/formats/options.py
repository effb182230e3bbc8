"""The options of a requirements.txt, as uv spells them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from urllib.parse import quote

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.line import Line
from reprorun.model import Value

PER_REQUIREMENT = ("--config-setting", "--global-option", "--install-option", "--build-option")
"""How options begin that follow a requirement and tell how it is to be built."""

_SHORT = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-i": "--index-url",
    "-f": "--find-links",
}
_SAME = {"--pypi-url": "--index-url"}
_INCLUDING = ("--requirement", "--constraint", "--editable")
_WITH_VALUE = {  # pip's name: uv's
    "--index-url": "--default-index",
    "--trusted-host": "--allow-insecure-host",
    "--only-binary": "--only-binary",
}
_PLAIN = {"--pre": ("--prerelease", "allow"), "--no-index": ("--no-index",)}
_NOT_FOLLOWED = {  # with a value or without
    "--no-binary": True,
    "--prefer-binary": False,
    "--require-hashes": False,
    "--use-feature": True,
    "--process-dependency-links": False,
    "--allow-external": True,
    "--allow-unverified": True,
    "--always-unzip": False,
    "--no-build-isolation": False,
}


class Option(Value, frozen=True, kw_only=True):
    """An option by its long name."""

    name: str
    value: str = ""


def split_option(line: Line) -> Option:
    """Which option a line holds.

    Raises:
        UsageError: none that pip knows, or one without its value.
    """
    name, value = _split(line)
    name = _SAME.get(name, name)
    takes_value = (
        name in _INCLUDING
        or name in _WITH_VALUE
        or name in ("--extra-index-url", "--find-links")
        or _NOT_FOLLOWED.get(name, False)
    )
    if not takes_value and name not in _PLAIN and name not in _NOT_FOLLOWED:
        raise UsageError(f"{line.place}: {name} is no option of a requirements file.")
    if takes_value and not value:
        raise UsageError(f"{line.place}: {name} has no value.")
    return Option(name=name, value=_unquoted(line, value) if takes_value else "")


def _split(line: Line) -> tuple[str, str]:
    short = re.match(r"(-[a-z])\s*=?\s*(.*)", line.text, re.DOTALL)
    if short and short[1] in _SHORT and not line.text.startswith("--"):
        return _SHORT[short[1]], short[2].strip()
    name, _, value = re.sub(r"[\s=]", "\0", line.text, count=1).partition("\0")
    return name, value.strip()


def _unquoted(line: Line, value: str) -> str:
    if not any(mark in value for mark in "\"'\\"):
        return value
    try:
        return " ".join(shlex.split(value))
    except ValueError as error:
        raise UsageError(f"{line.place}: {line.text!r} can't be read: {error}.") from error


def as_uv_flags(root: str, line: Line, option: Option) -> tuple[tuple[str, ...], str | None]:
    """uv's flags for an option, and a note for one that is not followed.

    pip takes the best version among all indexes. uv stops at the first index that has the
    package, so an extra index comes with uv's name for pip's way.
    """
    if option.name in _PLAIN:
        return _PLAIN[option.name], None
    if option.name == "--extra-index-url":
        return ("--index", option.value, "--index-strategy", "unsafe-best-match"), None
    if option.name == "--find-links":
        return ("--find-links", _links(root, line, option.value)), None
    if option.name in _WITH_VALUE:
        return (_WITH_VALUE[option.name], option.value), None
    told = f"{option.name} {option.value}".strip()
    return (), f"{line.place}: {told} is not followed"


_ONCE = ("--default-index", "--index-strategy", "--prerelease")


def merged(flags: Iterable[str]) -> tuple[str, ...]:
    """The flags without repetition; of those that uv takes once only, the last, as for pip."""
    found: dict[tuple[str, ...], None] = {}
    words = iter(flags)
    for word in words:
        flag = (word,) if word == "--no-index" else (word, next(words, ""))
        if word in _ONCE:
            found = {kept: None for kept in found if kept[0] != word}
        found[flag] = None
    return tuple(word for flag in found for word in flag)


def _links(root: str, line: Line, value: str) -> str:
    """A page or directory of links: an address as it is, a path absolute."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value) and not value.startswith("file://"):
        return value
    given = value.removeprefix("file://")
    for base in (os.path.dirname(line.source), *line.bases):
        path = tree.relative(root, os.path.join(base, given))
        if path is not None and os.path.exists(os.path.join(root, path)):
            full = os.path.normpath(os.path.join(root, path))
            return "file://" + quote(full) if value.startswith("file://") else full
    raise UsageError(
        f"{line.place}: there is no {value} in the repository to find packages in. "
        "Put the files there, or name an address."
    )
