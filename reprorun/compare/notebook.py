"""Jupyter notebooks, by cell and output; execution counts, ids, times and kernels are aside."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from reprorun.compare.content import BytesContent
from reprorun.compare.registry import compare_member, load
from reprorun.compare.rich import Refused, refused
from reprorun.compare.values import (
    SAME,
    Content,
    Divergence,
    Finding,
    Settings,
    Unreadable,
    Volatile,
    worst,
)
from reprorun.model import Value

_LARGEST = 256 << 20  # bytes, which are held in memory
_NAMED = 3  # places in a reason
_IMAGES = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}


class Part(Value, frozen=True, kw_only=True):
    """Something of a notebook that is compared on its own."""

    where: str  # such as "cell 3, output 1, text/plain"
    kind: str  # ending that says its format
    data: bytes


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two notebooks: what their cells are, and what they gave out."""
    try:
        mine, theirs = list(_parts(_read(a))), list(_parts(_read(b)))
    except Refused as error:
        return refused("notebook", error)
    found = [
        (one.where, _compare_parts(a.name, one, other, settings))
        for one, other in zip(mine, theirs, strict=False)
        if one != other
    ]
    if len(mine) != len(theirs) and all(finding.verdict in SAME for _, finding in found):
        found.append(_one_ends(mine, theirs))
    return _together(found)


def _compare_parts(name: str, a: Part, b: Part, settings: Settings) -> Finding:
    if (a.where, a.kind) != (b.where, b.kind):
        where = Divergence(where=a.where, original=a.where, now=b.where)
        return Finding(verdict="different", comparator="notebook", divergence=where)
    one, other = (
        BytesContent(name=f"{name}/{a.where}.{part.kind}", data=part.data) for part in (a, b)
    )
    settings = replace(settings, tolerance=settings.tolerance_of(name), files=())
    if a.kind != "txt":
        return compare_member(one, other, settings)
    try:
        return load("text")(one, other, settings)
    except Unreadable:  # control characters, which are not for a report either
        reason = "a text with control characters differs"
        return Finding(verdict="different", comparator="notebook", reason=reason)


def _one_ends(a: list[Part], b: list[Part]) -> tuple[str, Finding]:
    """What is said where one goes on and the other doesn't."""
    common = min(len(a), len(b))
    where = (a if len(a) > len(b) else b)[common].where
    places = ("there", "missing") if len(a) > len(b) else ("missing", "there")
    divergence = Divergence(where=where, original=places[0], now=places[1])
    return where, Finding(verdict="different", comparator="notebook", divergence=divergence)


def _together(found: list[tuple[str, Finding]]) -> Finding:
    """What is said of the notebooks, from what is said of their parts."""
    verdict = worst(("equivalent", *(finding.verdict for _, finding in found)))
    decisive = [(where, finding) for where, finding in found if finding.verdict == verdict]
    reason = "only counts, ids, times, metadata or layout differ"
    if decisive and verdict != "equivalent":
        names = ", ".join(where for where, _ in decisive[:_NAMED])
        more = f" and {len(decisive) - _NAMED} more" if len(decisive) > _NAMED else ""
        reason = f"{'within tolerance' if verdict in SAME else 'different'}: {names}{more}"
        if verdict == "unknown":
            reason = f"{decisive[0][0]}: {decisive[0][1].reason}"
    return Finding(
        verdict=verdict,
        comparator="notebook",
        reason=reason,
        divergence=next((_placed(*each) for each in decisive if each[1].divergence), None),
        volatile=_volatile([finding for _, finding in found]),
    )


def _placed(where: str, finding: Finding) -> Divergence | None:
    divergence = finding.divergence
    if divergence is None or divergence.where == where:
        return divergence
    return replace(divergence, where=f"{where}: {divergence.where}")


def _volatile(findings: list[Finding]) -> tuple[Volatile, ...]:
    """What is volatile in the parts, added up."""
    sums: dict[str, Volatile] = {}
    for each in (volatile for finding in findings for volatile in finding.volatile):
        before = sums.get(each.what)
        sums[each.what] = replace(before, count=before.count + each.count) if before else each
    return tuple(sums.values())


# ---------------------------------------------------------------- reading


def _read(content: Content) -> dict[str, Any]:
    """A notebook of format 4.

    Raises:
        Unreadable: it is none.
        Refused: it is too large.
    """
    if content.size > _LARGEST:
        raise Refused(f"it has more than {_LARGEST >> 20} MiB")
    try:
        with content.open() as stream:
            found = json.load(stream)
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is no notebook: it is no JSON") from error
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise Unreadable("it is no notebook of format 4: it has no cells")
    return found


def _parts(notebook: dict[str, Any]) -> Iterator[Part]:
    """All that is compared, in order."""
    for number, cell in enumerate(notebook["cells"], 1):
        cell = _object(cell)
        where = f"cell {number}"
        yield _text(where, f"{cell.get('cell_type')}\n{_joined(cell.get('source'))}")
        for name, bundle in sorted(_object(cell.get("attachments")).items()):
            yield from _bundle(f"{where}, attachment {name}", bundle)
        outputs = cell.get("outputs") or []
        for index, output in enumerate(_streams_joined(_list(outputs)), 1):
            yield from _output(f"{where}, output {index}", output)


def _streams_joined(outputs: list[Any]) -> list[dict[str, Any]]:
    """Pieces of one stream that follow each other are one: how they were cut is chance."""
    joined: list[dict[str, Any]] = []
    for output in map(_object, outputs):
        stream = output.get("name") if output.get("output_type") == "stream" else None
        if stream and joined and joined[-1].get("name") == stream:
            text = _joined(joined[-1].get("text")) + _joined(output.get("text"))
            joined[-1] = {**joined[-1], "text": text}
        else:
            joined.append(output)
    return joined


def _output(where: str, output: dict[str, Any]) -> Iterator[Part]:
    kind = output.get("output_type")
    if kind == "stream":
        yield _text(f"{where}, {output.get('name')}", _joined(output.get("text")))
    elif kind == "error":
        lines = [str(output.get("ename")), str(output.get("evalue"))]
        yield _text(f"{where}, error", "\n".join([*lines, _joined(output.get("traceback"), "\n")]))
    elif kind in ("display_data", "execute_result"):
        yield from _bundle(where, output.get("data"))
    else:
        yield _json(where, output)


def _bundle(where: str, bundle: Any) -> Iterator[Part]:
    """The forms in which an output is shown."""
    for form, data in sorted(_object(bundle).items()):
        place = f"{where}, {form}"
        if form in _IMAGES:
            yield Part(where=place, kind=_IMAGES[form], data=_decoded(data))
        elif isinstance(data, (dict, int, float)):
            yield _json(place, data)
        else:
            yield _text(place, _joined(data))


def _decoded(data: Any) -> bytes:
    try:
        return base64.b64decode(_joined(data))
    except (binascii.Error, ValueError) as error:
        raise Unreadable("it has an image that is no base64") from error


def _text(where: str, text: str) -> Part:
    return Part(where=where, kind="txt", data=text.encode(errors="surrogatepass"))


def _json(where: str, data: Any) -> Part:
    return Part(where=where, kind="json", data=json.dumps(data, sort_keys=True).encode())


def _joined(text: Any, between: str = "") -> str:
    """A text that may be a list of lines.

    Raises:
        Unreadable: it is neither.
    """
    if text is None:
        return ""
    if isinstance(text, str):
        return text
    if isinstance(text, list) and all(isinstance(line, str) for line in text):
        return between.join(text)
    raise Unreadable("it has a text that is none")


def _object(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable("it is a damaged notebook")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unreadable("it is a damaged notebook")
    return value
