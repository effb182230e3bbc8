"""Clocks that are set back by a day: of the host while it looks at it, and in the container."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from ..engine.complete import archived
from .base import Fault
from .lab import SCRIPT, Lab, fault, record_of
from .looking import false_after, unfinished
from .striking import Struck, at_call

LONGEST = 60.0  # seconds that none of these runs takes
KILLED = f"{SCRIPT}\nimport time\ntime.sleep(0.2)\nos.kill(-1, 9)\n"
DAY = 86400


@fault("early", "the host's clock is set back by a day before the run", short=True)
def early(made: Lab) -> Iterator[str]:
    made.script()
    yield from set_back(made, [3])


@fault("at-each-look", "the host's clock is set back at each of the times it is looked at")
def at_each_look(made: Lab) -> Iterator[str]:
    made.script()
    yield from set_back(made)


@fault("without-a-report", "the same, and the guest is killed: it can't tell how long it took")
def without_a_report(made: Lab) -> Iterator[str]:
    made.script(KILLED)
    struck = Struck(made, "clock")
    struck.run(0)
    for at in range(1, struck.calls + 1, 3):
        done = struck.run(at)
        record = record_of(done.log_dir)
        if done.code != 137 or record is None or record.exit_code != 137:
            yield f"at look {at}: it ended with {done.code}: {done.err.strip()[-300:]}"
        elif record.seconds is None or not 0.2 <= record.seconds < LONGEST:
            yield f"at look {at}: it took {record.seconds} s"


def set_back(made: Lab, looks: list[int] | None = None) -> Iterator[str]:
    """Set the clock back at each look, or those that are named."""
    struck = Struck(made, "clock")
    if looks is None:
        yield from unfinished(made, struck.run(0))
        looks = list(range(1, struck.calls + 1))
    for at in looks:
        done = struck.run(at)
        yield from at_call(at, unfinished(made, done))
        yield from at_call(at, false_after(made, done))
        record = record_of(done.log_dir)
        if record is None or record.seconds is None or not 0 < record.seconds < LONGEST:
            yield f"at look {at}: it took {record and record.seconds} s"


@fault("in-the-container", "the container's clock is set back while the experiment runs")
def in_the_container(made: Lab) -> Iterator[str]:
    made.script()
    done = Struck(made, "guest-clock").run(1)
    yield from unfinished(made, done)
    yield from false_after(made, done)


@fault("between-runs", "the host's clock is set back by a day between two runs")
def between_runs(made: Lab) -> Iterator[str]:
    """What is known by the times of files is not mistaken for what was there before."""
    made.script()
    time.sleep(2.1)  # until an archive is kept
    for _ in range(2):
        yield from unfinished(made, made.run())
    launcher = made.root / "train.py"
    before = launcher.stat()
    text = launcher.read_text()
    launcher.write_text(text[:-2] + "~\n")  # of the same length
    os.utime(launcher, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = Struck(made, "clock").run(1)
    yield from unfinished(made, done)
    kept, _ = archived(done.log_dir)["train.py"]
    if kept != launcher.read_bytes():
        yield "the archive holds the launcher as it was before"
    listed = made.reprorun("ls", "--json", str(made.records))
    if listed.code != 0 or listed.out.count(str(done.log_dir)) != 1:
        yield f"ls ended with {listed.code}: {listed.err}"
    yield from false_after(made, done)


FAULTS: tuple[Fault, ...] = (early, at_each_look, without_a_report, in_the_container, between_runs)
