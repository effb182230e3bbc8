"""All tests: signals as a terminal has them, and no time limit for one example of a property.

Tests interrupt what they start. In the background of a shell, or under nohup, interrupts are
ignored, children inherit that, and reprorun heeds it.
"""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # how long one takes depends on the rest
settings.load_profile("any machine")

_SHARED = {
    **dict.fromkeys(("test_places.py", "test_remote.py"), "tunnels"),
    # what one removes at its end, another may be using
    **dict.fromkeys(("test_cluster.py", "test_cluster_check.py", "test_gpu_slots.py"), "clusters"),
    **dict.fromkeys(("test_engine.py", "test_afterwards.py"), "engines"),  # started once
}
"""File of tests -> what it shares with others: those are not run side by side."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`, the tests of a file stay together."""
    for item in items:
        name = _SHARED.get(item.path.name, str(item.path))
        item.add_marker(pytest.mark.xdist_group(name))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Ids stand in a variable of every program that a test starts: not what is longer than those
    may be.
    """
    return f"long-{argname}" if isinstance(val, str | bytes) and len(val) > 1000 else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Stop where xdist has not seen the groups: it would run anything beside anything."""
    grouped = session.config.getoption("loadgroup", default=False)
    alone = [item.nodeid for item in session.items if "@" not in item.nodeid]
    if grouped and alone:
        raise pytest.UsageError(f"xdist sees no group of {alone[0]} and {len(alone) - 1} more")


_DEFAULTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}

for _number, _handler in _DEFAULTS.items():
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)
