"""Directories compared: every output of both sides, each by its format. No link is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Literal

from reprorun.compare.content import FileContent, file_content, open_regular
from reprorun.compare.numbers import cut
from reprorun.compare.pairing import pair_names
from reprorun.compare.registry import compare_contents
from reprorun.compare.values import (
    Comparison,
    Divergence,
    Finding,
    NamedFinding,
    Settings,
    matches,
    worst,
)
from reprorun.model import Value

Kind = Literal["file", "link", "named pipe", "socket", "device", "unreadable directory"]

IDENTICAL = Finding(verdict="identical", comparator="bytes")
_MISSING = Finding(verdict="missing", comparator="tree", reason="only the original has it")
_EXTRA = Finding(verdict="extra", comparator="tree", reason="the original doesn't have it")
_SMALL = 1 << 20  # bytes of files that are read whole


class Entry(Value, frozen=True, kw_only=True):
    """One output of a directory."""

    path: str  # on this host
    kind: Kind


def entries_of(root: str) -> dict[str, Entry]:
    """Everything below a directory but directories, by its path in it."""
    found: dict[str, Entry] = {}
    waiting = [("", root)]
    while waiting:
        below, directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    name = below + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((name + "/", entry.path))
                    else:
                        found[name] = Entry(path=entry.path, kind=_kind(entry))
        except OSError:
            found[below or "."] = Entry(path=directory, kind="unreadable directory")
    return found


def compare_trees(
    a: Mapping[str, Entry],
    b: Mapping[str, Entry],
    settings: Settings,
    more: tuple[NamedFinding, ...] = (),
) -> Comparison:
    """Compare two directories, both ways.

    Args:
        a: what the original left, by the names under which it is compared.
        b: what is there now.
        settings: how strictly; and what is left out.
        more: findings about the whole, to put first.
    """
    findings, ignored = [], []
    for original, now in pair_names(a, b):
        name = original or now or ""
        if any(matches(name, glob) for glob in settings.ignore):
            ignored.append(name)
        else:
            found = _compare(name, a.get(original or ""), b.get(now or ""), settings)
            findings.append(NamedFinding(path=name, finding=found))
    findings.sort(key=lambda named: named.path)
    return conclude((*more, *findings), tuple(sorted(ignored)))


def conclude(findings: tuple[NamedFinding, ...], ignored: tuple[str, ...] = ()) -> Comparison:
    """The verdict over all outputs."""
    verdict = worst(named.finding.verdict for named in findings)
    return Comparison(verdict=verdict, findings=findings, ignored=ignored)


def compare_files(a: str, b: str, name: str, settings: Settings) -> Comparison:
    """Compare two regular files.

    Args:
        a: path of the original.
        b: path of the new one.
        name: under which they are compared: it says the format, and which settings count.
        settings: how strictly.
    """
    finding = compare_contents(file_content(a, name), file_content(b, name), settings)
    return conclude((NamedFinding(path=name, finding=finding),))


def _compare(name: str, a: Entry | None, b: Entry | None, settings: Settings) -> Finding:
    if b is None:
        return _MISSING
    if a is None:
        return _EXTRA
    try:
        if a.kind != b.kind:
            return _other_kind(a, b)
        if a.kind == "file":
            return _compare_files(name, a, b, settings)
        if a.kind == "link":
            return _compare_links(a, b)
        return _compare_odd(a, b)
    except OSError as error:
        return Finding(
            verdict="unknown",
            comparator="tree",
            reason=f"it can't be read: {error.strerror or error}",
        )


def _compare_files(name: str, a: Entry, b: Entry, settings: Settings) -> Finding:
    size, data = _read_small(a.path)
    twin_size, twin = _read_small(b.path)
    if data is not None and data == twin:
        return IDENTICAL
    one = FileContent(name=name, path=a.path, size=size)
    return compare_contents(one, FileContent(name=name, path=b.path, size=twin_size), settings)


def _read_small(path: str) -> tuple[int, bytes | None]:
    """The size of a file, and its bytes where they are few. As quick as can be: there are many."""
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        data = os.read(descriptor, size + 1) if size <= _SMALL else None
        return size, data if data is not None and len(data) == size else None
    finally:
        os.close(descriptor)


def _compare_links(a: Entry, b: Entry) -> Finding:
    targets = os.readlink(a.path), os.readlink(b.path)
    if targets[0] == targets[1]:
        return Finding(verdict="identical", comparator="link")
    return Finding(
        verdict="different",
        comparator="link",
        reason="the link leads elsewhere",
        divergence=Divergence(where="link", original=cut(targets[0]), now=cut(targets[1])),
    )


def _compare_odd(a: Entry, b: Entry) -> Finding:
    """What has no content: that both have it is all that can be said, and compared."""
    if a.kind == "unreadable directory":
        return Finding(verdict="unknown", comparator="tree", reason="the directory can't be read")
    if a.kind == "device" and os.lstat(a.path).st_rdev != os.lstat(b.path).st_rdev:
        return Finding(verdict="different", comparator="tree", reason="another device")
    return Finding(
        verdict="equivalent",
        comparator="tree",
        reason=f"a {a.kind} in both; there is no content to compare",
    )


def _other_kind(a: Entry, b: Entry) -> Finding:
    return Finding(
        verdict="unknown" if "unreadable directory" in (a.kind, b.kind) else "different",
        comparator="tree",
        reason="it is not the same kind of file",
        divergence=Divergence(where="kind of file", original=a.kind, now=b.kind),
    )


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_file(follow_symlinks=False):
        return "file"
    mode = entry.stat(follow_symlinks=False).st_mode
    if stat.S_ISFIFO(mode):
        return "named pipe"
    return "socket" if stat.S_ISSOCK(mode) else "device"
