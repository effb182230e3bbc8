"""How a run ended, from what the engine, the guest and the clock say. Pure."""

from __future__ import annotations

import signal
from datetime import datetime

from reprorun.model import STOP_SIGNAL, GuestReport, Limits, Network, Outcome
from reprorun.workflow.attend import Ending

INTERRUPTED = 130
BY_USER = "interrupted by the user"
FROM_OUTSIDE = (
    "was stopped, and not by reprorun: the engine was shut down, somebody used `docker stop`, or "
    "it sent SIGINT itself"
)
TIMED_OUT = 124  # as timeout(1) has it

_WANTS_NETWORK = (
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "Could not resolve host",
    "getaddrinfo",
)


def judge(ending: Ending, guest: GuestReport | None, limits: Limits) -> Outcome:
    """The outcome of a run whose container has exited."""
    code = ending.state.exit_code if ending.state.exit_code is not None else INTERRUPTED
    if ending.cause == "interrupted":
        return Outcome(
            status="interrupted",
            exit_code=INTERRUPTED,
            reason=BY_USER,
            guest=guest,
        )
    if ending.cause == "timeout":
        reason = f"exceeded its time limit of {limits.timeout:g} s (--timeout)"
        return Outcome(status="failed", exit_code=TIMED_OUT, reason=reason, guest=guest)
    if _was_interrupted(code, guest):
        own = code if guest and code else INTERRUPTED  # of its own only where it had begun
        return Outcome(status="interrupted", exit_code=own, reason=FROM_OUTSIDE, guest=guest)
    if code == 0:
        return Outcome(status="finished", exit_code=0, guest=guest)
    return Outcome(
        status="failed", exit_code=code, reason=_why(code, ending, guest, limits), guest=guest
    )


def _was_interrupted(code: int, guest: GuestReport | None) -> bool:
    """Python, say, ends by the signal; but with 1 where it came while it was starting.

    With 0 where the experiment saves what it has, and goes: it is not all that it was to do.
    Without a report it is the container's main process that a signal ended.
    """
    if guest is None:
        return _signal_name(code - 128) in ("SIGINT", STOP_SIGNAL)
    return guest.interrupted or guest.signal == "SIGINT"


def _why(code: int, ending: Ending, guest: GuestReport | None, limits: Limits) -> str:
    if ending.state.oom_killed or (guest and guest.oom_killed):
        bound = f"the limit of {limits.memory / 2**20:g} MiB (--memory)" if limits.memory else "all"
        return f"ran out of memory: it used {bound}, and the kernel killed it"
    if guest and guest.refused:
        return _plain(guest.refused)
    if ending.state.error:
        return f"the engine could not run it: {ending.state.error}"
    if guest and guest.signal:
        return f"was killed by {guest.signal}"
    if guest is None and (name := _signal_name(code - 128)):
        return f"was killed by {name}"
    return f"ended with exit code {code}"


def _plain(text: str) -> str:
    """What the guest says, which people read on their terminals."""
    return "".join(char if char.isprintable() else "?" for char in text[:500])


def _signal_name(number: int) -> str | None:
    """None where there is no such signal: 255 is what `sys.exit(-1)` gives."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def memory_warning(outcome: Outcome) -> str | None:
    """A line for a run that came to its end although the kernel killed a part of it."""
    if outcome.status != "finished" or not (outcome.guest and outcome.guest.oom_killed):
        return None
    return "the kernel killed one of its processes for want of memory; the others went on"


def clock_warning(started: str | None, ended: str | None) -> str | None:
    """A line for a run that ended, by the clock, before it began."""
    if started is None or ended is None:
        return None
    if datetime.fromisoformat(ended) >= datetime.fromisoformat(started):
        return None
    return "it ended before it began: the clock was set back meanwhile, or the engine's is another"


def gpu_warning(outcome: Outcome) -> str | None:
    """A line for a run that was to have what GPUs there are, and saw none."""
    seen = outcome.guest.gpus if outcome.guest else None
    if seen is None or seen.gpus or (outcome.guest and outcome.guest.refused):
        return None
    why = f" ({seen.why})" if seen.why else ""
    return f"the engine's GPU runtime was used, but the container saw no GPU{why}"


def network_advice(outcome: Outcome, network: Network, tail: str) -> str | None:
    """A line for a run that failed, it seems, for want of the network."""
    if outcome.exit_code == 0 or network != "none":
        return None
    if not any(words in tail for words in _WANTS_NETWORK):
        return None
    return "it wanted the network, and has none; `--network bridge` gives it one"
