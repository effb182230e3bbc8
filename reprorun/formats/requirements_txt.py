"""requirements.txt, and the files that it includes, flattened."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from reprorun.errors import UsageError
from reprorun.formats import tree
from reprorun.formats.collect import collect
from reprorun.formats.line import Line, parse
from reprorun.formats.options import (
    PER_REQUIREMENT,
    Option,
    as_uv_flags,
    merged,
    split_option,
)
from reprorun.formats.target import Target
from reprorun.model import Value, Wanted

_COMMENT = re.compile(r"(^|\s)#.*$")


class Flat(Value, frozen=True, kw_only=True):
    """A requirements.txt with all that it includes."""

    lines: tuple[Line, ...] = ()
    constraints: tuple[Line, ...] = ()
    options: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_requirements(root: str, path: str, target: Target) -> Wanted:
    """What a requirements.txt wants.

    Raises:
        UsageError: it, or a file that it includes, can't be read or followed.
    """
    return wanted_of(root, flatten(root, path), target)


def wanted_of(root: str, flat: Flat, target: Target) -> Wanted:
    """What flattened files want: local projects resolved, all else as uv reads it."""
    found = collect(root, flat.lines, target)
    return Wanted(
        lines=found.lines,
        constraints=tuple(dict.fromkeys(_constraint(line) for line in flat.constraints)),
        options=flat.options,
        paths=found.paths,
        files=tuple(dict.fromkeys((*flat.files, *found.files))),
        notes=(*flat.notes, *found.notes),
    )


def _constraint(line: Line) -> str:
    parts = parse(line)
    if parts.name is None or parts.is_local or parts.extras:
        raise UsageError(f"{line.place}: a constraint is a name with versions, not {line.text!r}.")
    return re.sub(r"\s--hash[=\s]+\S+", "", line.text)


def flatten(root: str, path: str) -> Flat:
    """Read a requirements.txt and what it includes.

    Args:
        root: the repository's root, absolute.
        path: the file, relative to the root.

    Raises:
        UsageError: a file that can't be read or lies outside, or an option that is unknown.
    """
    return flatten_text(root, path, tree.read_text(root, path))


def flatten_text(root: str, path: str, text: str) -> Flat:
    """The same, of text that is already read, such as a list in another kind of file."""
    reading = _Reading(root, os.path.dirname(path))
    reading.read(path, text, constraint=False)
    return reading.result()


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines without comments and continuations, each with the number that it starts at."""
    started = 0
    pieces: list[str] = []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if not pieces:
            started = number
        comment = re.match(r"\s*#", line)
        if line.endswith("\\") and not comment:
            pieces.append(line[:-1])
            continue
        # pip's rule: a comment ends what is continued
        pieces.append(" " + line if comment else line)
        whole = _COMMENT.sub("", "".join(pieces)).strip()
        pieces = []
        if whole:
            yield started, whole
    whole = _COMMENT.sub("", "".join(pieces)).strip()
    if whole:
        yield started, whole


class _Reading:
    """The files that were read so far, and what they say."""

    def __init__(self, root: str, top: str) -> None:
        self._root = root
        self._top = top  # pip runs in the first file's directory: local paths are relative to it
        self._lines: list[Line] = []
        self._constraints: list[Line] = []
        self._options: list[str] = []
        self._files: dict[tuple[str, bool], None] = {}
        self._notes: list[str] = []

    def result(self) -> Flat:
        return Flat(
            lines=tuple(self._lines),
            constraints=tuple(self._constraints),
            options=merged(self._options),
            files=tuple(dict.fromkeys(path for path, _ in self._files)),
            notes=tuple(dict.fromkeys(self._notes)),
        )

    def read(self, path: str, text: str, *, constraint: bool) -> None:
        self._files[path, constraint] = None
        bases = tuple(dict.fromkeys((self._top, os.path.dirname(path), ".")))
        for number, content in logical_lines(text):
            line = Line(text=content, source=path, number=number, bases=bases)
            if content.startswith("-"):
                for text in re.split(r"\s+(?=--[a-z]|-[rceif]\s)", content):
                    self._take_option(_with_text(line, text), constraint)
            else:
                self._add(line, constraint)

    def _add(self, line: Line, constraint: bool) -> None:
        text, ignored = _without_options(line.text)
        if ignored:
            self._notes.append(f"{line.place}: {' '.join(ignored)} is not followed")
        (self._constraints if constraint else self._lines).append(_with_text(line, text))

    def _take_option(self, line: Line, constraint: bool) -> None:
        option = split_option(line)
        if option.name in ("--requirement", "--constraint"):
            self._include(line, option, constraint=option.name == "--constraint")
        elif option.name == "--editable":
            self._add(_with_text(line, option.value), constraint)
        else:
            flags, note = as_uv_flags(self._root, line, option)
            self._options += flags
            self._notes += [note] if note else []

    def _include(self, line: Line, option: Option, *, constraint: bool) -> None:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", option.value):
            raise UsageError(
                f"{line.place}: {option.value} is not in the repository. Download it, put it "
                "beside this file and name it here."
            )
        path = tree.beside(line.source, option.value)
        inside = tree.relative(self._root, path)
        if inside is None:
            raise UsageError(
                f"{line.place}: {option.value} lies outside the repository, so a record could "
                "not hold it. Move it inside."
            )
        if not tree.is_file(self._root, inside):
            raise UsageError(f"{line.place}: it includes {option.value}, and there is no {inside}.")
        if (inside, constraint) not in self._files:  # a second time adds nothing; nor a cycle
            self.read(inside, tree.read_text(self._root, inside), constraint=constraint)


def _with_text(line: Line, text: str) -> Line:
    return Line(text=text, source=line.source, number=line.number, bases=line.bases)


def _without_options(text: str) -> tuple[str, list[str]]:
    """A requirement without the options that follow it, but for its hashes; and those options."""
    pieces = re.split(r"\s+(?=--[a-z])", text)
    kept, ignored = [pieces[0]], []
    for piece in pieces[1:]:
        if piece.startswith(PER_REQUIREMENT):
            ignored.append(piece)
        else:
            kept.append(piece)
    return " ".join(kept), ignored
