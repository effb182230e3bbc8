"""Breaking bytes: what bit rot, a cut, a splice or somebody with an editor makes of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

LONGEST = 1 << 16  # bytes; what is longer only takes longer
_NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"9" * 30,
    b"2147483648",
    b"18446744073709551616",
    b"1e-9",
)
_WORDS = (
    *(b"\0", b"\n", b"\r\n", b"\x1b[2J", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe2\x80\xae"),
    *(b"../", b"/etc/passwd", b"%s%n", b"${HOME}", b"{{7*7}}", b"<script>", b"__import__"),
    *(b"null", b"true", b"{}", b"[]", b'""', b"--", b"@ file:///", b"git+ext::sh", b"'''"),
    *(b"[" * 200, b"{" * 50, b'{"a":' * 100, b"(" * 300, b"-" * 100, b"a" * 300),
    *(b"\xed\xa0\x80", b"\\ud800"),
)
_BINARY = tuple(
    value.to_bytes(width, order)
    for width in (1, 2, 4, 8)
    for order in ("little", "big")
    for value in (0, 1, (1 << 8 * width - 1) - 1, (1 << 8 * width) - 1, 1 << 8 * width - 1)
)
Edit = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def mutated(chance: random.Random, inputs: Sequence[bytes]) -> bytes:
    """One of the inputs with a few edits; a rare one is nothing but noise."""
    if chance.random() < 0.01:
        return chance.randbytes(chance.randrange(200))
    data = bytearray(chance.choice(inputs))
    for _ in range(1 + int(chance.expovariate(0.5))):
        chance.choice(_EDITS)(data, chance, inputs)
    return bytes(data[:LONGEST])


def _place(data: bytearray, chance: random.Random) -> int:
    return chance.randrange(len(data) + 1)


def _span(data: bytearray, chance: random.Random) -> slice:
    start = _place(data, chance)
    return slice(start, start + int(chance.expovariate(1 / 8)) + 1)


def _flip(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _remove(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    del data[_span(data, chance)]


def _cut(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    del data[_place(data, chance) :]


def _repeat(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    piece = data[_span(data, chance)] * chance.choice((1, 1, 2, 10))
    start = _place(data, chance)
    data[start:start] = piece


def _word(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    start = _place(data, chance)
    end = start if chance.random() < 0.5 else start + int(chance.expovariate(1 / 4))
    data[start:end] = chance.choice(_WORDS)


def _number(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """Another number where one stands."""
    digits = [n for n, byte in enumerate(data[:4096]) if 48 <= byte <= 57]
    if digits:
        start = end = chance.choice(digits)
        while end < len(data) and 48 <= data[end] <= 57:
            end += 1
        data[start:end] = chance.choice(_NUMBERS)


def _binary(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    value, start = chance.choice(_BINARY), _place(data, chance)
    data[start : start + len(value)] = value


def _splice(data: bytearray, chance: random.Random, inputs: Sequence[bytes]) -> None:
    other = chance.choice(inputs)
    start = chance.randrange(len(other) + 1)
    data[_place(data, chance) :] = other[start:]


def _swap_lines(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    lines = bytes(data).split(b"\n")
    one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    data[:] = b"\n".join(lines)


def _another_value(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """A value of JSON or TOML in the place of another."""
    places = [n for n, byte in enumerate(data[:8192]) if byte in b":=,["]
    if places:
        start = end = chance.choice(places) + 1
        while end < len(data) and data[end] not in b",]}\n":
            end += 1
        data[start:end] = b" " + chance.choice((*_NUMBERS, *_WORDS))


_EDITS: tuple[Edit, ...] = (
    _flip, _set, _remove, _cut, _repeat, _word, _word, _number, _binary, _splice, _swap_lines,
    _another_value, _another_value,
)  # fmt: skip
