"""Kills commands at their steps, lets `reprorun recover` clean up, and looks whether all is true.

Lost is a run that had begun and whose record says in the end that nobody knows how it went. False
is what contradicts the record. Left is what is there and belongs to nobody.
"""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from reprorun.model import Record

from ..engine.ways import running_sshd
from .lab import MADE, cleared, record_of
from .looking import false_run, left_by
from .place import Place, digest_of
from .steps import Fate, hide, in_a_child


class Command(NamedTuple):
    """A command line that is killed."""

    words: tuple[str, ...]
    changes_code: bool = False  # each time, so that there is an image to be made
    remote: bool = False  # on an engine over ssh that does not see the files
    after_a_kill: bool = False  # of `exec`, when its container has been started


COMMANDS = {
    "exec": Command(("exec", "train.py"), changes_code=True),
    "exec, remote": Command(("exec", "train.py"), remote=True),
    "rerun": Command(("rerun", "original")),
    "check": Command(("check", "original")),
    "pack": Command(("pack", "original", "-o", "original.rrpack")),
    "sweep": Command(
        ("sweep", "train.py", "--grid", "n=0,1", "-j", "2", "-q", "--", "{n}"), changes_code=True
    ),
    "shell": Command(("shell", "original", "--", "sh", "-c", "echo here")),
    "recover": Command(("recover",), after_a_kill=True),
}


class Tried(NamedTuple):
    """One kill, and what came of it."""

    command: str
    step: int
    at: str
    lost: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        return not (self.lost or self.false or self.left)


# ---------------------------------------------------------------- one kill


def prepare(place: Place, name: str, number: int) -> None:
    """Let as much as can be done anew: the code's image, and what is asked of the base image."""
    command = COMMANDS[name]
    if command.changes_code:
        place.change(number)
    if number % 2 == 0:
        shutil.rmtree(place.cache / "reprorun/bases", ignore_errors=True)
    if command.after_a_kill:
        ended = place.command("exec", "train.py", fate=Fate("after start"))
        assert ended == -signal.SIGKILL, place.said.read_text()


def count_steps(place: Place, name: str) -> int:
    """How many steps a command takes when nobody kills it."""
    prepare(place, name, 1_000_000)
    before = len(place.taken)
    code = place.command(*COMMANDS[name].words, steps=True)
    count = len(place.taken) - before
    assert code == 0, place.said.read_text()
    place.clear()
    return count


def kill(place: Place, name: str, step: int) -> Tried:
    """Kill it at a step, recover, and look."""
    prepare(place, name, step)
    ended = place.command(*COMMANDS[name].words, fate=Fate(step))
    at = place.taken[-1] if place.taken else ""
    printed = place.said.read_text().strip()
    recovered = place.command("recover")
    said = place.said.read_text()
    lost, false = [], []
    if ended not in (0, -signal.SIGKILL):
        false.append(f"the command ended with {ended}: {printed[-500:]}")
    if recovered not in (0, 1) or "Traceback" in said:
        false.append(f"recover ended with {recovered}: {said.strip()[-300:]}")
    for log_dir in place.log_dirs():
        record = record_of(log_dir)
        if record and record.status == "lost" and has_begun(record, place.taken):
            lost.append(f"{log_dir.name}: {record.reason}")
        false += false_run(log_dir, MADE)
    left = list(left_by(place, _created(place.taken)))
    if digest_of(place.root / "original") != place.original:
        false.append("the original was changed")
    place.clear()
    return Tried(name, step, at, tuple(lost), tuple(false), tuple(left))


def _created(taken: Sequence[str]) -> Iterator[str]:
    """The names of containers that were to be created."""
    return (line.split(" ")[2] for line in taken if " create " in line)


def has_begun(record: Record, taken: Sequence[str]) -> bool:
    """Whether the run's container was started."""
    created = f"after create reprorun-{record.id} "
    containers = [line[len(created) :] for line in taken if line.startswith(created)]
    return any(f"after start {container}" in taken for container in containers)


# ---------------------------------------------------------------- all of them


def kill_all(names: Sequence[str], kills: int) -> Iterator[tuple[str, list[Tried]]]:
    """Kill each command at its share of steps.

    Args:
        names: of `COMMANDS`.
        kills: how many in all.

    Yields:
        A command, and all its kills.
    """
    for number, name in enumerate(names):
        share = kills // len(names) + (number < kills % len(names))
        with tempfile.TemporaryDirectory(prefix="reprorun-kills-") as made:
            yield name, _kill_hidden(Path(made).resolve(), name, share)


def _kill_hidden(root: Path, name: str, kills: int) -> list[Tried]:
    """The same for one command, in a process of its own: it may have mounts that nobody sees."""
    work = root / "work"
    work.mkdir()

    def kill_each() -> int:
        if COMMANDS[name].remote:
            hide(work)
        for tried in _kill_one(work, name, kills):
            print(json.dumps(tried), flush=True)
        return 0

    said = root / "tried"
    code = in_a_child(kill_each, said)
    lines = said.read_text().splitlines()
    if code != 0:
        raise RuntimeError(f"the kills of {name!r} broke off:\n" + "\n".join(lines[-20:]))
    return [Tried(*json.loads(line)) for line in lines]


def _kill_one(root: Path, name: str, kills: int) -> Iterator[Tried]:
    with _over_ssh() if COMMANDS[name].remote else nullcontext() as env:
        place = Place(root, env=env)
        with cleared(place):
            place.begin()
            for step in chosen(count_steps(place, name), kills):
                yield kill(place, name, step)


@contextmanager
def _over_ssh() -> Iterator[dict[str, str]]:
    """Variables that lead to the engine at the far end of ssh."""
    with running_sshd() as sshd:
        yield sshd.env


def chosen(total: int, kills: int) -> list[int]:
    """Steps, spread over all that there are."""
    return sorted({1 + round(n * (total - 1) / max(1, kills - 1)) for n in range(kills)})
