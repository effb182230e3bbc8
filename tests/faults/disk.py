"""Disks that are full, broken, slow or not to be written, wherever the command writes.

Two ways: a wrapper that lets any one call fail (`shim`), so that each can be tried; and real small
file systems, which strike the other processes, too. These are mounted in the mount namespace of an
engine of the fault's own, or of the command alone, and go with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..engine.bench import Done
from ..engine.daemon import hand_over
from ..kit import BASE
from .base import Fault
from .lab import SCRIPT, Lab, fault, lab, record_of
from .looking import ended_badly, false_after, false_in, left_by, message, unfinished
from .mounts import READ_ONLY, Mounts, alone, beside_an_engine, daemon_on_small_disk
from .packages import forget, offered
from .striking import Struck, at_call, strike_each

# ---------------------------------------------------------------- each call


@fault("log-full-early", "no room in the log directory when the record is begun", short=True)
def log_full_early(made: Lab) -> Iterator[str]:
    made.script()
    yield from strike_each(made, Struck(made, "full"), [5])


@fault("log-full-late", "no room in the log directory when the run has ended", short=True)
def log_full_late(made: Lab) -> Iterator[str]:
    made.script()
    yield from strike_each(made, Struck(made, "full"), [54])


@fault("log-full", "no room in the log directory, from each call on that takes some")
def log_full(made: Lab) -> Iterator[str]:
    made.script()
    yield from strike_each(made, Struck(made, "full"))


@fault("log-turns-read-only", "its file system takes nothing more, from each call on")
def log_turns_read_only(made: Lab) -> Iterator[str]:
    """As one does that has found itself broken. Removing still works."""
    made.script()
    yield from strike_each(made, Struck(made, "read-only"))


@fault("state-full", "no room for the notes on what is under way, from each call on")
def state_full(made: Lab) -> Iterator[str]:
    made.script()
    yield from strike_each(made, Struck(made, "full", made.state))


@fault("log-broken", "each fsync in the log directory fails, as on a broken disk")
def log_broken(made: Lab) -> Iterator[str]:
    made.script()
    yield from strike_each(made, Struck(made, "broken"))


@fault("log-broken-once", "an fsync in the log directory fails", short=True)
def log_broken_once(made: Lab) -> Iterator[str]:
    made.script()
    yield from strike_each(made, Struck(made, "broken"), [9])


@fault("cache-full", "no room in the cache, from each call on that takes some")
def cache_full(made: Lab) -> Iterator[str]:
    with offered(made):
        struck = Struck(made, "full", made.cache)
        at = 0
        while at == 0 or at <= struck.calls:
            forget(made)
            done = struck.run(at)
            yield from at_call(at, false_after(made, done))
            at += 1
        forget(made)
        yield from unfinished(made, made.run(), {})


@fault("slow-disk", "each fsync takes half a second")
def slow_disk(made: Lab) -> Iterator[str]:
    made.script()
    struck = Struck(made, "slow", made.place)
    done = struck.run(0)
    yield from unfinished(made, done)
    record = record_of(done.log_dir)
    if record is None or record.seconds is None or record.seconds > 5:
        yield f"it took {record and record.seconds} s, with the disk's time in it"
    yield from false_after(made, done)


# ---------------------------------------------------------------- real file systems


def _small_log(place: Path) -> list[str]:
    wrong: list[str] = []
    with beside_an_engine(place) as (made, mounts):
        for size in range(16, 1040, 64):  # KiB; the record's own files take about 300
            wrong += _on_small(made, mounts, f"size={size}k")
        wrong += unfinished(made, made.run())
    return wrong


def _few_inodes(place: Path) -> list[str]:
    wrong: list[str] = []
    with beside_an_engine(place) as (made, mounts):
        for number in range(2, 26):
            wrong += _on_small(made, mounts, f"nr_inodes={number}")
        wrong += unfinished(made, made.run())
    return wrong


def _on_small(made: Lab, mounts: Mounts, options: str) -> Iterator[str]:
    disk = made.records / "small"
    with mounts.small(disk, options):
        done = made.run(log_dir=disk / "run")
        again = made.reprorun("recover")  # which has no more room than the run had
        wrong = [f"with {options}: {each}" for each in unexplained(made, done, again)]
        mounts.call("mount", "-o", "remount,size=9m,nr_inodes=1000", disk)
        wrong += [f"with {options}: {each}" for each in false_after(made, done)]
    yield from wrong


def unexplained(made: Lab, done: Done, again: Done) -> Iterator[str]:
    """What is wrong as long as there is no room: an end or a record that gives no reason."""
    yield from ended_badly(done)
    if "Traceback" in again.err:
        yield f"recover: {again.err[-300:]}"
    record = record_of(made.seen(done.log_dir))
    if record and record.status == "failed" and not record.reason:
        yield f"the record says that it failed, with exit code {record.exit_code}, and not why"


def _engines_disk(place: Path) -> list[str]:
    """Of the disk that the engine has, and of that alone."""
    wrong: list[str] = []
    with daemon_on_small_disk(place / "bin", "600m") as own:
        hand_over(BASE, own.address)
        (place / "lab").mkdir()
        with lab(place / "lab", own.address) as made:
            made.script(f"open('large', 'wb').write(bytes(1 << 30))\n{SCRIPT}")
            done = made.run()
            wrong += _failed_by_itself(done, 1, "No space left on device")
            wrong += left_by(made)
            made.write({"large.bin": os.urandom(7 << 20)})
            for number in range(30):  # below 8 MiB each: they are part of the code
                (made.root / f"{number}.bin").write_bytes(os.urandom(7 << 20))
            made.script()
            done = made.run()
            wrong += false_after(made, done)
            if done.code != 125 or "no space left" not in message(done):
                wrong.append(f"the build ended with {done.code}: {message(done)}")
            for number in range(30):
                (made.root / f"{number}.bin").unlink()
            made.script()
            wrong += unfinished(made, made.run())
    return wrong


def _failed_by_itself(done: Done, code: int, text: str) -> Iterator[str]:
    """What is wrong with the record of an experiment that met an error itself."""
    record = record_of(done.log_dir)
    if done.code != code or record is None or record.status != "failed":
        yield f"ended with {done.code}, {record and record.status}: {done.err[-300:]}"
    elif text not in done.err:
        yield f"nothing is said of {text}: {done.err[-300:]}"
    yield from false_in(done.log_dir)


# ---------------------------------------------------------------- that the engine does not see


@fault("log-read-only", "the log directory's file system is read-only", short=True)
def log_read_only(made: Lab) -> Iterator[str]:
    made.script()
    alone(made, made.records, READ_ONLY)
    done = made.run()
    if done.code != 2 or "Read-only file system" not in message(done):
        yield f"it ended with {done.code}: {message(done)}"
    made.as_user()
    yield from false_after(made, done)


@fault("state-read-only", "what is under way can't be noted", short=True)
def state_read_only(made: Lab) -> Iterator[str]:
    made.script()
    alone(made, made.state, READ_ONLY)
    yield from unfinished(made, made.run())


@fault("cache-read-only", "the cache's file system is read-only, empty or filled")
def cache_read_only(made: Lab) -> Iterator[str]:
    with offered(made):
        for kind in ("empty", "filled"):
            alone(made, made.cache, READ_ONLY)
            done = made.run()
            if done.code != 125 or not _names_the_cache(done):
                yield f"{kind}: it ended with {done.code}: {message(done)}"
            made.as_user()
            yield from false_after(made, done)
            yield from unfinished(made, made.run(), {})


def _names_the_cache(done: Done) -> bool:
    return "Read-only file system" in message(done) and "XDG_CACHE_HOME" in message(done)


@fault("cache-small", "the cache's file system has room for less than a run needs")
def cache_small(made: Lab) -> Iterator[str]:
    with offered(made):
        for options in [f"size={size}k" for size in range(8, 400, 32)] + [
            f"nr_inodes={number}" for number in range(2, 40, 3)
        ]:
            forget(made)
            alone(made, made.cache, f'mount -t tmpfs -o {options} small "$1"')
            done = made.run()
            made.as_user()
            for text in false_after(made, done):
                yield f"with {options}: {text}"
        yield from unfinished(made, made.run(), {})


FAULTS = (
    log_full_early,
    log_full_late,
    log_full,
    log_turns_read_only,
    state_full,
    log_broken,
    log_broken_once,
    cache_full,
    slow_disk,
    log_read_only,
    state_read_only,
    cache_read_only,
    cache_small,
    Fault("log-small", "the log directory is on a file system of 16 KiB to 1 MiB", _small_log),
    Fault("log-inodes", "its file system has 2 to 25 inodes", _few_inodes),
    Fault("engine-full", "the engine's own disk is full, in a run and in a build", _engines_disk),
)
