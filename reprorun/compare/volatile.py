"""What differs from run to run by its nature: times, durations, paths, addresses, process ids.

A text is split into tokens: volatile ones, numbers, and what stands between. Recognising is
conservative: a number is volatile only with a cue that makes it a time, a rate or an id. "loss
0.123", "period 2.0 s" and "time 3" are results; "took 2.0 s", "1.9 it/s" and "pid 12" are not.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from reprorun.compare.numbers import cut
from reprorun.compare.values import Volatile

NUMBER = "number"
TEXT = ""


class Token(NamedTuple):
    """A piece of a text."""

    kind: str  # NUMBER, TEXT, or what makes it volatile
    text: str


# ---------------------------------------------------------------- patterns

_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_YEAR, _MM, _DD = r"(?:19[89]\d|20\d\d)", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_DATE = rf"(?:{_YEAR}-{_MM}-{_DD}|{_YEAR}/{_MM}/{_DD})"
_CLOCK = r"(?:[01]?\d|2[0-4]):[0-5]\d:[0-6]\d(?:[.,]\d+)?"
_ZONE = r"(?:\s?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)\b)?"
_AMOUNT = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_SPAN_UNIT = (
    r"(?:ns|[uµμ]s|ms|s|secs?|seconds?|mins?|minutes?|hrs?|hours?"
    r"|nanoseconds?|microseconds?|milliseconds?)"
)
_SPAN = (
    rf"(?:\d+\s?d(?:ays?)?,?\s?)?(?:\d+\s?h\s?)?(?:\d+\s?m(?:in)?\s?)?{_AMOUNT}\s?{_SPAN_UNIT}\b"
)
_TIME_NAME = (
    r"(?:time[_ ]?elapsed|elapsed(?:[_ ](?:time|seconds|secs?|s|ms))?|wall[_ ]?clock|timeitr"
    r"|(?:wall|cpu|run|train|training|eval|epoch|iter|itr)[_ ]?time(?:[_ ](?:s|ms|sec|seconds))?"
    r"|runtime|time_(?:this_iter|total)_s)"
)
_THINGS = (
    r"(?:its?|iters?|iterations?|steps?|samples?|examples?|batch(?:es)?|tokens?|images?|imgs?"
    r"|frames?|rows?|lines?|files?|items?|ops|requests?|records?|episodes?|epochs?|[kKMGT]?i?B"
    r"|bytes)"
)
_CUES = "".join(
    rf"|(?<=\b{cue})"
    for cue in (
        *("in ", "took ", "takes ", "taken ", "after ", "within ", "elapsed ", "spent ", "ETA "),
        *("time ", "time: ", "time=", "time = ", "took: ", "taken: ", "ETA: ", "elapsed: "),
        *("took about ", "duration ", "duration: ", "duration=", "elapsed="),
    )
)[1:]
_ROOTS = "tmp|var/tmp|var/folders|private|home|root|Users|dev/shm|scratch|run/user"
_IN_PATH = r"[^\s\"'`:;,<>()\[\]{}|]"

_UUID = r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"
_NAN = r"(?<![\w.])[-+]?(?i:nan|inf|infinity)(?![\w.])"
_FLOAT_WITH_UNIT = r"(?<![\w.])[-+]?\d+\.\d+(?=[a-zA-Z]{1,3}(?!\w))"  # 2.006s
_NUMBER = r"(?<![\w.])[-+]?(?:\d+\.\d+|\d+\.?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]|:\d)"
_RATE = (
    rf"(?<![\w.])(?:{_AMOUNT}|\?)\s?(?:{_SPAN_UNIT}/{_THINGS}|{_THINGS}/(?:s|sec|second)|fps|FPS)\b"
)

# by the character that they start with, for speed; the first that fits at a place counts
_DIGITS: tuple[tuple[str, str], ...] = (
    ("uuid", _UUID),
    ("timestamp", rf"(?<![\w-]){_DATE}(?:[T ]|, ){_CLOCK}{_ZONE}"),
    ("timestamp", rf"(?<![\w-]){_DATE}[T ][0-2]\d:[0-5]\d\b{_ZONE}"),
    ("timestamp", rf"(?<!\d){_YEAR}{_MM}{_DD}[-_T][0-2]\d[0-5]\d[0-5]\d(?!\d)Z?"),
    ("timestamp", rf"(?<!\d){_YEAR}-{_MM}-{_DD}[-_T][0-2]\d-[0-5]\d-[0-5]\d(?!\d)"),
    ("timestamp", rf"(?<!\d){_YEAR}_{_MM}_{_DD}[-_T][0-2]\d_[0-5]\d_[0-5]\d(?!\d)"),
    ("timestamp", rf"(?<!\w)\d\d?[ /]{_MONTH}[ /]{_YEAR}[: ]{_CLOCK}{_ZONE}"),
    ("date", rf"(?<![\w./-]){_DATE}(?![\w/-])"),
    ("duration", r"(?<=\[)(?:\d+:)?\d+:\d\d<(?:(?:\d+:)?\d+:\d\d|\?)(?=, )"),
    ("clock time", rf"(?<![\w.:])(?:\d+ days?, )?{_CLOCK}(?![\w:])"),
    ("rate", _RATE),
    ("duration", rf"(?<![\w.]){_AMOUNT}\s?s (?={_AMOUNT}\s?[um]?s/)"),  # of Keras
    ("duration", rf"(?i:{_CUES}){_SPAN}"),
    ("duration", rf"(?<=[(\[]){_SPAN}(?=[)\]])"),
    ("duration", rf"(?<![\w.]){_SPAN}(?= (?i:elapsed|remaining|left|ago)\b)"),
    ("address", r"(?<=\bat )0x[0-9a-fA-F]{6,16}\b"),
    ("address", r"\b0x(?:0000)?(?:7f|5[56])[0-9a-f]{10}\b"),
    ("port", r"\b(?:127\.0\.0\.1|0\.0\.0\.0):\d{2,5}\b"),
    (NUMBER, _NUMBER),
    (NUMBER, _FLOAT_WITH_UNIT),
)
_WORDS: tuple[tuple[str, str], ...] = (
    ("uuid", _UUID),
    ("timestamp", rf"(?:{_DAY},? )?{_MONTH} [ \d]?\d {_CLOCK}(?: [A-Z]{{3,4}})?(?: {_YEAR})?\b"),
    ("timestamp", rf"{_DAY}, \d\d? {_MONTH} {_YEAR} {_CLOCK}{_ZONE}"),
    ("timestamp", rf"[IWEF]{_MM}{_DD} {_CLOCK}"),  # of glog
    ("date", rf"(?:{_DAY},? )?{_MONTH} [ \d]?\d,? {_YEAR}\b"),
    (
        "duration",
        rf"(?i:{_TIME_NAME}\b[\"']?\s*[|:=]?\s*){_AMOUNT}(?:\s?{_SPAN_UNIT}\b)?(?![\w.])",
    ),
    ("rate", rf"(?i:(?:fps|\w+_per_sec(?:ond)?)\b[\"']?\s*[|:=]?\s*){_AMOUNT}(?![\w.])"),
    ("process id", r"(?i:p?pid[ :=]{1,2}|process(?: id)?[ :=]{1,2})\d+\b"),
    ("port", r"(?i:localhost:|(?:on|using) port )\d{2,5}\b"),
    (NUMBER, _NAN),
)
_OTHERS: tuple[tuple[str, str], ...] = (
    ("path", rf"(?<![\w./~-])/(?:{_ROOTS})/(?:{_IN_PATH}*(?![.]){_IN_PATH})"),
    ("progress bar", r"\|[█▏▎▍▌▋▊▉ #=>.-]+\|(?=[^\n]*\[)"),
    ("rate", _RATE),
    (NUMBER, _NUMBER),
    (NUMBER, _FLOAT_WITH_UNIT),
    (NUMBER, _NAN),
)


def _one_of(patterns: tuple[tuple[str, str], ...]) -> str:
    return "|".join(f"({pattern})" for _, pattern in patterns)


_KINDS = tuple(kind for kind, _ in (*_DIGITS, *_WORDS, *_OTHERS))
_TOKENS = re.compile(
    rf"(?=[0-9])(?:{_one_of(_DIGITS)})|(?<!\w)(?=[A-Za-z])(?:{_one_of(_WORDS)})"
    rf"|(?=[-+./|?])(?:{_one_of(_OTHERS)})"
)
_LONGEST = 1000  # characters of a number
_A_NUMBER = re.compile(r"[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|(?i:nan|inf|infinity))")
_INTERESTING = re.compile(r"\d|(?i:nan|inf)|/[tvphrUds]")  # no token without one of these
_RANDOM_NAME = re.compile(r"tmp[\w-]{4,}|.*[._-][a-z0-9_]{8}|[0-9a-f-]{12,}")


def tokens(text: str) -> list[Token]:
    """A text in pieces, whose texts make it up again."""
    if not _INTERESTING.search(text):
        return [Token(TEXT, text)]
    found, end = [], 0
    for match in _TOKENS.finditer(text):
        if match.start() > end:
            found.append(Token(TEXT, text[end : match.start()]))
        kind = _KINDS[(match.lastindex or 1) - 1]
        if kind == NUMBER and number_of(match[0]) is None:
            kind = TEXT
        found.append(Token(kind, match[0]))
        end = match.end()
    if end < len(text) or not found:
        found.append(Token(TEXT, text[end:]))
    return found


def number_of(text: str) -> int | float | None:
    """The number that a text spells; None for no number, and for one that is out of range.

    Of those that are all would be the same infinity or zero, and none would differ.
    """
    if len(text) > _LONGEST or not _A_NUMBER.fullmatch(text):
        return None
    if text.lstrip("+-").isdecimal():
        return int(text)
    value = float(text)
    mantissa = text.lower().partition("e")[0]
    if math.isinf(value) and mantissa[-1:].isdecimal():
        return None
    return None if value == 0 and mantissa.strip("+-0.") else value


def of_one_kind(a: int | float, b: int | float) -> tuple[int | float, int | float]:
    """Both as floats where one is; as they are where that can't be."""
    if type(a) is type(b):
        return a, b
    try:
        return float(a), float(b)
    except OverflowError:
        return a, b


def may_differ(one: Token, other: Token) -> bool:
    """Whether two volatile tokens differ in nothing that matters."""
    if one.kind != other.kind or one.kind in (TEXT, NUMBER):
        return False
    return one.kind != "path" or _same_place(one.text, other.text)


def side_by_side(one: str, other: str) -> list[tuple[Token, Token]] | None:
    """The tokens of two texts in pairs; None where more than numbers and volatile ones differ.

    White space may differ beside a token that does: columns are filled up to their width.
    """
    mine, theirs = tokens(one), tokens(other)
    if len(mine) != len(theirs):
        return None
    pairs = list(zip(mine, theirs, strict=True))
    moved = [a.text != b.text for a, b in pairs]
    for index, (a, b) in enumerate(pairs):
        beside = any(moved[max(index - 1, 0) : index] + moved[index + 1 : index + 2])
        if a.kind != b.kind or (moved[index] and not _allowed(a, b, beside)):
            return None
    return pairs


def _allowed(a: Token, b: Token, beside: bool) -> bool:
    """Whether two tokens that differ may, in two texts that are said to be the same."""
    if a.kind == TEXT:
        return beside and a.text.split() == b.text.split()
    return a.kind == NUMBER or may_differ(a, b)


def differs_by_nature(one: str, other: str, tally: VolatileTally) -> bool:
    """Whether two texts differ in volatile tokens alone, which are then counted."""
    pairs = side_by_side(one, other)
    if pairs is None or any(a.kind == NUMBER and a.text != b.text for a, b in pairs):
        return False
    tally.add_all(pairs)
    return True


def whole(text: str) -> str | None:
    """What makes the whole of a text volatile, such as "timestamp"; None where nothing does."""
    found = tokens(text.strip())
    return found[0].kind if len(found) == 1 and found[0].kind not in (TEXT, NUMBER) else None


def _same_place(one: str, other: str) -> bool:
    """Whether two paths name one file in directories that are called otherwise, or random files."""
    names = one.rpartition("/")[2], other.rpartition("/")[2]
    return names[0] == names[1] or all(map(_RANDOM_NAME.fullmatch, names))


# ---------------------------------------------------------------- names


_TIME_COLUMN = re.compile(
    r"(?:.*[/._ -])?(?:time|times|timestamp|wall_?time|wall_?clock|elapsed|duration|date|datetime"
    r"|created|created_at|updated_at|started|started_at|start_time|finished|finished_at|ended"
    r"|ended_at|end_time|time_?stamp|run_?time|cpu_?time|train_?time|training_?time|eval_?time"
    r"|epoch_?time|time_?elapsed|elapsed_?time|time_this_iter_s|time_total_s|timeitr|total_?time"
    r"|(?:fit|score)_?time|fps|.*_per_sec(?:ond)?)"
    r"(?:[_ ]?\(?(?:ns|us|ms|s|secs?|seconds?|min|minutes?|h|hours?|utc|iso)\)?)?"
)


def is_time_name(name: str) -> bool:
    """Whether a column or key is named as a time, a duration or a rate that is measured."""
    return _TIME_COLUMN.fullmatch(name.strip().lower()) is not None


def is_time(name: str, *values: float) -> bool:
    """Whether numbers of a column or key are times, by its name and by what they are.

    "time" alone may also be a result, such as a step of a simulation: an integer is taken for a
    time there only where it may be seconds since 1970.
    """
    if not is_time_name(name) or any(value < 0 for value in values):
        return False
    if name.strip().lower() not in _BARE:
        return True
    return all(isinstance(value, float) or value >= SECONDS for value in values)


SECONDS = 10**8  # an integer from here on may be seconds since 1970
_BARE = ("time", "times", "date")


# ---------------------------------------------------------------- counting


class VolatileTally:
    """Counts what differs and is volatile, with one example of each."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, what: str, original: str, now: str, count: int = 1) -> None:
        """Note a difference, or several."""
        before, example = self._found.get(what, (0, ""))
        example = example or f"{cut(original.strip())} / {cut(now.strip())}"
        self._found[what] = before + count, example

    def add_all(self, pairs: list[tuple[Token, Token]]) -> None:
        """Note what differs among pairs of volatile tokens."""
        for a, b in pairs:
            if a.text != b.text and a.kind not in (TEXT, NUMBER):
                self.add(a.kind, a.text, b.text)

    def result(self) -> tuple[Volatile, ...]:
        """What was found; most often first."""
        ordered = sorted(self._found.items(), key=lambda entry: -entry[1][0])
        return tuple(
            Volatile(what=what, count=count, example=example) for what, (count, example) in ordered
        )
