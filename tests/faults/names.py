"""Runs of one name at one moment: each gets a directory of its own, and a record that is its."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from reprorun import store
from reprorun.model import Record

from .base import Fault
from .lab import Lab, fault, record_of
from .looking import false_in, left_by

PATIENCE = 300  # seconds for all of them
TELLS = """
import sys, time
time.sleep(float(sys.argv[2]))
print("I am", sys.argv[1])
open("made.txt", "w").write(sys.argv[1])
"""
WRAPPED = """
import sys, time
from reprorun import wrap_experiment
@wrap_experiment(name="same")
def train(ctxt, number=0):
    open(ctxt.snapshot_dir + "/made.txt", "w").write(str(number))
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
train(number=int(sys.argv[1]))
"""
SWEPT = """
from reprorun import wrap_experiment
@wrap_experiment
def train(ctxt, seed=0):
    open(ctxt.snapshot_dir + "/made.txt", "w").write(str(seed))
train()
"""


def ends(processes: list[subprocess.Popen[bytes]]) -> list[tuple[int, str]]:
    """How they ended, and what they said on stderr."""
    said = [process.communicate(timeout=PATIENCE)[1].decode() for process in processes]
    return [(p.returncode, text) for p, text in zip(processes, said, strict=True)]


def same_name(made: Lab, count: int) -> Iterator[str]:
    """Runs of one name, begun at one moment."""
    made.script(TELLS)
    words = ("exec", "--name", "same", "train.py")
    ended = ends([made.start_words(*words, str(number), "0") for number in range(count)])
    yield from (f"ended with {code}: {err[-300:]}" for code, err in ended if code)
    place = made.root / "data/local/experiment"
    names = {path.name for path in place.iterdir()}
    if names != {"same", *(f"same_{number}" for number in range(1, count))}:
        yield f"the directories are {sorted(names)}"
    records = {path: record_of(path) for path in place.iterdir()}
    yield from (text for path in records for text in false_in(path))
    there = [record for record in records.values() if record]
    yield from shared([record.id for record in there], "the id")
    yield from shared([record.argv[1] for record in there], "the argument")
    for path, record in records.items():
        if record and not belongs(path, record):
            yield f"{path.name} holds what another made"
    yield from left_by(made)


def shared(values: list[str], what: str) -> Iterator[str]:
    """Values that more than one has."""
    yield from (f"{n} have {what} {value}" for value, n in Counter(values).items() if n > 1)


def belongs(log_dir: Path, record: Record) -> bool:
    """Whether what lies in a record is what its run made."""
    number = record.argv[1]
    console = (log_dir / store.CONSOLE_FILE).read_text()
    return (log_dir / "outputs/made.txt").read_text() == number and console == f"I am {number}\n"


@fault("two-runs", "two runs of one name are begun at one moment", short=True)
def two_runs(made: Lab) -> Iterator[str]:
    yield from same_name(made, 2)


@fault("fifty-runs", "fifty runs of one name are begun at one moment")
def fifty_runs(made: Lab) -> Iterator[str]:
    yield from same_name(made, 50)


@fault("one-directory", "ten runs are given one log directory at one moment")
def one_directory(made: Lab) -> Iterator[str]:
    made.script(TELLS)
    log_dir = made.log_dir()
    words = ("exec", "--log-dir", str(log_dir), "train.py")
    ended = ends([made.start_words(*words, str(number), "2") for number in range(10)])
    if Counter(code for code, _ in ended) != {0: 1, 2: 9}:
        yield f"they ended with {sorted(code for code, _ in ended)}"
    yield from (err[-300:] for code, err in ended if code and "is not empty" not in err)
    yield from false_in(log_dir)
    record = record_of(log_dir)
    if record is None or not belongs(log_dir, record):
        yield "the record is not that of one run"
    yield from left_by(made)


@fault("fifty-calls", "a wrapped function is called in fifty processes at one moment")
def fifty_calls(made: Lab) -> Iterator[str]:
    """Without a container, as garage does it."""
    made.script(WRAPPED)
    moment = str(time.time() + 5)
    words = [("train.py", str(number), moment) for number in range(50)]
    ended = ends([made.start_words(*each, program=sys.executable) for each in words])
    yield from (f"ended with {code}: {err[-300:]}" for code, err in ended if code)
    place = made.root / "data/local/experiment"
    names = {path.name for path in place.iterdir()}
    if names != {"same", *(f"same_{number}" for number in range(1, 50))}:
        yield f"the directories are {sorted(names)}"
    made_by = []
    for path in place.iterdir():
        variant = json.loads((path / store.VARIANT_FILE).read_text())
        made_by.append((path / "made.txt").read_text())
        if str(variant["number"]) != made_by[-1]:
            yield f"{path.name} holds {variant} and was written by {made_by[-1]}"
        if not (path / store.ARCHIVE_FILE).is_file():
            yield f"{path.name} has no archive"
    yield from shared(made_by, "the file of")


@fault("five-sweeps", "five sweeps are given one directory at one moment")
def five_sweeps(made: Lab) -> Iterator[str]:
    made.script(SWEPT)
    directory = made.records / "sweep"
    words = ("sweep", "train.py", "--grid", "seed=0..3", "-j", "1", "--log-dir", str(directory))
    ended = ends([made.start_words(*words, "-q") for _ in range(5)])
    if sum(code == 0 for code, _ in ended) < 1 or any(code not in (0, 2) for code, _ in ended):
        yield f"they ended with {ended}"
    records = [record_of(path) for path in made.log_dirs()]
    seeds = Counter(str(record.params) for record in records if record)
    if seeds != {str({"seed": number}): 1 for number in range(4)}:
        yield f"the runs are {seeds}"
    yield from (text for path in made.log_dirs() for text in false_in(path))
    book = json.loads((directory / "sweep.json").read_text())
    if [run["status"] for run in book["runs"]] != ["finished"] * 4:
        yield f"the book says {book['runs']}"
    yield from left_by(made)


FAULTS: tuple[Fault, ...] = (two_runs, fifty_runs, one_directory, fifty_calls, five_sweeps)
