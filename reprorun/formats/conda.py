"""environment.yml: its Python, its pip packages, and those conda packages that an index has too."""

from __future__ import annotations

import re
from typing import Any

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.conda_names import PLUMBING, RENAMED, SAME
from reprorun.formats.requirements_txt import flatten_text, wanted_of
from reprorun.formats.shapes import items, table, text, texts
from reprorun.formats.target import Target
from reprorun.model import Value, Wanted

_NOT_PACKAGES = {"python", "pip", "setuptools", "wheel"}
_SPEC = re.compile(r"(?:[\w./:-]+::)?([A-Za-z0-9_][A-Za-z0-9._-]*)\s*(.*)", re.DOTALL)
_IN_BRACKETS = re.compile(r"""\s*(\w+)\s*=\s*(?:'([^']*)'|"([^"]*)"|([^\s,'"\[\]]+))\s*(?:,|$)""")
_LEFT_OUT = {"build", "build_number", "channel", "subdir"}  # in brackets; an index has none
_ADVICE = (
    "Move them under `pip:`, name system packages in an apt.txt, or give a Dockerfile with --file."
)


class Spec(Value, frozen=True, kw_only=True):
    """One conda package: `numpy=1.21`, `numpy 1.21.2 py39_0`, `numpy[version='>=1.2,<2']`."""

    name: str
    versions: str = ""  # as PEP 440 spells them


def read_conda(root: str, path: str, target: Target) -> Wanted:
    """What an environment.yml wants.

    Raises:
        UsageError: it can't be read, or has packages that only conda has; all are named.
    """
    specs, pip = _dependencies(root, path)
    lines, notes = _translated(specs, path)
    pip_lines = "\n".join(pip)
    found = wanted_of(root, flatten_text(root, path, pip_lines), target)
    return Wanted(
        lines=(*lines, *found.lines),
        constraints=found.constraints,
        options=found.options,
        paths=found.paths,
        files=found.files,
        notes=(*notes, *found.notes),
    )


def python_of(root: str, path: str) -> str | None:
    """The Python that an environment.yml pins, X.Y."""
    pinned = re.match(r"(?:==|~=)(3\.\d+)", _python_versions(root, path))
    return pinned[1] if pinned else None


def python_range_of(root: str, path: str) -> str | None:
    """The Pythons that an environment.yml allows, as PEP 440 spells them.

    None where it says nothing, or pins one: of that, `python_of` has the X.Y, which is all that
    the names of base images have.
    """
    versions = _python_versions(root, path)
    return None if re.match(r"==3\.\d", versions) else versions or None


def _python_versions(root: str, path: str) -> str:
    specs, _ = _dependencies(root, path)
    return next((spec.versions.strip(",") for spec in specs if spec.name == "python"), "")


def _dependencies(root: str, path: str) -> tuple[list[Spec], tuple[str, ...]]:
    """The conda packages and the lines of the `pip:` list."""
    content = _content(root, path)
    specs: list[Spec] = []
    pip: list[str] = []
    for entry in items(content.get("dependencies"), path, "dependencies"):
        if isinstance(entry, dict):
            below = table(entry, path, "a dependency")
            if set(below) != {"pip"}:
                raise UsageError(f"{path}: of lists in dependencies, only `pip:` is known.")
            pip += texts(below["pip"], path, "pip")
        else:
            specs.append(_spec(text(entry, path, "a dependency"), path))
    return specs, tuple(pip)


def _content(root: str, path: str) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(tree.read_text(root, path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} can't be read: {reason}") from error
    return table(content, path, "it")


def _spec(entry: str, path: str) -> Spec:
    outside, opened, brackets = entry.strip().partition("[")
    found = _SPEC.fullmatch(outside.strip())
    if not found or (opened and not brackets.endswith("]")):
        raise UsageError(f"{path}: {entry!r} is no package as conda names them.")
    written = _in_brackets(brackets[:-1], found[2], entry, path) if opened else found[2]
    return Spec(name=found[1].lower(), versions=_versions(written, entry, path))


def _in_brackets(brackets: str, outside: str, entry: str, path: str) -> str:
    """The versions of `[version='>=1.2', build=py39_0]`, else those that stand outside.

    Raises:
        UsageError: what is in the brackets can't be read, or names more than an index has.
    """
    named: dict[str, str] = {}
    rest = brackets.strip()
    while rest:
        one = _IN_BRACKETS.match(rest)
        if not one:
            raise UsageError(f"{path}: what is in the brackets of {entry!r} can't be read.")
        named[one[1]] = one[2] or one[3] or one[4] or ""
        rest = rest[one.end() :]
    unknown = set(named) - _LEFT_OUT - {"version"}
    if unknown or (outside and "version" in named):
        raise UsageError(
            f"{path}: of {entry!r}, only a version can be had from a package index, and one alone."
        )
    return named.get("version", outside)


def _versions(written: str, entry: str, path: str) -> str:
    """conda's versions in the spelling of PEP 440; the build's name is left out."""
    written = written.strip()
    plain = re.fullmatch(r"(={0,2})\s*([^\s=<>!~,|*]+)(\*|\.\*)?(?:(?:=|\s+)\S+)?", written)
    if plain:
        return _plain(
            plain[1], plain[2], plain[3], built=bool(re.search(r"[^=]=|\S\s+\S", written))
        )
    if written in ("", "*", "=*", "==*"):
        return ""
    if "|" in written:
        raise UsageError(f"{path}: {entry!r} has alternatives, which PEP 508 has not. Choose one.")
    return ",".join(_one(part, entry, path) for part in written.split(","))


def _plain(operator: str, version: str, wildcard: str | None, *, built: bool) -> str:
    """`=1.2` means 1.2 and all below it, `==1.2` and `=1.2=build` that one."""
    version = version.rstrip(".")
    exact = operator == "==" or (built and not wildcard) or (operator == "" and not wildcard)
    return f"=={version}" if exact else f"=={version}.*"


def _one(part: str, entry: str, path: str) -> str:
    part = part.strip()
    found = re.fullmatch(r"(>=|<=|==|!=|~=|<|>|=)?\s*([0-9][0-9A-Za-z.!+_]*?)(\.?\*)?", part)
    if part == "*":
        return ""
    if not found:
        raise UsageError(f"{path}: the versions of {entry!r} can't be read.")
    operator, version, wildcard = found[1] or "", found[2], found[3]
    if operator in ("", "="):
        return _plain(operator, version, wildcard, built=False)
    if wildcard and operator in ("==", "!="):
        version += ".*"
    return f"{operator}{version}"


def _translated(specs: list[Spec], path: str) -> tuple[list[str], list[str]]:
    """The conda packages as an index knows them, with notes.

    Raises:
        UsageError: some are known to conda only.
    """
    lines, renamed, left_out, unknown = [], [], [], []
    for spec in specs:
        if spec.name in _NOT_PACKAGES:
            continue
        if spec.name in PLUMBING:
            left_out.append(spec.name)
        elif spec.name in RENAMED:
            renamed.append(f"{spec.name} as {RENAMED[spec.name]}")
            lines.append(RENAMED[spec.name] + spec.versions.strip(","))
        elif spec.name in SAME:
            lines.append(spec.name + spec.versions.strip(","))
        else:
            unknown.append(spec.name)
    if unknown:
        raise UsageError(f"{path}: known to conda only: {', '.join(unknown)}.\n{_ADVICE}")
    notes = []
    if renamed:
        notes.append(f"{path}: taken from the package index: {', '.join(renamed)}")
    if left_out:
        notes.append(f"{path}: left out, as wheels bring their own: {', '.join(left_out)}")
    return lines, notes
