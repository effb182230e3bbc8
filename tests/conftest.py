"""All tests: signals as a terminal has them.

Tests interrupt what they start. In the background of a shell, or under nohup, interrupts are
ignored, children inherit that, and reprorun heeds it.
"""

from __future__ import annotations

import signal

_DEFAULTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}

for _number, _handler in _DEFAULTS.items():
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)
