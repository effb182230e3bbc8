"""Calling uv, which resolves packages; its own words become our errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping

from reprorun.environment.credentials import strip_in_text
from reprorun.errors import LockFailed
from reprorun.model import BaseImage

# What `--python-platform` knows; a wheel for an older glibc runs on a newer one.
_GLIBC = (
    "2_17",
    "2_28",
    "2_31",
    "2_32",
    "2_33",
    "2_34",
    "2_35",
    "2_36",
    "2_37",
    "2_38",
    "2_39",
    "2_40",
)


class UvFailed(LockFailed):
    """uv ended with an error; `said` is all that it printed."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


def run_uv(
    arguments: list[str], *, offline: bool, cwd: str, variables: Mapping[str, str] | None = None
) -> str:
    """Run uv and return what it printed on stdout.

    Args:
        arguments: of uv. Everybody on this machine can read them.
        offline: open no connection.
        cwd: where it runs.
        variables: for its environment, beside our own.

    Raises:
        UvFailed: the message is its explanation, without credentials.
        LockFailed: there is no uv.
    """
    from uv import find_uv_bin

    try:
        uv = find_uv_bin()
    except FileNotFoundError as error:
        raise LockFailed(
            f"there is no uv ({error}). Install reprorun anew; it brings it."
        ) from error
    command = [uv, *arguments, "--quiet", "--no-progress", "--color", "never"]
    if offline:
        command.append("--offline")
    env = {**os.environ, **(variables or {})}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UvFailed(_explanation(done.stderr, offline), done.stderr)
    return done.stdout


def for_image(base: BaseImage) -> list[str]:
    """The flags that make uv choose for the image's Python, and run nothing of what it finds."""
    # `--python`: or it would look for an interpreter of that version, and ask each that it finds
    return [
        *("--python", sys.executable, "--python-version", base.python),
        *("--python-platform", _platform(base), "--only-binary", ":all:"),
    ]


def _platform(base: BaseImage) -> str:
    kind, _, version = base.libc.partition(" ")
    if kind != "glibc":
        return f"{base.machine}-unknown-linux-musl"
    usable = [known for known in _GLIBC if _number(known) <= _number(version.replace(".", "_"))]
    return f"{base.machine}-manylinux_{usable[-1] if usable else _GLIBC[0]}"


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("_"))


def _explanation(stderr: str, offline: bool) -> str:
    text = "\n".join(line.rstrip() for line in stderr.strip().splitlines())
    text = re.sub(r"\s*\(i\.e\., with `[^`]*`\)", "", text)  # flags that the user never gave
    advice = "\nWith --offline only what is in the cache can be had." if offline else ""
    return f"the packages could not be had: {strip_in_text(text.removeprefix('error: '))}{advice}"
