"""All tests: signals as a terminal has them, and no time limit for one example of a property.

Tests interrupt what they start. In the background of a shell, or under nohup, interrupts are
ignored, children inherit that, and reprorun heeds it.
"""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # how long one takes depends on the rest
settings.load_profile("any machine")

_DEFAULTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}

for _number, _handler in _DEFAULTS.items():
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)
