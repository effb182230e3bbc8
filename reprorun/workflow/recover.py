"""`reprorun recover`: what killed processes have left is finished, or removed.

    take over -> look -> end what has ended -> wait for what runs -> clean up

Whatever somebody is at work on is left alone. Everything can be broken off and done once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import NamedTuple

from reprorun import files, held
from reprorun.engine import Engine
from reprorun.errors import EngineError, EngineUnavailable, ReprorunError
from reprorun.held import Hold
from reprorun.model import Record, Value
from reprorun.workflow.abandoned import SETTLED, Found, look, take_unmarked
from reprorun.workflow.attend import Ending
from reprorun.workflow.end_again import close_run, end_run, lose_run
from reprorun.workflow.gather import Connect
from reprorun.workflow.keeper import explain
from reprorun.workflow.remains import clear_cache, foresee_remains, remove_remains
from reprorun.workflow.report import Reporter
from reprorun.workflow.wait_for import wait_for

WITHOUT_US = "its container runs on without us; `reprorun recover` waits for it"


class Recovered(Value, frozen=True, kw_only=True):
    """What became of something that was left behind."""

    what: str  # a run's status; else removed, waiting, left
    name: str  # path of the record, or what was removed
    text: str
    id: str = ""
    exit_code: int | None = None


class Scope(NamedTuple):
    """How much is looked at, and what is done."""

    directories: Sequence[str] = ()  # with records beside those that this machine knows
    unmarked: bool = True  # also records that no process has noted as its own
    wait: bool = True  # for containers that still run
    below: str | None = None  # only runs whose record lies in this directory
    dry_run: bool = False


def recover(scope: Scope, connect: Connect, report: Reporter) -> Iterator[Recovered]:
    """Finish or remove what was left behind.

    Ctrl-C leaves containers that still run as they are, and their records, too.

    Args:
        scope: what is looked at.
        connect: reaches the engine; not called where nothing is left that could be on one.
        report: told what happens.

    Yields:
        What became of each.

    Raises:
        EngineError: the engine does not answer; what is not done yet stays as it is.
    """
    with ExitStack() as stack:
        marked = _within(scope.below, _noted(_taken(stack, held.take_over())))
        unnoted = scope.unmarked and any(each.mark == held.BLANK for each in marked)
        unmarked = take_unmarked(scope.directories, marked) if scope.unmarked else []
        for each in _taken(stack, unmarked):
            stack.callback(_forget, each)
        holds = [*marked, *unmarked]
        engine = None
        if unnoted or unmarked or any(each.mark.engine is not None for each in marked):
            engine = stack.enter_context(closing(connect()))
            _let_settle(marked, report)
        found = look(holds, engine)
        if scope.dry_run:
            for left in found:
                yield from _foreseen(left, engine, report)
            return
        _note(found, engine)
        yield from _end_all(found, scope, engine, report)
        scratch = files.remove_abandoned_scratch()
        if scratch:
            yield _removed(scratch, "scratch directories")
        if scope.unmarked:
            clear_cache()


def recover_by_the_way(connect: Connect, report: Reporter) -> None:
    """The same before something else is done: quick, and without a word where nothing is left.

    What still runs is not waited for, and an engine that does not answer is no error.
    """
    if not held.is_any_left():
        return
    try:
        for each in recover(Scope(unmarked=False, wait=False), connect, report):
            report.note(f"left from before: {each.name}: {each.what} ({each.text})")
    except (ReprorunError, OSError) as error:
        report.note(f"what was left from before stays so: {error}")


def _within(directory: str | None, holds: list[Hold]) -> list[Hold]:
    """Those whose record lies in a directory; all others are let go of at once."""
    if directory is None:
        return holds
    inside = [each for each in holds if (each.mark.log_dir or "").startswith(f"{directory}/")]
    for each in holds:
        if each not in inside:
            each.let_go()
    return inside


def _taken(stack: ExitStack, holds: list[Hold]) -> list[Hold]:
    """Whatever happens, they are let go of in the end."""
    for each in holds:
        stack.callback(each.let_go)
    return holds


def _noted(holds: list[Hold]) -> list[Hold]:
    """Those that were begun; the others are what a `recover` that was killed had looked at."""
    return [each for each in holds if not _forget(each)]


def _forget(hold: Hold) -> bool:
    """Let a record be unknown that was only looked at; whether it was."""
    if hold.mark.looked:
        hold.end()
    return hold.mark.looked


def _note(found: Sequence[Found], engine: Engine | None) -> None:
    """What nobody had noted, and is ours, is noted now: if we are killed, it is found again."""
    for hold, left in found:
        if engine and left.fate != "leave" and left.containers and hold.mark.engine is None:
            hold.tell(engine=engine.info().address, looked=False)


def _let_settle(holds: Sequence[Hold], report: Reporter) -> None:
    """What a process asked for that was killed a moment ago may still be under way."""
    youngest = min((each.age for each in holds if each.mark.engine is not None), default=SETTLED)
    if youngest < SETTLED:
        report.progress("waiting for the engine to be done with what was asked of it")
        time.sleep(SETTLED - max(youngest, 0.0))


def _foreseen(found: Found, engine: Engine | None, report: Reporter) -> Iterator[Recovered]:
    words = {"close": "finish", "harvest": "finish", "unbegun": "remove"}
    fate = found.left.fate
    if fate != "cleanup":
        yield _said(found, words.get(fate, fate), found.left.text)
    elif names := foresee_remains(found, engine, report):  # of a closed record, say: not that
        name, text = ", ".join(names), found.left.text
        yield Recovered(what="remove", name=name, text=text, id=found.held.identity)


def _name(found: Found) -> str:
    mark = found.held.mark
    containers = ", ".join(container.name for container in found.left.containers)
    paths = ", ".join(mark.paths)
    return found.left.log_dir or containers or paths or mark.wanted or found.held.identity


# ---------------------------------------------------------------- each


def _end_all(
    found: Sequence[Found], scope: Scope, engine: Engine | None, report: Reporter
) -> Iterator[Recovered]:
    running = [each for each in found if each.left.fate == "wait"]
    # runs first: what is held beside is a directory that may be one's
    for each in sorted(found, key=lambda each: each.left.log_dir is None):
        if each.left.fate != "wait":
            yield from _told(each, partial(_end, each, engine, report))
    if engine and running and scope.wait:
        yield from _wait_for(running, engine, report)
    elif running:
        yield from (_said(each, "running", WITHOUT_US) for each in running)


def _wait_for(running: Sequence[Found], engine: Engine, report: Reporter) -> Iterator[Recovered]:
    for each in running:
        report.step("waiting", f"{_name(each)} ({each.left.containers[0].name})")
    for each, ending in wait_for(running, engine):
        yield from _told(each, partial(_end_waited, each, ending, engine, report))


def _end_waited(
    found: Found, ending: Ending | EngineError, engine: Engine, report: Reporter
) -> Recovered:
    if isinstance(ending, EngineError):
        raise ending
    return _of_run(found, end_run(found.left, found.held, ending, engine, report))


def _told(found: Found, end: Callable[[], Recovered | None]) -> Iterator[Recovered]:
    """What came of it. What can't be done now is left, and said."""
    try:
        done = end()
    except EngineUnavailable:
        raise
    except OSError as error:
        done = _said(found, "left", explain(error, found.left.log_dir or ""))
    except ReprorunError as error:
        done = _said(found, "left", str(error))
    if done:
        yield done


def _end(found: Found, engine: Engine | None, report: Reporter) -> Recovered | None:
    hold, left = found
    if left.fate == "leave":
        return _said(found, "left", left.text)
    if left.fate in ("cleanup", "unbegun"):
        removed = remove_remains(found, engine, report)
        return _removed(removed, left.text, hold.identity) if removed else None
    if left.fate == "close":
        return _of_run(found, close_run(left, hold, engine))
    if left.fate == "lost":
        return _of_run(found, lose_run(left, hold, engine))
    assert engine is not None  # which has told of its container
    assert left.state is not None
    ending = Ending(state=left.state, cause=hold.mark.cause)
    return _of_run(found, end_run(left, hold, ending, engine, report))


def _of_run(found: Found, record: Record) -> Recovered:
    text = record.reason or f"exit code {record.exit_code}"
    return Recovered(
        what=record.status,
        name=_name(found),
        text=text,
        id=record.id,
        exit_code=record.exit_code,
    )


def _removed(what: list[str], text: str, identity: str = "") -> Recovered:
    return Recovered(what="removed", name=", ".join(what), text=text, id=identity)


def _said(found: Found, what: str, text: str) -> Recovered:
    return Recovered(what=what, name=_name(found), text=text, id=found.held.identity)
