"""Reaching an engine that may be away for a while, as when it is being restarted."""

from __future__ import annotations

import time
from collections.abc import Callable

from reprorun.engine import Engine
from reprorun.errors import EngineUnavailable

PATIENCE = 60.0  # seconds that an engine may be away
_PAUSE = 1.0  # seconds between two tries


def reach(connect: Callable[[], Engine], given_up: Callable[[], bool] = lambda: False) -> Engine:
    """Connect with an engine; one that is away is waited for.

    Args:
        connect: reaches it.
        given_up: whether nobody waits any more.

    Raises:
        EngineUnavailable: it does not come back.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return connect()
        except EngineUnavailable:
            if time.monotonic() > end or given_up():
                raise
            time.sleep(_PAUSE)
