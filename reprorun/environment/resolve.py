"""Resolving with uv: requirement lines in, one exact candidate a package out.

Nothing of a package is run on the host. Where only source is offered, uv is told what that
package needs instead of building it: nothing at first, and what its wheel says once it is built.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from reprorun import files
from reprorun.environment.credentials import expanded, has_variable
from reprorun.environment.uv import UvFailed, for_image, run_uv
from reprorun.environment.uv_answer import Resolution, normal_name, read_answer
from reprorun.environment.uv_settings import uv_settings
from reprorun.environment.wheel_file import WheelMetadata
from reprorun.errors import LockFailed
from reprorun.model import BaseImage, Wanted

# How uv says that it may not build: by name from an index, or from an address.
_NO_WHEEL = re.compile(
    r"Wheels are required for `([^`]+)` because building from source is disabled"
)
_NO_BUILD = re.compile(r"Building source distributions for `([^`]+)` is disabled")
_BAD_METADATA = re.compile(r"Metadata for `([^`]+)` \([^)]*\) could not be parsed")
_UNREACHABLE = re.compile(r"error sending request|dns error|tcp connect error")
_UNBUILT_VERSION = "9999"  # of what has an address; newer than whatever another package asks for
_MOST_ROUNDS = 50
# an extra that wants something at an address that names no archive, which uv does not take
_EXTRA_OF_ADDRESS = re.compile(
    r"@\s*https?://\S+(?<!\.zip)(?<!\.gz)(?<!\.whl)(?<!\.bz2)(?<!\.xz)(?<!\.tgz)\s*;"
    r".*\bextra\s*==\s*['\"]([^'\"]+)['\"]"
)


class IndexUnreachable(LockFailed):
    """An index did not answer."""


def resolve(
    wanted: Wanted,
    root: str,
    base: BaseImage,
    built: Collection[tuple[str, WheelMetadata]],
    *,
    as_of: str | None,
    offline: bool,
    foreign: bool = False,
) -> Resolution:
    """Choose a version and a file for each package.

    Args:
        wanted: what is asked for.
        root: the repository's root, absolute.
        base: the image that the packages must fit.
        built: name, and what a wheel says that was built from source.
        as_of: ISO date; packages of that day.
        offline: open no connection.
        foreign: the files below the root came out of a record.

    Raises:
        LockFailed: with uv's explanation.
    """
    with files.scratch_directory(passing=True) as scratch:
        options, variables = told_in_private(wanted.options)
        command = _command(wanted, options, root, base, scratch, as_of)
        cwd = os.path.dirname(os.path.join(root, wanted.project)) if wanted.project else root
        asking = _Asking(command, variables, built, scratch, cwd, foreign)
        printed, from_cache = asking.answer(offline)
    resolution = read_answer(printed, cwd, base, wanted)
    return msgspec.structs.replace(resolution, from_cache=from_cache)


_INDEX_VARIABLES = {
    "--default-index": "UV_DEFAULT_INDEX",
    "--index": "UV_INDEX",
    "--find-links": "UV_FIND_LINKS",
}


def told_in_private(options: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The options for the command line, and variables in place of those that hold `${NAME}`.

    uv fills these in where it reads a file itself. Filled in on the command line, they would be
    there for everybody on this machine to read.
    """
    private = {
        flag
        for flag, value in pairwise(options)
        if flag in _INDEX_VARIABLES and has_variable(value)
    }
    left, variables, words = [], dict[str, str](), iter(options)
    for word in words:
        if word in private:
            name, value = _INDEX_VARIABLES[word], expanded(next(words))
            variables[name] = f"{variables[name]} {value}" if name in variables else value
        else:
            left.append(word)
    return left, variables


def _command(
    wanted: Wanted,
    options: Iterable[str],
    root: str,
    base: BaseImage,
    scratch: str,
    as_of: str | None,
) -> list[str]:
    words = ["pip", "compile", "--format", "pylock.toml", "--no-header", "--no-annotate"]
    if wanted.project:
        words.append(os.path.join(root, wanted.project))
    if wanted.lines or not wanted.project:
        words.append(_write(scratch, "wanted.txt", wanted.lines))
    if wanted.constraints:
        words += ["--constraint", _write(scratch, "constraints.txt", wanted.constraints)]
    if wanted.exact:
        words.append("--no-deps")
    if as_of:
        words += ["--exclude-newer", as_of]
    return [*words, *options, *for_image(base)]


def _write(directory: str, name: str, lines: Iterable[str]) -> str:
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


class _Asking(NamedTuple):
    """A question to uv.

    Args:
        command: without what the answers so far have made necessary.
        variables: for uv's environment.
        built: name, and what a wheel says that was built from source.
        scratch: a directory for settings.
        cwd: where uv runs.
        foreign: what lies there came out of a record.
    """

    command: list[str]
    variables: dict[str, str]
    built: Collection[tuple[str, WheelMetadata]]
    scratch: str
    cwd: str
    foreign: bool

    def answer(self, offline: bool) -> tuple[str, bool]:
        """uv's; where the index gives none, from what uv has kept of it, if that is enough."""
        try:
            return self._compile(offline), False
        except IndexUnreachable as unreachable:
            try:
                return self._compile(offline=True), True
            except UvFailed:
                raise unreachable from None

    def _compile(self, offline: bool) -> str:
        """uv's answer, asked again for as long as it finds one more package without a wheel."""
        offered: set[str] = set()  # names of which an index offers only source
        addressed: set[str] = set()  # names that have an address of their own
        for _ in range(_MOST_ROUNDS):
            try:
                told = self._told(offered, addressed)
                return run_uv(told, offline=offline, cwd=self.cwd, variables=self.variables)
            except UvFailed as failure:
                if _UNREACHABLE.search(failure.said) and not offline:
                    raise IndexUnreachable(str(failure)) from failure
                more = _without_wheel(failure.said) - offered
                direct = {normal_name(name) for name in _NO_BUILD.findall(failure.said)} - addressed
                if not more and not direct:
                    raise
                offered |= more
                addressed |= direct
        raise LockFailed(
            f"more than {_MOST_ROUNDS} packages have no wheel: {', '.join(sorted(offered))}"
        )

    def _told(self, offered: set[str], addressed: set[str]) -> list[str]:
        """The command, with what uv would have to build in order to know it."""
        if not offered and not addressed and not self.foreign:
            return self.command
        entries: list[dict[str, Any]] = []
        for name in sorted(offered | addressed):
            of_it = sorted((f for each, f in self.built if each == name), key=lambda f: f.version)
            entries += [_metadata(name, found) for found in of_it]
            if name in addressed and not of_it:
                entries.append({"name": name, "version": _UNBUILT_VERSION, "requires-dist": []})
            if name in offered:
                entries.append({"name": name, "requires-dist": []})
        settings = uv_settings(self.cwd, foreign=self.foreign)
        lines = [
            f"{key} = {_toml(value)}"
            for key, value in {**settings, "dependency-metadata": entries}.items()
        ]
        path = _write(self.scratch, "uv.toml", lines)
        no_binary = [word for name in sorted(offered) for word in ("--no-binary", name)]
        return [*self.command, "--config-file", path, *no_binary]


def _without_wheel(said: str) -> set[str]:
    """What is to be built; what says badly what it needs, as some of 2021 do, is read then."""
    names = _NO_WHEEL.findall(said) + _BAD_METADATA.findall(said)
    return {normal_name(name) for name in names}


def _metadata(name: str, found: WheelMetadata) -> dict[str, Any]:
    unknown = {match[1] for line in found.requires if (match := _EXTRA_OF_ADDRESS.search(line))}
    entry = {
        "name": name,
        "version": found.version,
        "requires-dist": [r for r in found.requires if not _EXTRA_OF_ADDRESS.search(r)],
        "provides-extra": [extra for extra in found.extras if extra not in unknown],
    }
    return {**entry, "requires-python": found.requires_python} if found.requires_python else entry


def _toml(value: Any) -> str:
    """A value on one line, as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, bool | int | float | str):
        return json.dumps(value)
    return str(value)  # dates
