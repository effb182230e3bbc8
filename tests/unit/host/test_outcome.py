"""How a run is judged."""

from __future__ import annotations

from typing import Any

import pytest

from reprorun.model import ContainerState, GuestReport, Limits, Outcome
from reprorun.workflow.attend import Cause, Ending
from reprorun.workflow.outcome import FROM_OUTSIDE, clock_warning, judge, network_advice

LIMITS = Limits(memory=64 << 20, timeout=1.5)


def ending(exit_code: int | None = 0, cause: Cause = "exited", **state: Any) -> Ending:
    return Ending(
        state=ContainerState(running=False, exit_code=exit_code, **state),
        cause=cause,
    )


GUEST = GuestReport()
MEMORY = "ran out of memory: it used the limit of 64 MiB (--memory), and the kernel killed it"


@pytest.mark.parametrize(
    ("end", "guest", "status", "code", "reason"),
    [
        (ending(), GUEST, "finished", 0, None),
        (ending(), None, "finished", 0, None),
        (ending(3), GUEST, "failed", 3, "ended with exit code 3"),
        (ending(3), None, "failed", 3, "ended with exit code 3"),
        (ending(127, error="no such file"), None, "failed", 127,
         "the engine could not run it: no such file"),
        (ending(139), None, "failed", 139, "was killed by SIGSEGV"),
        (ending(139), GuestReport(signal="SIGSEGV"), "failed", 139, "was killed by SIGSEGV"),
        (ending(139), GUEST, "failed", 139, "ended with exit code 139"),  # it exited so itself
        (ending(130), None, "interrupted", 130, FROM_OUTSIDE),
        (ending(130), GuestReport(signal="SIGINT"), "interrupted", 130, FROM_OUTSIDE),
        (ending(1), GuestReport(interrupted=True), "interrupted", 1, FROM_OUTSIDE),
        (ending(0), GuestReport(interrupted=True), "interrupted", 130, FROM_OUTSIDE),  # it saved
        (ending(130), GUEST, "failed", 130, "ended with exit code 130"),
        (ending(158), None, "interrupted", 130, FROM_OUTSIDE),  # it was told to stop, not yet begun
        (ending(158), GUEST, "failed", 158, "ended with exit code 158"),
        (ending(158), GuestReport(signal="SIGPWR"), "failed", 158, "was killed by SIGPWR"),
        (ending(1), None, "failed", 1, "ended with exit code 1"),
        (ending(255), None, "failed", 255, "ended with exit code 255"),  # sys.exit(-1)
        (ending(128), None, "failed", 128, "ended with exit code 128"),
        (ending(137, oom_killed=True), None, "failed", 137, MEMORY),
        (ending(1), GuestReport(oom_killed=True), "failed", 1, MEMORY),
        (ending(137, oom_killed=True, error="x"), GuestReport(signal="SIGKILL"), "failed", 137,
         MEMORY),
        (ending(0), GuestReport(oom_killed=True), "finished", 0, None),  # it coped
        (ending(0, "interrupted"), GUEST, "interrupted", 130, "interrupted by the user"),
        (ending(137, "interrupted"), None, "interrupted", 130, "interrupted by the user"),
        (ending(137, "timeout"), None, "failed", 124,
         "exceeded its time limit of 1.5 s (--timeout)"),
        (ending(0, "timeout"), GUEST, "failed", 124,
         "exceeded its time limit of 1.5 s (--timeout)"),
    ],
)  # fmt: skip
def test_judge(
    end: Ending, guest: GuestReport | None, status: Any, code: int, reason: str | None
) -> None:
    wanted = Outcome(status=status, exit_code=code, reason=reason, guest=guest)
    assert judge(end, guest, LIMITS) == wanted


def test_success_is_never_said_of_a_failure() -> None:
    for code in range(1, 256):
        for guest in (None, GUEST):
            outcome = judge(ending(code), guest, Limits())
            stopped = code in (130, 158) and guest is None
            told = ("interrupted", 130) if stopped else ("failed", code)
            assert (outcome.status, outcome.exit_code) == told
            assert outcome.reason


def test_out_of_memory_without_a_limit() -> None:
    outcome = judge(ending(137, oom_killed=True), None, Limits())
    assert outcome.reason
    assert outcome.reason.startswith("ran out of memory")


def test_a_clock_that_was_set_back_is_told() -> None:
    noon, one = "2026-01-01T12:00:00.000000+00:00", "2026-01-01T13:00:00.123456+00:00"
    assert clock_warning(noon, noon) is clock_warning(noon, one) is clock_warning(None, one) is None
    assert "set back" in (clock_warning(one, noon) or "")


FAILED = Outcome(status="failed", exit_code=1)


@pytest.mark.parametrize(
    "line",
    [
        "socket.gaierror: [Errno -3] Temporary failure in name resolution",
        "OSError: [Errno 101] Network is unreachable",
        "curl: (6) Could not resolve host: example.invalid",
    ],
)
def test_the_network_is_named_when_it_was_missed(line: str) -> None:
    advice = network_advice(FAILED, "none", f"before\n{line}\nafter")
    assert advice
    assert "--network bridge" in advice
    assert network_advice(FAILED, "bridge", line) is None
    assert network_advice(Outcome(status="finished", exit_code=0), "none", line) is None


def test_other_failures_say_nothing_of_the_network() -> None:
    assert network_advice(FAILED, "none", "ValueError: unreachable") is None
