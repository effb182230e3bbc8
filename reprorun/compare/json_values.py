"""JSON and JSON lines compared by value: the order of keys and white space are aside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from reprorun.compare.distances import kind
from reprorun.compare.numbers import Numbers, shown
from reprorun.compare.text import common_start
from reprorun.compare.values import Content, Finding, Settings, Unreadable
from reprorun.compare.volatile import VolatileTally, differs_by_nature, is_time, number_of

LARGEST = 32 << 20  # bytes of a document, which is held in memory
_LINES = (".jsonl", ".ndjson")

Pairs = Iterator[tuple[Any, Any, str]]
_ABSENT = object()


def compare(a: Content, b: Content, settings: Settings) -> Finding:
    """Compare two JSON documents, or two files with a document in each line."""
    comparison = JsonComparison(settings, a.name)
    if a.name.lower().endswith(_LINES):
        _compare_lines(a, b, comparison)
    else:
        comparison.documents(_document(a), _document(b))
    return comparison.finding()


class JsonComparison:
    """Compares documents and keeps what was found."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.numbers = Numbers(settings.tolerance_of(name))
        self._settings = settings
        self._name = name
        self._volatile = VolatileTally()

    def documents(self, a: Any, b: Any, where: str = "") -> None:
        """Compare two documents, in the original's order, without recursion."""
        place: list[str] = ["$"]
        waiting: list[Pairs] = [iter([(a, b, "")])]
        while waiting:
            pair = next(waiting[-1], None)
            if pair is None:
                waiting.pop()
                place.pop()
                continue
            one, other, step = pair
            if isinstance(one, (dict, list)) and type(one) is type(other):
                place.append(step)
                waiting.append(self._parts(one, other, where, place))
            elif one != other or type(one) is not type(other):
                self._leaves(one, other, where + "".join((*place, step)), _name(place, step))
            else:
                self.numbers.equal(1)

    def mismatch(self, where: str, original: str, now: str) -> None:
        """Note lines that can't be compared by value."""
        if not differs_by_nature(original, now, self._volatile):
            self.numbers.mismatch(where, original, now)

    def finding(self) -> Finding:
        """What is said of the whole."""
        return self.numbers.finding(
            "json",
            volatile=self._volatile.result(),
            equal="the values are equal but for what differs by its nature"
            if self._volatile.result()
            else "the values are equal; order of keys, white space or spelling of numbers differ",
        )

    def _parts(self, a: Any, b: Any, where: str, place: list[str]) -> Pairs:
        if isinstance(a, list):
            for index, (one, other) in enumerate(zip(a, b, strict=False)):
                yield one, other, f"[{index}]"
            if len(a) != len(b):
                self.numbers.mismatch(
                    f"length of {where}{''.join(place)}", str(len(a)), str(len(b))
                )
            return
        for key in a:
            yield a[key], b.get(key, _ABSENT), _step(key)
        for key in b:
            if key not in a:
                yield _ABSENT, b[key], _step(key)

    def _leaves(self, one: Any, other: Any, where: str, name: str) -> None:
        """Compare two values that are not both objects or both lists, and not the same."""
        if _is_number(one) and _is_number(other) and is_time(name, one, other):
            self._volatile.add(f"time ({name})", shown(one), shown(other))
        elif isinstance(one, str) and isinstance(other, str):
            self.mismatch(where, one, other)
        elif _is_number(one) and _is_number(other):
            self.numbers.tolerance = self._settings.tolerance_of(self._name, name)
            self.numbers.number(one, other, where)
        else:
            self.numbers.mismatch(where, _in_words(one), _in_words(other))


def _compare_lines(a: Content, b: Content, comparison: JsonComparison) -> None:
    start, number = common_start(a, b)
    with a.open() as one, b.open() as other:
        one.seek(start)
        other.seek(start)
        while True:
            number += 1
            line, twin = _line(one), _line(other)
            if not line and not twin:
                return
            if line.strip() == twin.strip():
                comparison.numbers.equal(1)
            elif not line.strip() or not twin.strip():
                _one_line(line, twin, number, comparison)
            else:
                _both_lines(line, twin, number, comparison)


def _one_line(line: bytes, twin: bytes, number: int, comparison: JsonComparison) -> None:
    text = [each.decode(errors="backslashreplace").strip() for each in (line, twin)]
    comparison.numbers.mismatch(f"line {number}", text[0] or "no line", text[1] or "no line")


def _both_lines(line: bytes, twin: bytes, number: int, comparison: JsonComparison) -> None:
    try:
        documents = _parsed(line), _parsed(twin)
    except Unreadable:  # a program that was killed while it wrote, perhaps
        text = [each.decode(errors="backslashreplace").strip() for each in (line, twin)]
        comparison.mismatch(f"line {number}", text[0], text[1])
    else:
        comparison.documents(*documents, f"line {number}, ")


def _line(file: BinaryIO) -> bytes:
    line = file.readline(LARGEST)
    if len(line) == LARGEST:
        raise Unreadable(f"it has a line of more than {LARGEST >> 20} MiB")
    return line


# ---------------------------------------------------------------- reading


def _document(content: Content) -> Any:
    if content.size > LARGEST:
        raise Unreadable(f"it is JSON of more than {LARGEST >> 20} MiB")
    with content.open() as file:
        return _parsed(file.read(LARGEST + 1))


def _parsed(data: bytes) -> Any:
    """The value of a document. Keys that come twice are kept, with a mark.

    Raises:
        Unreadable: it is none, or too deeply nested.
    """
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_object, parse_float=_float)
    except RecursionError:
        raise Unreadable("it is JSON that is too deeply nested") from None
    except ValueError as error:
        raise Unreadable(f"it is not JSON ({' '.join(str(error).split())[:100]})") from error


def _float(text: str) -> float | str:
    """A number, as a text where it is out of range: all those would be the same infinity."""
    number = number_of(text)
    return text if number is None else float(number)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    found = {}
    seen: dict[str, int] = {}
    for key, value in pairs:
        seen[key] = seen.get(key, 0) + 1
        found[key if seen[key] == 1 else f"{key} (no. {seen[key]})"] = value
    return found


# ---------------------------------------------------------------- values


def _step(key: str) -> str:
    return f".{key}" if key.replace("_", "a").replace("-", "a").isalnum() else f"[{key!r}]"


def _name(place: list[str], step: str) -> str:
    """The innermost key above a value."""
    steps = (each for each in (step, *reversed(place)) if each.startswith((".", "['", '["')))
    found = next(steps, "")
    return found[1:] if found.startswith(".") else found[2:-2]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _in_words(value: Any) -> str:
    if value is _ABSENT:
        return "missing"
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return "null" if value is None else f"{shown(value)} ({kind(value)})"
