"""The programs that every fake container has: `sleep`, and as much of `sh -c` as tests need.

`sh -c SCRIPT` understands echo (with `>&2` and `>FILE`), exit, sleep, rm, cat, `stty size`,
`kill -KILL $$` and `trap '' INT`, separated by semicolons.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

from .process import FakeProcess, Killed, Program


def not_found(process: FakeProcess) -> int:
    """In place of a program that is not there."""
    process.say(f"{process.spec.command[0]}: not found\n", "stderr")
    return 127


def _sleep(process: FakeProcess) -> int:
    process.sleep(float(process.spec.command[1]))
    return 0


def _shell(process: FakeProcess) -> int:
    for statement in process.spec.command[2].split(";"):
        words = shlex.split(statement)
        if not words:
            continue
        if words[0] == "exit":
            return int(words[1])
        _SHELL[words[0]](process, words[1:])
    return 0


def _echo(process: FakeProcess, words: list[str]) -> None:
    if words and words[-1] == ">&2":
        process.say(" ".join(words[:-1]) + "\n", "stderr")
    elif words and words[-1].startswith(">"):
        process.write(words[-1][1:], (" ".join(words[:-1]) + "\n").encode())
    else:
        process.say(" ".join(words) + "\n")


def _kill(process: FakeProcess, words: list[str]) -> None:
    process.killed.set()
    raise Killed


def _trap(process: FakeProcess, words: list[str]) -> None:
    process.ignores_interrupts = words == ["", "INT"]


def _cat(process: FakeProcess, words: list[str]) -> None:
    while piece := process.read():
        process.say(piece.decode())


def _stty(process: FakeProcess, words: list[str]) -> None:
    process.say(f"{process.size[0]} {process.size[1]}\n")


_SHELL: dict[str, Callable[[FakeProcess, list[str]], None]] = {
    "echo": _echo,
    "sleep": lambda process, words: process.sleep(float(words[0])),
    "rm": lambda process, words: process.remove(words[0]),
    "kill": _kill,
    "cat": _cat,
    "stty": _stty,
    "trap": _trap,
}


PROGRAMS: dict[str, Program] = {"sh": _shell, "sleep": _sleep}
