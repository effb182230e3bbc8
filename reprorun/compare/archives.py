"""Archives by member, and compressed files by what is in them; how they were packed is aside."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, BinaryIO

from msgspec.structs import replace

from reprorun.compare.content import PIECE, read_full
from reprorun.compare.members import Member, spooled, tar_members, zip_members
from reprorun.compare.registry import compare_member
from reprorun.compare.rich import Budget, Refused, refused
from reprorun.compare.values import (
    SAME,
    Content,
    Divergence,
    Finding,
    NamedFinding,
    Settings,
    Unreadable,
    worst,
)
from reprorun.model import Value

_XZ_MEMORY = 256 << 20  # bytes
_SHOWN = 1000  # members that are told of
_NAMED = 3  # members in a reason
_ENDINGS = {".tgz": ".tar", ".txz": ".tar", ".tbz": ".tar", ".tbz2": ".tar"}
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz", b"BZh": "bzip2"}

_budgets: ContextVar[tuple[Budget, Budget] | None] = ContextVar("budgets", default=None)
"""What the original and the other may still unpack to: archives in archives share it."""


class Opened(Value, frozen=True, kw_only=True):
    """An output without its compression."""

    content: Content
    kind: str = ""  # of the compression
    members: Mapping[str, Member] | None = None  # None: it is no archive


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two archives by member, or two compressed files by what is in them."""
    try:
        with ExitStack() as opened:
            budgets = opened.enter_context(_shared_budgets(settings.largest))
            one = _open(a, budgets[0], opened)
            other = _open(b, budgets[1], opened)
            if one.members is not None and other.members is not None:
                inner = compare_members(a.name, one.members, other.members, settings)
                return summary(inner, len(one.members), "archive")
            if not one.kind and not other.kind:
                raise Unreadable("it is no archive")
            return _inside(a.name, one, other, settings)
    except Refused as error:
        return refused("archive", error)


@contextmanager
def _shared_budgets(most: int) -> Iterator[tuple[Budget, Budget]]:
    budgets = _budgets.get()
    if budgets is not None:
        yield budgets
        return
    token = _budgets.set((Budget(most), Budget(most)))
    try:
        yield _budgets.get() or (Budget(0), Budget(0))
    finally:
        _budgets.reset(token)


def _inside(name: str, one: Opened, other: Opened, settings: Settings) -> Finding:
    """Compare what was compressed."""
    kind = one.kind or other.kind
    settings = replace(settings, tolerance=settings.tolerance_of(name))
    found = compare_member(one.content, other.content, settings)
    if found.verdict == "identical":
        return Finding(
            verdict="equivalent",
            comparator=kind,
            reason="the content is identical; how it is compressed differs",
        )
    return replace(found, comparator=f"{kind}: {found.comparator}")


# ---------------------------------------------------------------- members


def compare_members(
    name: str, a: Mapping[str, Member], b: Mapping[str, Member], settings: Settings
) -> tuple[NamedFinding, ...]:
    """Compare the members of two archives, both ways.

    Args:
        name: of the archive; tolerances are looked up below it.
        a: the original's members.
        b: the other's.
        settings: how strictly.

    Returns:
        A finding for each that is not identical.

    Raises:
        Unreadable: one is damaged.
    """
    settings = replace(settings, tolerance=settings.tolerance_of(name))
    names = [*a, *(member for member in b if member not in a)]
    found = (
        NamedFinding(
            path=each, finding=_compare_member(f"{name}/{each}", a.get(each), b.get(each), settings)
        )
        for each in names
    )
    return tuple(each for each in found if each.finding.verdict != "identical")


def _compare_member(name: str, a: Member | None, b: Member | None, settings: Settings) -> Finding:
    if a is None or b is None:
        verdict, reason = ("extra", "it is new") if a is None else ("missing", "it is gone")
        return Finding(verdict=verdict, comparator="archive", reason=reason)  # type: ignore[arg-type]
    if a.kind != b.kind:
        where = Divergence(where="its kind", original=a.kind, now=b.kind)
        return Finding(
            verdict="different",
            comparator="archive",
            reason="it is another kind of member",
            divergence=where,
        )
    if a.content is None or b.content is None:
        return Finding(verdict="identical", comparator="archive")
    try:
        with ExitStack() as opened:
            return compare_member(a.content(name, opened), b.content(name, opened), settings)
    except Refused as error:
        return refused("archive", error)


def summary(inner: tuple[NamedFinding, ...], count: int, comparator: str) -> Finding:
    """What is said of two archives, from what is said of their members.

    Args:
        inner: those that are not identical.
        count: members of the original.
        comparator: its name.
    """
    verdict = worst(("equivalent", *(each.finding.verdict for each in inner)))
    decisive = [each for each in inner if each.finding.verdict not in SAME] or list(inner)
    names = ", ".join(each.path for each in decisive[:_NAMED])
    more = f" and {len(decisive) - _NAMED} more" if len(decisive) > _NAMED else ""
    first = next((each for each in decisive if each.finding.divergence), None)
    differ = "are not byte for byte the same" if verdict in SAME else "differ"
    reason = f"of {count} members these {differ}: {names}{more}"
    return Finding(
        verdict="different" if verdict in ("missing", "extra") else verdict,
        comparator=comparator,
        reason=reason if inner else f"its {count} members are identical; how it is packed differs",
        divergence=_below(first) if first else None,
        inner=inner[:_SHOWN],
        notes=(f"only {_SHOWN} of {len(inner)} members are shown",) if len(inner) > _SHOWN else (),
    )


def _below(named: NamedFinding) -> Divergence | None:
    """The divergence of a member, placed in its archive."""
    divergence = named.finding.divergence
    return divergence and replace(divergence, where=f"{named.path}: {divergence.where}")


# ---------------------------------------------------------------- compression


def _open(content: Content, budget: Budget, opened: ExitStack) -> Opened:
    """Take the compression off, and list the members of what is an archive."""
    kind = _compression(content)
    if kind:
        content = spooled(_inner_name(content.name), _pieces(content, kind, budget), opened)
    return Opened(content=content, kind=kind, members=_members(content, budget, opened))


def _members(content: Content, budget: Budget, opened: ExitStack) -> Mapping[str, Member] | None:
    """The members of an archive; None where it is none."""
    stream = opened.enter_context(content.open())
    start = read_full(stream, 512)
    stream.seek(0)
    if start[:4] in (b"PK\3\4", b"PK\5\6"):
        return zip_members(stream, content.size, budget, opened)
    if start[257:262] == b"ustar" or content.name.lower().endswith(".tar"):
        return tar_members(stream, budget)
    return None


def _compression(content: Content) -> str:
    with content.open() as stream:
        start = read_full(stream, 6)
    return next((kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)), "")


def _inner_name(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    if f".{ending}" in _ENDINGS:
        return stem + _ENDINGS[f".{ending}"]
    return stem if dot and ending in ("gz", "xz", "bz2") else name


def _pieces(content: Content, kind: str, budget: Budget) -> Iterator[bytes]:
    """What was compressed.

    Raises:
        Unreadable: it is damaged.
        Refused: it is more than may be.
    """
    try:
        with content.open() as stream:
            for piece in _unpacked(stream, kind):
                budget.take(len(piece))
                yield piece
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError) as error:
        raise Unreadable(f"its {kind} is damaged: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise Unreadable(f"its {kind} is damaged: {error}") from error  # as bz2 says it


def _unpacked(stream: BinaryIO, kind: str) -> Iterator[bytes]:
    if kind == "gzip":
        with gzip.GzipFile(fileobj=stream) as file:
            while piece := file.read(PIECE):
                yield piece
        return
    data = stream.read(PIECE)
    while data:  # one stream after the other
        decompressor = _decompressor(kind)
        while not decompressor.eof:
            if decompressor.needs_input and not data and not (data := stream.read(PIECE)):
                raise EOFError("it is cut short")
            yield decompressor.decompress(data, PIECE)
            data = b""
        data = decompressor.unused_data or stream.read(PIECE)
        while data and kind == "xz" and not (data := data.lstrip(b"\0")):
            data = stream.read(PIECE)  # padding


def _decompressor(kind: str) -> Any:
    if kind == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    return bz2.BZ2Decompressor()
