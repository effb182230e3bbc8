"""What an engine knows of a container that nobody attended: when it ran, and what it printed."""

from __future__ import annotations

from reprorun.workflow.keeper import utc_now

from ..kit import Kit
from .test_engine import kit, spec

__all__ = ["kit"]


def test_when_it_ran(kit: Kit) -> None:
    before = utc_now()
    container = kit.engine.create(spec(kit, "exit 3"))
    state = kit.engine.state(container)
    assert (state.running, state.started, state.ended) == (False, None, None)
    kit.engine.start(container)
    state = kit.engine.wait(container)
    assert (state.running, state.exit_code) == (False, 3)
    assert state.started
    assert state.ended
    assert before <= state.started <= state.ended <= utc_now()
    kit.engine.remove(container)


def test_while_it_runs_it_has_not_ended(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "sleep 30"))
    kit.engine.start(container)
    state = kit.engine.state(container)
    assert state.running
    assert state.started
    assert state.ended is None
    kit.engine.remove(container)


def test_what_it_printed_can_be_read_later(kit: Kit) -> None:
    container = kit.engine.create(spec(kit, "echo one; echo two >&2; echo three"))
    assert b"".join(kit.engine.logs(container)) == b""
    kit.engine.start(container)
    kit.engine.wait(container)
    lines = b"".join(kit.engine.logs(container)).splitlines()
    assert sorted(lines) == [b"one", b"three", b"two"]
    assert [line for line in lines if line != b"two"] == [b"one", b"three"]
    assert b"".join(kit.engine.logs(container)).splitlines() == lines
    kit.engine.remove(container)
