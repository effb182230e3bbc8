"""Calling uv, which resolves and installs packages; its own words become our errors."""

from __future__ import annotations

import subprocess

from reprorun.errors import LockFailed
from reprorun.model import BaseImage

# What `--python-platform` knows; a wheel for an older glibc runs on a newer one.
_GLIBC = ("2_17", "2_28", "2_31", "2_32", "2_33", "2_34", "2_35", "2_36", "2_37", "2_38", "2_39")


def run_uv(arguments: list[str], *, offline: bool, cwd: str) -> str:
    """Run uv and return what it printed on stdout.

    Raises:
        LockFailed: uv failed; the message is its explanation.
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
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LockFailed(_explanation(done.stderr, offline))
    return done.stdout


def for_image(base: BaseImage) -> list[str]:
    """The flags that make uv choose for the image's Python, not for the host's."""
    return [
        "--python-version",
        base.python_minor,
        "--python-platform",
        _platform(base),
        "--only-binary",
        ":all:",
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
    advice = "\nWith --offline only what is in the cache can be had." if offline else ""
    return f"the packages could not be had: {text.removeprefix('error: ')}{advice}"
