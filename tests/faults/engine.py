"""The engine dies, is restarted or stands still in the middle of a command.

On a dockerd of its own; with and without live-restore, by which containers outlive it.
"""

from __future__ import annotations

import atexit
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import docker

from reprorun import store
from reprorun.errors import EngineError
from reprorun.model import Record
from reprorun.workflow.end_again import AWAY

from ..engine.bench import CHECKOUT
from ..engine.daemon import Daemon, daemon, hand_over
from ..kit import BASE
from .base import Fault
from .lab import MADE
from .looking import PRINTED, false_outputs, false_run, left_by, outputs_of, printed_in
from .place import Place
from .steps import Fate

AFTER = 0.7  # seconds after which an experiment has said something
DOWN = 1.0  # seconds that it is away
STILL = 4.0  # seconds that it stands still
SCRIPT = """\
import os, sys, time
sys.stdout.write("first\\n")
sys.stdout.flush()
open("made.txt", "w").write("made")
open("/log/direct.txt", "w").write("direct")
time.sleep(float(os.environ.get("TAKES", "0")))
sys.stderr.write("last\\n")
if os.environ.get("ROUGH"):  # the host has to bring its outputs out
    os.kill(-1, 9)
"""
ROUGH_CODE = 137
BY_SIGNAL = (130, 137, 143)
QUICK = ("exec", "train.py")
SLOW = ("exec", "-e", "TAKES=5", "train.py")
SHORT = ("exec", "-e", "TAKES=1", "train.py")
ROUGH = ("exec", "-e", "ROUGH=1", "train.py")
SWEEP = ("sweep", "-e", "TAKES=2", "train.py", "--grid", "n=0..3", "-j", "2", "-q", "--", "{n}")
POINTS = 4
OURS = str(CHECKOUT / "reprorun")  # in a traceback of ours
BUSY: set[str] = set()
"""Runs whose containers can't be removed: the engine was ended while it had their files mounted.

`reprorun recover` says so and remembers them; the engine can do it when its machine was restarted.
"""


class Case(NamedTuple):
    """What happens to the engine, and when."""

    when: str  # in a few words
    words: tuple[str, ...]  # of the command
    at: str  # the step
    number: signal.Signals
    live: bool = False  # with live-restore
    after: float = 0.0  # seconds after the step
    down: float = DOWN  # seconds that it is away
    goes_on: bool = False  # the command does, and comes to its end
    outlives: bool = False  # the container does: its run is finished

    def __str__(self) -> str:
        live = ", live-restore" if self.live else ""
        return f"{self.number.name} {self.when}{live}"


# ---------------------------------------------------------------- the engine


@cache
def engine(*, live: bool, bridge: bool = False) -> Daemon:
    """One for all faults of this process; its network is its own."""
    held = ExitStack()
    atexit.register(held.close)
    arguments = ("--bridge", "") if bridge else ()
    made = held.enter_context(daemon(arguments, settings={"live-restore": live}))
    hand_over(BASE, made.address)
    return made


def containers(address: str) -> Iterator[str]:
    """All that it has."""
    client = docker.DockerClient(base_url=address)
    try:
        yield from (each.name for each in client.containers.list(all=True))
    finally:
        client.close()


def disturb(case: Case, made: Daemon, child: int) -> None:
    """See to the engine after the signal: start it again, or let it go on."""
    if case.number == signal.SIGSTOP:
        while _state(made.pid) != "T" and _state(child) not in ("", "Z"):
            time.sleep(0.02)
        time.sleep(STILL)
        os.kill(made.pid, signal.SIGCONT)
        return
    while made.runs and _state(child) not in ("", "Z"):
        time.sleep(0.02)
    if made.runs and case.number == signal.SIGTERM:  # it takes its time
        time.sleep(0.5)
    made.ended()
    time.sleep(case.down)
    made.start()


def _state(pid: int) -> str:
    """Of a process: T is stopped, Z has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return ""


# ---------------------------------------------------------------- one fault


def inject(case: Case, root: Path) -> list[str]:
    """Run the command, let it happen, recover, and look."""
    made = engine(live=case.live)
    place = Place(root, made.address)
    place.begin(SCRIPT)
    place.change(time.time_ns())  # there is an image to be made
    fate = Fate(case.at, case.number, made.pid, case.after)
    code = place.command(*case.words, fate=fate, meanwhile=partial(disturb, case, made))
    printed = place.said.read_text()
    recovered = place.command("recover")
    said = place.said.read_text()
    records = {path: store.read_record(str(path)) for path in place.log_dirs()}
    own = {each.exit_code for each in records.values() if each.status == "interrupted"}
    wrong = list(_false_end(case, code, printed, own))
    if recovered not in (0, 1) or OURS in said:
        wrong.append(f"recover ended with {recovered}: {said.strip()[-300:]}")
    for log_dir, record in records.items():
        wrong += _false(case, log_dir, record)
    if case.words == SWEEP:
        wrong += _missing(records.values())
    if "device or resource busy" in said:
        BUSY.update(path.name for path in place.held.iterdir())
    left = left_by(place, containers(made.address))
    return [*wrong, *(each for each in left if not any(run in each for run in BUSY))]


def _false_end(case: Case, code: int, said: str, own: set[int | None]) -> Iterator[str]:
    """How the command ended, if it should not have ended so; `own`: codes of interrupted runs."""
    message = said.rpartition("reprorun: error: ")[2].strip()
    if OURS in said:
        yield f"a traceback: {said[-500:]}"
    if case.goes_on and code != 0:
        yield f"it ended with {code}: {message}"
    elif code == EngineError.exit_code and not 1 <= len(message.splitlines()) <= 2:
        yield f"no error that says what happened: {said[-500:]}"
    elif code not in (0, EngineError.exit_code, *BY_SIGNAL, *own):
        yield f"it ended with {code}: {message}"


def _false(case: Case, log_dir: Path, record: Record) -> Iterator[str]:
    """What a record says that is not so."""
    where = f"{log_dir.name} ({record.status}, {record.exit_code}, {record.reason})"
    if record.status == "finished":
        for each in false_run(log_dir, MADE):
            # with a note that says so, and where the engine had not taken all
            if ": printed" not in each or AWAY not in record.notes or case.outlives:
                yield each
        return
    rough = case.words == ROUGH and record.exit_code == ROUGH_CODE
    if case.outlives and not rough and log_dir.name != "original":
        yield f"{where}: its container outlived the engine"
    if record.status not in ("failed", "interrupted", "lost") or not record.reason:
        yield where
    if record.exit_code not in (None, *BY_SIGNAL) and record.status != "interrupted":
        yield where
    outputs = outputs_of(log_dir)
    yield from false_outputs(where, record, outputs)
    if rough and outputs != MADE:
        yield f"{where}: made {sorted(outputs)}"
    if rough and printed_in(log_dir) != PRINTED:
        yield f"{where}: printed {printed_in(log_dir)}"


def _missing(records: Iterable[Record]) -> Iterator[str]:
    """Points of a sweep that did not come to their end; what the engine fails is tried again."""
    finished = {each.argv for each in records if each.status == "finished" and each.argv[1:]}
    if len(finished) != POINTS:
        yield f"{len(finished)} of {POINTS} points are finished"


# ---------------------------------------------------------------- all of them


def _cases() -> Iterator[Case]:
    kill, end, stop = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP
    for number in (kill, end):
        for live in (False, True):
            case = partial(Case, number=number, live=live)
            yield case("while it takes an image", QUICK, "before pieces")
            yield case("before the run starts", QUICK, "before start")
            yield case("during the run", SLOW, "before wait", after=AFTER, outlives=live)
            yield case("during the run, which ends without it", SHORT, "before wait", down=3.0)
            yield case("before the outputs are fetched", ROUGH, "before changes", outlives=True)
            yield case("before the container is removed", QUICK, "before remove", outlives=True)
            yield case("during a sweep", SWEEP, "before wait", after=AFTER, goes_on=True)
    yield Case("while it takes an image", QUICK, "before pieces", stop, goes_on=True)
    yield Case("during the run", SHORT, "before wait", stop, goes_on=True, outlives=True)


def _what(case: Case) -> str:
    does = {"SIGKILL": "is killed", "SIGTERM": "is ended", "SIGSTOP": "stands still"}
    return f"dockerd {does[case.number.name]} {case.when}"


def _is_short(case: Case) -> bool:
    """One of each kind, all on one engine: to start it takes the longest."""
    when = ("while it takes an image", "during the run", "before the container is removed")
    return case.live and case.number == signal.SIGKILL and case.when in when


FAULTS = tuple(
    Fault(str(case), _what(case), partial(inject, case), _is_short(case)) for case in _cases()
)
