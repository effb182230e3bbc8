"""Experiments that do something to the files of their own record."""

from __future__ import annotations

import os
from collections.abc import Iterator

from reprorun import store

from .base import Fault
from .lab import Lab, fault, record_of
from .looking import false_after, outputs_of

LEAVES = "open('left.txt', 'w').write('kept')\n"
SPOILS = """
import os, shutil
{leaves}
for name in {names!r}:
    path = "/log/" + name
    try:
        if os.path.lexists(path):
            os.remove(path)
        {instead}
    except OSError as error:  # some are mounted read-only
        print(name, error.strerror)
"""
INSTEAD = {
    "removes": "pass",
    "replaces": "open(path, 'w').write('something else')",
    "links": "os.symlink('/etc/passwd', path)",
    "directories": "os.mkdir(path)",
}


def spoils(word: str) -> Fault:
    """It does something to each file of its record while it runs."""

    @fault(f"record-{word}", f"it {word} the files of its own record", short=word == "removes")
    def inject(made: Lab) -> Iterator[str]:
        names = sorted(store.OURS - store.PAYLOADS)
        if word == "directories":  # run.json can't be written then: the run fails, and says so
            names.remove(store.RUN_FILE)
        made.script(SPOILS.format(leaves=LEAVES, names=names, instead=INSTEAD[word]))
        before = os.stat("/etc/passwd").st_mtime_ns
        done = made.run()
        record = record_of(done.log_dir)
        if record is None or (done.code, record.status) not in (
            *((0, "finished"), (125, "failed"), (125, "running")),
        ):
            yield f"ended with {done.code}, {record and record.status}: {done.err[-300:]}"
            return
        if outputs_of(done.log_dir).get("outputs/left.txt") != b"kept" and done.code == 0:
            yield f"it has {sorted(outputs_of(done.log_dir))}"
        if os.stat("/etc/passwd").st_mtime_ns != before:
            yield "it wrote on the host"
        yield from (
            text
            for text in false_after(made, done)
            if " has no [" not in text  # files that are gone, which the experiment has removed
        )

    return inject


SPOILING = tuple(spoils(word) for word in INSTEAD)
