"""Poetry's way to write versions (`^1.2`, `~1.2`, `1.*`, `a || b`), as PEP 440 and markers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reprorun.errors import UsageError

if TYPE_CHECKING:
    from reprorun.formats.target import Target

_ONE = re.compile(
    r"\s*(\^|~=|~|===|==|=|!=|<>|>=|<=|>|<)?\s*v?(\*|[0-9](?:[0-9A-Za-z!+_-]|\.(?!\*))*(?:\.\*)?)\s*"
)


def alternatives(text: str, place: str) -> list[str]:
    """The version specifiers of each alternative between `||`; "" for any version.

    Raises:
        UsageError: it is no constraint.
    """
    return [_all_of(part, place) for part in re.split(r"\|\|?", text)]


def specifier(text: str, place: str) -> str:
    """The same in one specifier, which PEP 508 has no alternatives in.

    Raises:
        UsageError: it is no constraint, or has alternatives.
    """
    found = alternatives(text, place)
    if "" in found:
        return ""
    if len(found) > 1:
        raise UsageError(
            f"{place}: {text!r} has alternatives, which only poetry resolves. "
            "Run `poetry lock` and keep the poetry.lock."
        )
    return found[0]


def admits(text: str, version: str, place: str) -> bool:
    """Whether a constraint admits a version."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return any(
            SpecifierSet(found).contains(version, prereleases=True)
            for found in alternatives(text, place)
        )
    except (InvalidSpecifier, InvalidVersion) as error:
        raise UsageError(f"{place}: {text!r} can't be read: {error}") from error


def admits_python(text: str | None, target: Target, place: str) -> bool:
    """Whether a constraint on Python admits the target's."""
    return not text or admits(text, target.python, place)


def python_marker(text: str, place: str) -> str:
    """A constraint on Python as a marker; "" for any."""
    found = alternatives(text, place)
    if "" in found:
        return ""
    parts = [" and ".join(_python(one) for one in part.split(",")) for part in found]
    return parts[0] if len(parts) == 1 else " or ".join(f"({part})" for part in parts)


def _python(one: str) -> str:
    taken = re.fullmatch(r"(===|==|!=|>=|<=|~=|>|<)(.*)", one)
    assert taken  # `_all_of` has written it
    operator, version = taken.groups()
    wildcard = version.endswith(".*")
    number = version.removesuffix(".*")
    # python_version is X.Y: only a version of two parts is to be compared with it
    exact = number.count(".") != 1 or operator in (">", "<=", "~=")
    name = "python_full_version" if exact else "python_version"
    return f'{name} {operator} "{version if wildcard and exact else number}"'


def _all_of(text: str, place: str) -> str:
    found: list[str] = []
    rest = text.strip().rstrip(",")
    while rest:
        one = _ONE.match(rest)
        if not one:
            raise UsageError(f"{place}: {text!r} is no version constraint.")
        found += _ranges(one[1] or "", one[2])
        rest = rest[one.end() :].lstrip(", ")
    return ",".join(dict.fromkeys(found))


def _ranges(operator: str, version: str) -> list[str]:
    if version == "*":
        return []
    if operator == "^":
        return [f">={version}", f"<{_caret(version)}"]
    if operator == "~":
        return [f">={version}", f"<{_tilde(version)}"]
    spelled = {"": "==", "=": "==", "<>": "!="}.get(operator, operator)
    if version.endswith(".*") and spelled not in ("==", "!="):
        version = version[:-2]
    return [f"{spelled}{version}"]


def _numbers(version: str) -> list[int]:
    release = re.match(r"(?:\d+!)?(\d+(?:\.\d+)*)", version)
    return [int(part) for part in release[1].split(".")] if release else [0]


def _caret(version: str) -> str:
    """The first version that differs in the leftmost number that is not zero."""
    numbers = _numbers(version)
    index = next((i for i, number in enumerate(numbers) if number), len(numbers) - 1)
    return _bumped(numbers, index)


def _tilde(version: str) -> str:
    return _bumped(_numbers(version), min(1, len(_numbers(version)) - 1))


def _bumped(numbers: list[int], index: int) -> str:
    upper = [*numbers[:index], numbers[index] + 1]
    return ".".join(str(number) for number in upper + [0] * (2 - len(upper)))
