"""What the container was told about the run: the variable REPRORUN_GUEST."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

VARIABLE = "REPRORUN_GUEST"


class Guest(NamedTuple):
    """What the host says to the code inside the container.

    Args:
        log_dir: Where the record is mounted, an absolute path.
        root: The working tree inside the container, an absolute path.
        metadata: What metadata.json is to hold (githash, launcher).
        params: Parameters that override those which the launcher passes.
    """

    log_dir: str
    root: str
    metadata: dict[str, str]
    params: dict[str, Any]


def current_guest() -> Guest | None:
    """Reads REPRORUN_GUEST.

    Returns:
        What the host said, or None outside a container.

    Raises:
        ValueError: If the variable does not hold what the host writes there.
    """
    text = os.environ.get(VARIABLE)
    return _parse(text) if text else None


def _parse(text: str) -> Guest:
    try:
        told = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{VARIABLE} is not JSON ({error}); only reprorun sets it") from None
    if not isinstance(told, dict):
        raise ValueError(f"{VARIABLE} is not a JSON object; only reprorun sets it")
    return Guest(
        log_dir=_field(told, "log_dir", str),
        root=_field(told, "root", str),
        metadata=_field(told, "metadata", dict, {}),
        params=_field(told, "params", dict, {}),
    )


def _field(told: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = told.get(name, default)
    if not isinstance(value, kind):
        wanted = "an object" if kind is dict else "a string"
        raise ValueError(f"{VARIABLE}: {name!r} is {value!r}, not {wanted}; only reprorun sets it")
    return value
