"""Options that commands share, and the reading of their values."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

import click

from reprorun.errors import UsageError
from reprorun.experiment.gpus import VARIABLE as GPUS_VARIABLE
from reprorun.experiment.guest import VARIABLE as GUEST_VARIABLE
from reprorun.experiment.varied import VARIABLE as VARIED_VARIABLE
from reprorun.json_text import read_value

SETTINGS = {  # as reprorun.settings has them; here so that --help needs no import
    "base-image": ("REF", "Image to build on (default: python:X.Y-slim)."),
    "file": ("DOCKERFILE", "Build this file of the project and use it as the base image."),
    "lock": ("FILE", "Lock file that says which packages, in place of the nearest such file."),
    "python": ("X.Y", "Python in the container (default: what the project says, else this one)."),
    "platform": ("OS/ARCH", "linux/amd64 or linux/arm64 (default: the engine's own)."),
    "as-of": ("DATE|commit", "Packages of that day, or of the day of the commit."),
    "gpus": ("WHICH", "all, a number, device=I,J or none (default: where the engine has them)."),
    "network": ("NAME", "none (default), bridge or host."),
    "memory": ("SIZE", "Memory limit, such as 512m or 4g."),
    "cpus": ("N", "Processors, such as 1.5."),
    "shm-size": ("SIZE", "Shared memory (default: 1g)."),
    "timeout": ("TIME", "Stop it after that long, such as 90s or 2h."),
    "numerics": ("HOW", "native (default), or portable: numbers the same on other processors."),
}
HELP = {"help_option_names": ["-h", "--help"]}


def with_options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Decorates a command with several flags; `--help` lists them in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def with_settings(names: Iterable[str]) -> Callable[[Any], Any]:
    """Decorates a command with the flags of some settings."""
    return with_options(*(_of_setting(name, *SETTINGS[name]) for name in names))


def _of_setting(name: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}", metavar=metavar, help=text)


with_archive_limits = click.option(
    "--archive-limits", metavar="FILES,SIZE",
    help="Most that an archive may unpack to (default: 200000,8g).",
)  # fmt: skip
"""Decorates a command that reads a launch archive."""


def limits_of(text: str | None) -> Any:
    """The limits of an archive.

    Raises:
        UsageError: the text is no such pair.
    """
    from reprorun import settings
    from reprorun.launch_archive import ArchiveLimits

    if text is None:
        return ArchiveLimits()
    number, comma, size = text.partition(",")
    try:
        if not comma or not number.strip().isdecimal():
            raise ValueError("is no pair such as 500000,20g")
        return ArchiveLimits(files=int(number), size=settings.parse_size(size))
    except ValueError as error:
        raise UsageError(f"--archive-limits: {text!r} {error}.") from error


def parse_params(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`-P KEY=VALUE`: a JSON value; text that is no JSON is taken as it stands.

    Raises:
        UsageError: no key, or one of Python's words where JSON has its own.
    """
    params = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"-P {pair}: give it as KEY=VALUE, with KEY a parameter's name.")
        params[key] = read_value(text, f"-P {pair}")
    return params


def parse_env(entries: tuple[str, ...]) -> dict[str, str]:
    """`-e KEY=VALUE`, or `-e KEY` for the host's value.

    Raises:
        UsageError: no name, or a bare name that the host has not.
    """
    env = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            # without the value, which may be a secret
            raise UsageError(f"-e {name}: give it as KEY=VALUE, or KEY for the host's value.")
        if name in (GUEST_VARIABLE, VARIED_VARIABLE, GPUS_VARIABLE):
            raise UsageError(f"-e {name}: reprorun sets this variable itself.")
        if not equals:
            if name not in os.environ:
                raise UsageError(f"-e {name}: the host has no variable of that name to pass on.")
            value = os.environ[name]
        env[name] = value
    return env


def named_twice(given: dict[str, Any], name: str, log_dir: str) -> None:
    """Raise UsageError where two flags say where the record goes."""
    if given.get(name) is not None and given.get(log_dir) is not None:
        raise UsageError("--name and --log-dir both say where the record goes; give one of them.")


def refuse_empty(given: dict[str, Any], *flags: str) -> None:
    """Raise UsageError where a flag that names something is empty."""
    for flag in flags:
        if given.get(flag) == "":
            raise UsageError(f"--{flag.replace('_', '-')} is empty.")


def cpu_forced(force_cpu: bool, gpus: str | None) -> str | None:
    """The value of --gpus, with --force-cpu taken into account.

    Raises:
        UsageError: they contradict each other.
    """
    if not force_cpu:
        return gpus
    if gpus not in (None, "none", "0"):
        raise UsageError(f"--force-cpu and --gpus {gpus} contradict each other.")
    return "none"
