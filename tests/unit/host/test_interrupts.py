"""Interrupts while a block lasts: who gets them, and who has them afterwards."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from reprorun.workflow.interrupts import INTERRUPTS, interrupts_to


@pytest.mark.parametrize("number", INTERRUPTS)
def test_they_are_handed_over_and_raise_nothing(number: signal.Signals) -> None:
    came: list[int] = []
    before = signal.getsignal(number)
    with interrupts_to(came.append):
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert came == [number, number]
    assert signal.getsignal(number) == before


def test_afterwards_all_is_as_before_also_after_an_error() -> None:
    before = [signal.getsignal(number) for number in INTERRUPTS]
    with pytest.raises(ZeroDivisionError), interrupts_to(lambda number: None):
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in INTERRUPTS] == before


def test_what_is_ignored_stays_ignored() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts_to(came.append):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert came == []


def test_in_another_thread_nothing_changes() -> None:
    seen: list[object] = []
    before = signal.getsignal(signal.SIGINT)

    def block() -> None:
        with interrupts_to(lambda number: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert seen == [before]
