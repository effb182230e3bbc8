"""What processes that are no more have left behind, and what is to become of each. Nothing is done.

Who had it is known by the locks of `reprorun.held`. Records of which nobody has noted anything (the
machine may have lost its power) are found where the user says that there are some, or where runs of
this machine have noted that one lies.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

from reprorun import store
from reprorun.engine import Engine
from reprorun.errors import RecordError
from reprorun.files import cache_directory
from reprorun.held import BLANK, Hold, Mark, hold, is_held, log_dirs
from reprorun.known import is_id, known_records, noted_place
from reprorun.model import RUN_LABEL, ContainerState, ListedContainer, Record, Value

SETTLED = 1.0  # seconds after which an engine has done what a killed process had asked of it
OPEN = ("created", "building", "running", "lost")
_UNREADABLE = (
    "what was noted of it never reached the disk, as after a power failure: `reprorun recover` "
    "looks for its record, `reprorun recover DIRECTORY` there; if there is none, remove it"
)

Fate = Literal[
    "cleanup",  # there is no run, or it is closed: what is left of it goes
    "unbegun",  # its record was not begun
    "lost",  # nobody can tell how it ended
    "close",  # how it ended is known, and all that it made is there
    "harvest",  # its container has exited
    "wait",  # its container runs
    "leave",  # nothing can be said from here
]


class Left(Value, frozen=True, kw_only=True):
    """Something that was left behind."""

    fate: Fate
    text: str = ""  # why
    log_dir: str | None = None
    record: Record | None = None
    containers: tuple[ListedContainer, ...] = ()
    state: ContainerState | None = None  # of the container of a run


class Found(NamedTuple):
    """What was left behind, in the hands of this process."""

    held: Hold
    left: Left


def take_unmarked(directories: Sequence[str], marked: Sequence[Hold]) -> list[Hold]:
    """Records that say of themselves that their run is under way, and that nobody has noted.

    Args:
        directories: where to look, beside the places that this machine knows.
        marked: what has been noted; of a record that was moved it is told where it lies now. Where
            nothing can be read of it, the record tells.
    """
    blank = {each.identity: each for each in marked if each.mark == BLANK}
    gone = [each for each in marked if each.mark.log_dir and not os.path.isdir(each.mark.log_dir)]
    moved = {each.identity: each for each in gone}
    named = {os.path.realpath(p) for place in directories for p in store.find_records(place)}
    places = {*named, *(os.path.realpath(place) for place in known_records())} - log_dirs()
    taken = []
    for place in sorted(places):
        with suppress(RecordError):  # `ls` tells of it
            record = store.read_record(place)
            if record.id in moved:
                moved[record.id].tell(log_dir=place)
            elif record.status not in OPEN or not is_id(record.id):
                continue
            elif record.id in blank:
                mark = Mark(node=_node_of(record, os.uname().nodename), log_dir=place)
                blank.pop(record.id).mark = mark
            elif not is_held(record.id):
                here = os.uname().nodename if noted_place(record.id) == place else "another machine"
                node = _node_of(record, here)
                taken.append(hold(record.id, node=node, log_dir=place, looked=True))
    return taken


def _node_of(record: Record, here: str) -> str:
    """The machine on which a run was begun of which that is not noted."""
    far = record.engine is not None and record.engine.remote
    node = "" if far else record.host.node  # else it is the engine's, and not that of who began it
    return node or here


def look(holds: Iterable[Hold], engine: Engine | None) -> list[Found]:
    """What is to become of each.

    Args:
        holds: what was left behind.
        engine: that may have its containers; None where none of them has one.

    Raises:
        EngineError: it does not say.
    """
    listed: dict[str, list[ListedContainer]] = {}
    for container in engine.labelled_containers(RUN_LABEL) if engine else ():
        listed.setdefault(container.labels[RUN_LABEL], []).append(container)
    return [
        Found(held, _look(held, tuple(listed.get(held.identity, ())), engine)) for held in holds
    ]


def _look(held: Hold, containers: tuple[ListedContainer, ...], engine: Engine | None) -> Left:
    mark, log_dir = held.mark, held.mark.log_dir
    elsewhere = _elsewhere(held, containers, engine)
    if elsewhere:
        return Left(fate="leave", text=elsewhere, log_dir=log_dir)
    if mark == BLANK and (engine is None or containers):
        return Left(fate="leave", text=_UNREADABLE, containers=containers)
    if log_dir is None:
        return Left(fate="cleanup", text="belongs to no record", containers=containers)
    if not os.path.isdir(log_dir):
        if _was_for_the_time_being(log_dir):
            text = "its scratch directory is gone"
            return Left(fate="cleanup", text=text, containers=containers)
        if not os.path.isdir(os.path.dirname(log_dir)):
            return Left(fate="leave", text="the place of its record is not there", log_dir=log_dir)
        if containers and _is_only_copy(mark):
            text = f"its record is gone; {containers[0].name} has the only copy of what it made"
            return Left(fate="leave", text=text, log_dir=log_dir, containers=containers)
        return Left(fate="cleanup", text="its record is gone", containers=containers)
    if mark.record is None and not os.path.lexists(os.path.join(log_dir, store.RUN_FILE)):
        return Left(fate="unbegun", log_dir=log_dir, text="its record was not begun")
    try:
        record = mark.record or store.read_record(log_dir)
    except RecordError as error:
        return Left(fate="leave", text=str(error), log_dir=log_dir)
    return _look_at_run(held, record, log_dir, containers, engine)


def _was_for_the_time_being(log_dir: str) -> bool:
    """Whether it lay in a scratch directory, as that of a run on a cluster's node does."""
    return log_dir.startswith(f"{cache_directory('scratch')}/")


def _is_only_copy(mark: Mark) -> bool:
    """Whether the run has ended and its outputs could not be brought out."""
    return mark.record is not None and mark.record.exit_code is not None and not mark.harvested


def _elsewhere(
    held: Hold, containers: tuple[ListedContainer, ...], engine: Engine | None
) -> str | None:
    """Why nothing can be said of it here."""
    here = os.uname().nodename
    if held.mark.node not in ("", here):
        return f"it was begun on {held.mark.node}; run `reprorun recover` there"
    if held.mark.engine is None or containers:
        return None
    if engine is None or held.mark.engine != engine.info().address:
        return f"its container is on the engine at {held.mark.engine}; name that one in DOCKER_HOST"
    return None


def _look_at_run(
    held: Hold,
    record: Record,
    log_dir: str,
    containers: tuple[ListedContainer, ...],
    engine: Engine | None,
) -> Left:
    state = engine.state(containers[0].id) if engine and containers else None
    fate, text = _fate(held, record, state)
    return Left(
        fate=fate, text=text, log_dir=log_dir, record=record, containers=containers, state=state
    )


def _fate(held: Hold, record: Record, state: ContainerState | None) -> tuple[Fate, str]:
    ended = record.exit_code is not None
    if record.status not in OPEN and (state is None or held.mark.harvested or not ended):
        return "cleanup", f"its record is {record.status}"
    if ended and (held.mark.harvested or state is None):
        return "close", f"exit code {record.exit_code}"
    if state is None:
        return _without_container(held, record)
    if state.started is None:
        return _unstarted(record)
    if state.running:
        return "wait", "its container still runs"
    return "harvest", f"its container has ended with exit code {state.exit_code}"


def _without_container(held: Hold, record: Record) -> tuple[Fate, str]:
    if record.status == "lost" and held.mark.record is None:
        return "cleanup", "its record is lost"
    if record.status == "lost":  # the engine went away; what the run had made is not listed yet
        return "lost", _and(record.reason, "its container is gone")
    if not record.isolated:
        return "lost", "reprorun was gone while the run went on without a container"
    if record.status == "running":
        return "lost", "reprorun was gone while the run went on, and its container is gone"
    return _unstarted(record)


def _unstarted(record: Record) -> tuple[Fate, str]:
    if record.status == "lost":
        return "lost", _and(record.reason, "its container was not started")
    return "lost", f"reprorun was gone before the run began (it was {record.status})"


def _and(reason: str | None, more: str) -> str:
    """A reason with more behind it, which may have been put there already."""
    if reason is None or more in reason:
        return reason or more
    return f"{reason.rstrip('.')}; {more}"
