"""In the process that is killed: its steps are counted, and it ends itself at one of them.

A step is a call that changes something: of the engine, of a record, of a file's name. Each is found
by wrapping the call; it is two steps, before and after. The product knows nothing of this.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from reprorun import held, store
from reprorun.engine.docker import DockerEngine
from reprorun.workflow.build import FileLayer

ENGINE_CALLS = (
    *("create", "start", "attach", "converse", "wait", "remove", "make", "build", "save"),
    *("load_image", "copy_in", "copy_out", "changes", "remove_image"),
)
FILE_CALLS = ("replace", "rename", "unlink", "mkdir", "rmdir", "fsync")
NEW_MOUNTS = 0x00020000  # CLONE_NEWNS of unshare(2)


class Fate(NamedTuple):
    """What happens at a step."""

    at: int | str  # its number, from 1; or how its name begins
    number: signal.Signals = signal.SIGKILL
    pid: int = 0  # of the process that gets the signal; 0: of this one
    after: float = 0.0  # seconds; meanwhile things go on


class Steps:
    """Counts steps in a file that outlives the process; at one of them something happens, once.

    Args:
        log: the file.
        fate: None: nothing happens.
    """

    def __init__(self, log: Path, fate: Fate | None) -> None:
        self._file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
        self._fate = fate
        self._count = 0

    def take(self, name: str) -> None:
        """One step is taken."""
        self._count += 1
        os.write(self._file, f"{name}\n".encode())
        fate = self._fate
        if fate and (
            name.startswith(fate.at) if isinstance(fate.at, str) else self._count == fate.at
        ):
            self._fate = None
            if fate.after:
                threading.Timer(fate.after, os.kill, [fate.pid, fate.number]).start()
            else:
                os.kill(fate.pid or os.getpid(), fate.number)

    def wrap(self, owner: Any, name: str, tell: Callable[..., str] = lambda *_, **__: "") -> None:
        """Let calls of a function be two steps each."""
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            title = f"{name} {tell(*args, **kwargs)}".strip()
            self.take(f"before {title}")
            result = original(*args, **kwargs)
            self.take(f"after {title} {result[:12] if name == 'create' else ''}".strip())
            return result

        setattr(owner, name, call)


TOLD: dict[str, Callable[..., str]] = {
    "create": lambda _, spec: str(spec.name),
    "start": lambda _, container: str(container[:12]),
}


def instrument(log: Path, fate: Fate | None) -> None:
    """Make steps of what changes something."""
    steps = Steps(log, fate)
    for name in ENGINE_CALLS:
        steps.wrap(DockerEngine, name, TOLD.get(name, lambda *_, **__: ""))
    steps.wrap(FileLayer, "pieces")  # called while the engine reads
    steps.wrap(store, "write_record", lambda _, record: record.status)
    for name in ("tell", "end", "let_go"):
        steps.wrap(held.Hold, name)
    for name in FILE_CALLS:
        steps.wrap(os, name)


def in_a_child(
    work: Callable[[], int], output: Path, meanwhile: Callable[[int], None] | None = None
) -> int:
    """Do something in a process of its own, which reads nothing.

    Args:
        work: what to do; returns the exit code.
        output: where what it prints goes.
        meanwhile: done here; is told the process's id.

    Returns:
        Its exit code, negative when a signal ended it.
    """
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            target = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(target, 1)
            os.dup2(target, 2)
            sys.stdout = os.fdopen(1, "w", closefd=False)  # pytest has put others in their place
            sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1)
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            sys.stdout.flush()
            os._exit(code)
    if meanwhile:
        meanwhile(child)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def hide(directory: Path) -> None:
    """Lay another disk over a directory, which nobody but this process and its children sees."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(directory)], check=True)
