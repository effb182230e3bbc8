"""What a page shows of re-runs that differ: curves, pictures and code, read from both records.

All of it is bounded: a page has to open in a browser. What is left out is said.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

from reprorun.compare.content import FileContent, file_content, head
from reprorun.compare.images import difference_image
from reprorun.compare.pairing import pair_names
from reprorun.compare.rich import Missing, Refused
from reprorun.compare.tree import Entry
from reprorun.compare.values import Finding, Unreadable
from reprorun.errors import ReprorunError
from reprorun.report.curves import make_curve
from reprorun.report.values import CodeFile, Curve, Exhibits, Picture
from reprorun.workflow.check import CheckOptions, RecordCheck, Repeat
from reprorun.workflow.code_changes import CodeChange
from reprorun.workflow.code_diff import compare_code
from reprorun.workflow.compare import outputs_of_both
from reprorun.workflow.opened import opened
from reprorun.workflow.report import Silent
from reprorun.workflow.series import Columns, columns_of

_FILES, _CURVES, _PICTURES = 3, 4, 4  # outputs with curves of a re-run, curves of each, pictures
_REPEATS = 20  # of the whole page that are shown with these
_LARGEST_IMAGE = 1 << 20  # bytes
_ALL_IMAGES = 16 << 20  # characters of the whole page
_CODE_FILES, _PATCH = 20, 300  # files of code, lines of each
_SHOWN = frozenset({"different", "within tolerance"})
_IMAGES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
_CANT = (Unreadable, Refused, Missing, OSError)
Files = tuple[FileContent, FileContent]


def gather_exhibits(
    results: Sequence[RecordCheck], options: CheckOptions
) -> dict[tuple[int, int], Exhibits]:
    """Read what the re-runs that differ are shown with.

    Args:
        results: of the records; of their re-runs those are looked at that were kept.
        options: how they were checked.

    Returns:
        By the number of the record and of its re-run.
    """
    found: dict[tuple[int, int], Exhibits] = {}
    room = _Room(_ALL_IMAGES)
    for number, result in enumerate(results):
        kept = [(n, r) for n, r in enumerate(result.repeats) if r.log_dir and _differs(r)]
        kept = kept[: _REPEATS - len(found)]
        if not kept:
            continue
        try:
            with opened(result.record, Silent()) as place:
                for index, repeat in kept:
                    found[number, index] = _exhibits(place.log_dir, repeat, options, room)
        except ReprorunError as error:
            found[number, kept[0][0]] = Exhibits(notes=(f"the original can't be read: {error}",))
    return found


def _differs(repeat: Repeat) -> bool:
    return repeat.comparison.verdict not in ("identical", "equivalent")


class _Room:
    """How much the page may still hold."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, *texts: str) -> bool:
        """Whether there is room for these, which is then theirs."""
        size = sum(map(len, texts))
        if size > self._left:
            return False
        self._left -= size
        return True


def _exhibits(log_dir: str, repeat: Repeat, options: CheckOptions, room: _Room) -> Exhibits:
    assert repeat.log_dir is not None
    notes: list[str] = []
    outputs = list(_outputs(log_dir, repeat))
    return Exhibits(
        curves=tuple(_curves(outputs, notes)),
        pictures=tuple(_pictures(outputs, notes, room)),
        code=tuple(_code(log_dir, repeat, options, notes)),
        notes=tuple(notes),
    )


def _outputs(log_dir: str, repeat: Repeat) -> Iterator[tuple[Finding, Files]]:
    """The files of both runs that differ, the worst verdict first."""
    original, now = outputs_of_both(log_dir, repeat.log_dir or "")
    other = dict(pair_names(original, now))
    named = [each for each in repeat.comparison.findings if each.finding.verdict in _SHOWN]
    for each in sorted(named, key=lambda each: each.finding.verdict):
        files = original.get(each.path), now.get(other.get(each.path) or "")
        one, two = (_content(each.path, entry) for entry in files)
        if one and two:
            yield each.finding, (one, two)


def _content(name: str, entry: Entry | None) -> FileContent | None:
    if entry is None or entry.kind != "file":
        return None
    try:
        return file_content(entry.path, name)
    except OSError:  # removed meanwhile
        return None


# ---------------------------------------------------------------- curves


def _curves(outputs: Sequence[tuple[Finding, Files]], notes: list[str]) -> Iterator[Curve]:
    files = 0
    for _, pair in outputs:
        try:
            one, other = (columns_of(content) for content in pair)
        except _CANT as error:
            notes.append(f"no curves of {pair[0].name}: {_why(error)}")
            continue
        if one is None or other is None:
            continue
        found = _differing(pair[0].name, one, other)
        yield from found[:_CURVES]
        if len(found) > _CURVES:
            notes.append(f"{pair[0].name}: {len(found) - _CURVES} more columns differ")
        files += bool(found)
        if files == _FILES:
            notes.append(f"curves are shown of {_FILES} outputs")
            return


def _differing(path: str, one: Columns, other: Columns) -> list[Curve]:
    """The curves that differ, the earliest first."""
    curves = []
    for name, series in one.series.items():
        twin = other.series.get(name)
        if twin is not None and one.x_name == other.x_name:
            curve = make_curve(path, name, one.x_name, series, twin)
            curves += [curve] if curve else []
    return sorted(curves, key=lambda curve: curve.divergence)


# ---------------------------------------------------------------- pictures


def _pictures(
    outputs: Sequence[tuple[Finding, Files]], notes: list[str], room: _Room
) -> Iterator[Picture]:
    images = [pair for finding, pair in outputs if finding.comparator == "image"]
    for one, other in images[:_PICTURES]:
        if max(one.size, other.size) > _LARGEST_IMAGE:
            notes.append(f"{one.name} is not shown: it is larger than {_LARGEST_IMAGE >> 20} MiB")
            continue
        try:
            # it refuses what would unpack to too much, which a browser might not
            difference = _address("png", difference_image(one, other))
            addresses = [_image(content) for content in (one, other)]
        except _CANT as error:
            notes.append(f"{one.name} is not shown: {_why(error)}")
            continue
        if not room.take(difference, *addresses):
            notes.append(f"{one.name} is not shown: the page has no room for more images")
            continue
        yield Picture(path=one.name, original=addresses[0], now=addresses[1], difference=difference)
    if len(images) > _PICTURES:
        notes.append(f"{len(images) - _PICTURES} more images differ")


def _image(content: FileContent) -> str:
    start = head(content, 4)
    kind = next((kind for magic, kind in _IMAGES if start.startswith(magic)), None)
    if kind is None:
        raise Unreadable("browsers don't show its format")
    with content.open() as file:
        return _address(kind, file.read(_LARGEST_IMAGE))


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _why(error: Exception) -> str:
    if isinstance(error, Missing):
        return f"that needs {error}"
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


# ---------------------------------------------------------------- code


def _code(
    log_dir: str, repeat: Repeat, options: CheckOptions, notes: list[str]
) -> Iterator[CodeFile]:
    """What the original's archive had that the commit has not, which the re-run took."""
    repo = options.changes.repo
    if repo is None or not any(each.what == "code" for each in repeat.differences):
        return
    changes: list[CodeChange] = []

    def keep(change: CodeChange) -> None:
        if len(changes) < _CODE_FILES:
            changes.append(change)

    try:
        summary = compare_code(log_dir, repo, keep, options.limits)
    except (ReprorunError, OSError) as error:
        notes.append(f"the code can't be compared: {error}")
        return
    if summary.changes > len(changes):
        notes.append(f"{summary.changes - len(changes)} more files of the code differ")
    for change in changes:
        yield CodeFile(
            path=change.path, kind=change.kind, facts=change.facts, patch=change.patch[:_PATCH]
        )
