"""A point of a sweep -> the name of its record, such as `seed=1_lr=0.1`."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from reprorun.json_text import canonical
from reprorun.sweeps.values import Params

LONGEST = 200  # bytes of a name; file systems take 255, and something may be put behind it
HASH_LENGTH = 12  # hex digits
NO_PARAMS = "run"

_MARK = "~"  # in front of a hash; nothing else holds it
_ODD = frozenset("_.,+-@[]")  # what stands beside letters and digits; a shell leaves it alone


def name_of(params: Params, *, mixed: bool = False) -> str:
    """The name of a run.

    Numbers, words and short lists stand as they are. A text that could be taken for something else
    (`"1"`, `"true"`), or holds what is odd in a file name, is reduced to what is not, with a short
    hash put behind; so is a name that is too long. Two points with the same parameters in the same
    order thus differ in their names.

    Args:
        params: of the point.
        mixed: the sweep's points have different parameters (`Points.mixed`). Then an underscore
            might belong to a value or to the next name, so that every name gets a hash.
    """
    if not params:
        return NO_PARAMS
    name = "_".join(f"{_key_of(key)}={_text_of(value)}" for key, value in params.items())
    if mixed or len(name.encode()) > LONGEST:
        return f"{_cut(name)}{_MARK}{_hash(params)}"
    return name


def _key_of(key: str) -> str:
    """The parameter's own name in a name; a `sweep.json` may hold any, such as `../x`."""
    return key if key.isidentifier() else f"{re.sub(r'[^A-Za-z0-9_]', '', key)}{_MARK}{_hash(key)}"


def _text_of(value: Any) -> str:
    """The value in a name. No two values give the same text, unless their hashes are the same."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    if _is_plain(text) and _reads_as_json(text) != isinstance(value, str):
        return text
    return f"{''.join(filter(_is_plain, text))}{_MARK}{_hash(value)}"


def _is_plain(text: str) -> bool:
    return all(c.isalnum() or c in _ODD for c in text)


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or more than a value can be
        return False
    return True


def _hash(value: Any) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:HASH_LENGTH]


def _cut(name: str) -> str:
    room = LONGEST - len(_MARK) - HASH_LENGTH
    return name.encode()[:room].decode(errors="ignore")
