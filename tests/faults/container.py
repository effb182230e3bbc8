"""Experiments that take too much, leave odd things, don't end, or spoil their own record."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from typing import NamedTuple

from reprorun import store

from ..engine.bench import Done
from .base import Fault
from .lab import Lab, fault, record_of
from .looking import false_after, false_in, left_by, outputs_of, unfinished
from .spoiling import SPOILING

MIB = 1 << 20
GIB = 1 << 30
LEAVES = "open('left.txt', 'w').write('kept')\nprint('before', flush=True)\n"


def ends_with(
    made: Lab, done: Done, code: int, status: str, reason: str | None, **kept: str
) -> Iterator[str]:
    """What is wrong with the end of a run, and with what it kept as outputs."""
    record = record_of(done.log_dir)
    if record is None:
        yield f"ended with {done.code} and has no record: {done.err[-300:]}"
        return
    if (done.code, record.exit_code, record.status) != (code, code, status):
        yield f"ended with {done.code}, {record.status} {record.exit_code}: {done.err[-300:]}"
    if (record.reason or "") != (reason or ""):
        yield f"the reason is {record.reason!r}"
    there = {name.removeprefix("outputs/"): data for name, data in outputs_of(done.log_dir).items()}
    for name, text in kept.items():
        if there.get(name.replace("_", ".")) != text.encode():
            yield f"of {name} it has {there.get(name.replace('_', '.'))!r}"
    if "Traceback" in done.err and "reprorun/cli" in done.err:
        yield f"a traceback of reprorun's: {done.err[-300:]}"
    yield from false_in(done.log_dir)
    yield from left_by(made)


# ---------------------------------------------------------------- too much


@fault("memory", "it takes more memory than it may", short=True)
def memory(made: Lab) -> Iterator[str]:
    made.script(
        f"{LEAVES}x = [bytes(1 << 20) for _ in range(400)]\n"
        "y = b''.join(bytes([n % 251]) * (1 << 20) for n in range(400))\n"
    )
    done = made.run("--memory", "64m")
    why = "ran out of memory: it used the limit of 64 MiB (--memory), and the kernel killed it"
    yield from ends_with(made, done, 137, "failed", why, left_txt="kept")
    if done.console != b"before\n" or done.record.limits.memory != 64 * MIB:
        yield f"it printed {done.console!r}, with a limit of {done.record.limits.memory}"


@fault("memory-of-a-child", "a child of it takes more memory than it may", short=True)
def memory_of_a_child(made: Lab) -> Iterator[str]:
    hog = "x = b'x' * (400 << 20)"
    made.script(
        f"{LEAVES}import subprocess, sys\n"
        f"sys.exit(subprocess.run([sys.executable, '-c', {hog!r}]).returncode != -9)\n"
    )
    done = made.run("--memory", "64m")
    yield from ends_with(made, done, 0, "finished", None, left_txt="kept")
    if not any("for want of memory" in note for note in done.record.notes):
        yield f"its notes don't tell: {done.record.notes}"


@fault("fork-bomb", "it forks without end, and so do its children")
def fork_bomb(made: Lab) -> Iterator[str]:
    made.script(
        f"import os\n{LEAVES}"
        "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
    )
    began = time.monotonic()
    done = made.run("--timeout", "3s", "--cpus", "1")
    why = "exceeded its time limit of 3 s (--timeout)"
    yield from ends_with(made, done, 124, "failed", why, left_txt="kept")
    if time.monotonic() - began > 60:
        yield f"it took {time.monotonic() - began:.0f} s to end it"


class Measured(NamedTuple):
    """A command that has ended, what of its output was counted, and the memory that it took."""

    code: int
    size: int  # bytes of its output
    sha256: str
    peak: int  # bytes


def measured(made: Lab, *words: str) -> Measured:
    """Run `reprorun WORDS...`, and throw away what it prints."""
    process = made.start_words(*words)
    assert process.stdout is not None
    size, digest = 0, hashlib.sha256()
    peak = 0
    while piece := process.stdout.read(1 << 20):
        size += len(piece)
        digest.update(piece)
        peak = max(peak, _peak_of(process.pid))
    return Measured(process.wait(), size, digest.hexdigest(), peak)


def _peak_of(pid: int) -> int:
    """Not what `wait4` says: that counts the memory of who started it, too."""
    with open(f"/proc/{pid}/status") as file:
        return next((int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:")), 0)


@fault("console", "it prints a gigabyte in one line")
def console(made: Lab) -> Iterator[str]:
    made.script("import sys\nfor _ in range(1024):\n    sys.stdout.write('x' * (1 << 20))\n")
    log_dir = made.log_dir()
    done = measured(made, "exec", "--log-dir", str(log_dir), "train.py")
    kept = (log_dir / store.CONSOLE_FILE).stat().st_size
    if (done.code, done.size, kept) != (0, GIB, GIB):
        yield f"ended with {done.code}; {done.size} bytes came out, {kept} are kept"
    if done.peak > 200 * MIB:
        yield f"reprorun took {done.peak / MIB:.0f} MiB of memory"
    yield from false_after(made, Done(done.code, "", "", log_dir))


@fault("many-files", "it leaves 100,000 files")
def many_files(made: Lab) -> Iterator[str]:
    made.script(
        "import os\n"
        "for n in range(100_000):\n"
        "    if n % 1000 == 0: os.makedirs(f'out/{n // 1000}')\n"
        "    open(f'out/{n // 1000}/{n}.txt', 'w').write(str(n))\n"
    )
    log_dir = made.log_dir()
    done = measured(made, "exec", "--log-dir", str(log_dir), "-q", "train.py")
    record = record_of(log_dir)
    if record is None or done.code != 0:
        yield f"ended with {done.code}: {record}"
        return
    listed = {output.path: output.sha256 for output in record.outputs}
    if listed != {
        f"outputs/out/{n // 1000}/{n}.txt": hashlib.sha256(str(n).encode()).hexdigest()
        for n in range(100_000)
    }:
        yield f"{len(listed)} are listed"
    yield from false_after(made, Done(done.code, "", "", log_dir))


# ---------------------------------------------------------------- odd things


@fault("odd-files", "it leaves what can't be read, has no name in UTF-8, or is no file", short=True)
def odd_files(made: Lab) -> Iterator[str]:
    for below in ("", "/log/"):
        made.script(ODD.format(below=below))
        done = made.run()
        where = "outputs/" if not below else ""
        plain = {"closed/in.txt": b"1", "none.txt": b"2", os.fsdecode(b"caf\xe9"): b"3",
                 "twin.txt": b"2", "sparse": bytes(MIB)}  # fmt: skip
        expected = {f"{where}{name}": data for name, data in plain.items()}
        yield from unfinished(made, done, expected)
        left = {entry.path for entry in done.record.not_kept}
        for name in ("pipe", "socket", "outwards", *(["device"] if "device\n" in done.out else [])):
            if f"{where}{name}" not in left and name not in left:
                yield f"{below}{name} is named nowhere: {left}"
        yield from left_by(made)


ODD = """
import os, socket
os.chdir("{below}" or ".")
os.mkdir("closed")
open("closed/in.txt", "w").write("1")
open("none.txt", "w").write("2")
os.link("none.txt", "twin.txt")
os.chmod("none.txt", 0)
open(b"caf\\xe9", "w").write("3")
with open("sparse", "wb") as file:
    file.truncate(1 << 20)
os.mkfifo("pipe")
socket.socket(socket.AF_UNIX).bind("socket")
os.symlink("/etc/passwd", "outwards")
try:
    os.mknod("device", 0o020666, os.makedev(1, 3))
    print("device")
except PermissionError:
    print("refused")
os.chmod("closed", 0)
"""


@fault("terabyte", "it leaves a sparse file of a terabyte")
def terabyte(made: Lab) -> Iterator[str]:
    for below, killed in (("", False), ("/log/", False), ("/log/", True)):
        made.script(
            f"{LEAVES}import os\n"
            f"os.truncate(os.open('{below}huge', os.O_CREAT | os.O_RDWR), 1 << 40)\n"
            + ("os.kill(-1, 9)\n" if killed else "")
        )
        began = time.monotonic()
        done = made.run()
        if time.monotonic() - began > 30:
            yield f"it took {time.monotonic() - began:.0f} s"
        code, status = (137, "failed") if killed else (0, "finished")
        why = "was killed by SIGKILL" if killed else None
        if not killed and not below:
            yield from ends_with(made, done, code, status, why, left_txt="kept")
        elif (done.code, done.record.status, done.record.reason) != (code, status, why):
            yield f"ended with {done.code}, {done.record.status}: {done.record.reason}"
        reasons = {entry.path: entry.reason for entry in done.record.not_kept}
        if "a sparse file of 1099511627776 bytes" not in reasons.get("huge", ""):
            yield f"it is not named: {reasons}"
        used = subprocess.run(["du", "-sk", done.log_dir], capture_output=True, check=True)
        if int(used.stdout.split()[0]) > 10_000:
            yield f"the record takes {used.stdout!r} KiB"
        yield from left_by(made)


# ---------------------------------------------------------------- no end


@fault("deaf", "it ignores all signals that it can, beyond its time limit")
def deaf(made: Lab) -> Iterator[str]:
    made.script(
        f"import signal, time\n{LEAVES}"
        "for number in range(1, 32):\n"
        "    if number not in (9, 19):\n        signal.signal(number, signal.SIG_IGN)\n"
        "time.sleep(300)\n"
    )
    began = time.monotonic()
    done = made.run("--timeout", "1s")
    yield from ends_with(
        made, done, 124, "failed", "exceeded its time limit of 1 s (--timeout)", left_txt="kept"
    )
    if time.monotonic() - began > 25:
        yield f"it took {time.monotonic() - began:.0f} s to end it"


@fault("children", "it leaves children behind that hold its output and ignore signals", short=True)
def children(made: Lab) -> Iterator[str]:
    made.script(
        f"import os, signal, subprocess, time\n{LEAVES}"
        "subprocess.Popen(['sleep', '300'])\n"
        "subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    time.sleep(300)\n"
        "print('done')\n"
    )
    began = time.monotonic()
    done = made.run()
    yield from ends_with(made, done, 0, "finished", None, left_txt="kept")
    if done.console != b"before\ndone\n" or time.monotonic() - began > 15:
        yield f"after {time.monotonic() - began:.0f} s it had printed {done.console!r}"


FAULTS: tuple[Fault, ...] = (
    memory,
    memory_of_a_child,
    fork_bomb,
    console,
    many_files,
    odd_files,
    terabyte,
    deaf,
    children,
    *SPOILING,
)
