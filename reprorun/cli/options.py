"""Options that commands share, and the reading of their values."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from reprorun.errors import UsageError
from reprorun.experiment.guest import VARIABLE as GUEST_VARIABLE

HELP = {"help_option_names": ["-h", "--help"]}
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}


def parse_params(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`-P KEY=VALUE`: a JSON value; text that is no JSON is taken as it stands.

    Raises:
        UsageError: no key, or one of Python's words where JSON has its own.
    """
    params = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"-P {pair}: give it as KEY=VALUE, with KEY a parameter's name.")
        params[key] = _json_value(pair, text)
    return params


def _json_value(pair: str, text: str) -> Any:
    if text in _PYTHON_WORDS:
        raise UsageError(
            f"-P {pair}: values are JSON; write {_PYTHON_WORDS[text]}, "
            f"or '\"{text}\"' for the text."
        )
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        if text.startswith(("[", "{", '"')):
            raise UsageError(f"-P {pair}: this looks like JSON, but is none.") from None
        return text
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        raise UsageError(f"-P {pair[:60]}...: that is too much of a value.") from None
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise UsageError(f"-P {pair}: JSON has no NaN and no infinity.") from None
    return value


def parse_env(entries: tuple[str, ...]) -> dict[str, str]:
    """`-e KEY=VALUE`, or `-e KEY` for the host's value.

    Raises:
        UsageError: no name, or a bare name that the host has not.
    """
    env = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            # without the value, which may be a secret
            raise UsageError(f"-e {name}: give it as KEY=VALUE, or KEY for the host's value.")
        if name == GUEST_VARIABLE:
            raise UsageError(f"-e {name}: reprorun sets this variable itself.")
        if not equals:
            if name not in os.environ:
                raise UsageError(f"-e {name}: the host has no variable of that name to pass on.")
            value = os.environ[name]
        env[name] = value
    return env
