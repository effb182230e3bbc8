"""One requirement as a file writes it, taken apart without asking whether the package exists."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from reprorun.errors import UsageError
from reprorun.model import Value

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_NAMED = re.compile(rf"({NAME.pattern})\s*(?:\[([^\]]*)\])?\s*(.*)", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_HASH = re.compile(r"\s--hash[=\s]+(\S+)")
_ARCHIVE = re.compile(r"(.+?)(\.whl|\.tar\.gz|\.zip|\.tar\.bz2|\.tgz|\.tar\.xz|\.tar)$")
_VCS = ("git+", "hg+", "svn+", "bzr+")


class Line(Value, frozen=True, kw_only=True):
    """A requirement as it is written, and where."""

    text: str
    source: str  # file, relative to the root
    number: int = 0  # 0: the file has no lines to speak of
    bases: tuple[str, ...] = (".",)  # directories that its local paths may be relative to

    @property
    def place(self) -> str:
        """The file and line, for messages."""
        return f"{self.source}, line {self.number}" if self.number else self.source


class Parts(Value, frozen=True, kw_only=True):
    """A requirement taken apart. Without a name there is a location."""

    name: str | None  # normalized
    spelled: str = ""  # the name as written
    extras: tuple[str, ...] = ()
    versions: str = ""  # such as ">=1,<2"
    location: str | None = None  # URL or path
    marker: str | None = None
    hashes: tuple[str, ...] = ()  # ALGORITHM:DIGEST

    @property
    def is_vcs(self) -> bool:
        """Whether a version control system has it."""
        return self.location is not None and self.location.lower().startswith(_VCS)

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine."""
        if self.location is None:
            return False
        return self.location.startswith("file:") or not _SCHEME.match(self.location)

    @property
    def label(self) -> str:
        """The name with its extras, as a line begins."""
        return self.spelled + (f"[{','.join(self.extras)}]" if self.extras else "")


def normalized(name: str) -> str:
    """A project's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse(line: Line) -> Parts:
    """Take a requirement apart.

    Raises:
        UsageError: it is neither a name, nor a URL, nor a path.
    """
    text, hashes = _without_hashes(line.text)
    named = _NAMED.match(text)
    if named and named[3].startswith("@"):
        location, marker = _split_marker(named[3][1:].strip())
        return _located(line, location, marker, hashes, named[1], named[2])
    if _looks_like_location(text, line):
        location, marker = _split_marker(text)
        location, extras = _split_extras(location)
        return _located(line, location, marker, hashes, "", extras)
    if not named:
        raise UsageError(f"{line.place}: {text!r} is neither a package's name, nor a URL or path.")
    versions, marker = _split_marker(named[3], plain=True)
    return Parts(
        name=normalized(named[1]),
        spelled=named[1],
        extras=_extras(named[2]),
        versions=" ".join(versions.split()).removeprefix("(").removesuffix(")"),
        marker=marker,
        hashes=hashes,
    )


def with_marker(text: str, marker: str) -> str:
    """A requirement that counts only where a marker holds, besides its own."""
    if not marker:
        return text
    bare = re.sub(r"\s#.*$", "", text)
    requirement, own = _split_marker(bare, plain="://" not in bare)
    return f"{requirement} ; " + (f"({own}) and ({marker})" if own else marker)


def _without_hashes(text: str) -> tuple[str, tuple[str, ...]]:
    hashes = tuple(_HASH.findall(text))
    return _HASH.sub("", text).strip(), hashes


def _looks_like_location(text: str, line: Line) -> bool:
    first = re.split(r"\s|;", text, maxsplit=1)[0]
    return bool(
        _SCHEME.match(first)
        or first.startswith((".", "/", "~"))
        or "/" in first.split("[", 1)[0]
        or _ARCHIVE.match(first)
    )


def _split_marker(text: str, *, plain: bool = False) -> tuple[str, str | None]:
    """What stands before and after the semicolon; in a URL one counts only with a space."""
    pieces = re.split(r"\s*;" if plain else r"\s+;|;\s+", text, maxsplit=1)
    marker = pieces[1].strip() if len(pieces) > 1 else ""
    return pieces[0].strip(), marker or None


def _split_extras(location: str) -> tuple[str, str]:
    found = re.fullmatch(r"(.*?)\s*\[([^\]]*)\]", location, re.DOTALL)
    return (found[1], found[2]) if found and "#" not in location else (location, "")


def _extras(text: str | None) -> tuple[str, ...]:
    return tuple(normalized(extra.strip()) for extra in (text or "").split(",") if extra.strip())


def _located(
    line: Line,
    location: str,
    marker: str | None,
    hashes: tuple[str, ...],
    name: str,
    extras: str | None,
) -> Parts:
    if not location:
        raise UsageError(f"{line.place}: there is no address after {name} @.")
    location, egg, fragment_hashes = _without_egg(location)
    if egg and not name:
        named = _NAMED.fullmatch(egg)
        name, extras = (named[1], named[2] or extras) if named else (name, extras)
    name = name or name_of_archive(location)
    return Parts(
        name=normalized(name) if name else None,
        spelled=name,
        extras=_extras(extras),
        location=location,
        marker=marker,
        hashes=hashes or fragment_hashes,
    )


def _without_egg(location: str) -> tuple[str, str, tuple[str, ...]]:
    """The address without `egg=` and hashes in its fragment; the egg; the hashes."""
    address, _, fragment = location.partition("#")
    kept, egg, hashes = [], "", []
    for piece in fragment.split("&"):
        key, _, value = piece.partition("=")
        if key == "egg":
            egg = unquote(value)
        elif key in ("sha256", "sha384", "sha512"):
            hashes.append(f"{key}:{value}")
        elif piece:
            kept.append(piece)
    return address + ("#" + "&".join(kept) if kept else ""), egg, tuple(hashes)


def file_name(location: str) -> str:
    """The last part of a URL or path."""
    if _SCHEME.match(location):
        location = re.split(r"[?#]", location, maxsplit=1)[0]
    return os.path.basename(unquote(location))


def name_of_archive(location: str) -> str:
    """The project whose wheel or source distribution a file is, by its name; "" if it is none."""
    if location.lower().startswith(_VCS):
        return ""
    found = _ARCHIVE.match(file_name(location))
    if not found:
        return ""
    if found[2] == ".whl":
        return found[1].split("-")[0]
    versioned = re.fullmatch(r"(.+?)-v?\d[^-]*", found[1])
    return versioned[1] if versioned and NAME.fullmatch(versioned[1]) else ""
