"""File systems that are small or read-only, in mount namespaces that go with what uses them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..engine.daemon import Daemon, daemon, hand_over
from ..kit import BASE
from .lab import Lab, lab

READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'


class Mounts:
    """Mounts small file systems where the engine and the commands of a lab see them.

    Args:
        made: its commands run in the engine's mount namespace from now on.
        process: the engine's.
    """

    def __init__(self, made: Lab, process: int) -> None:
        self._enter = ("nsenter", "--mount", f"--target={process}")
        made.as_user(*self._enter, "sh", "-c", 'cd "$0" && exec "$@"', str(made.root))
        made.through = f"/proc/{process}/root"

    def call(self, *words: object) -> None:
        """Run a program there."""
        subprocess.run([*self._enter, *map(str, words)], check=True, capture_output=True)

    @contextmanager
    def small(self, place: Path, options: str) -> Iterator[None]:
        """A small file system, until the block ends."""
        place.mkdir(exist_ok=True)
        self.call("mount", "-t", "tmpfs", "-o", options, "small", place)
        try:
            yield
        finally:
            self.call("umount", "--lazy", place)


@contextmanager
def beside_an_engine(place: Path) -> Iterator[tuple[Lab, Mounts]]:
    """A lab with an engine of its own, and mounts that both see."""
    with daemon() as own:
        hand_over(BASE, own.address)
        process = Path(own.address.removeprefix("unix://")).with_name("pid").read_text()
        with lab(place, own.address) as made:
            made.script()
            yield made, Mounts(made, int(process))


@contextmanager
def daemon_on_small_disk(programs: Path, size: str) -> Iterator[Daemon]:
    """An engine whose data are on a file system of that size."""
    programs.mkdir()
    wrapper = programs / "dockerd"  # found first, in the mount namespace that it will have
    wrapper.write_text(
        "#!/bin/sh\n"
        'for word; do [ "$last" = --data-root ] && data=$word; last=$word; done\n'
        f'mkdir -p "$data" && mount -t tmpfs -o size={size} small "$data" || exit\n'
        f'exec {shutil.which("dockerd")} "$@"\n'
    )
    wrapper.chmod(0o755)
    with daemon(path=programs) as own:
        yield own


def alone(made: Lab, place: Path, mount: str) -> None:
    """Let each command of a lab have a mount of its own, which the engine does not see.

    Args:
        made: the lab.
        place: what is mounted on; `$1` in the command.
        mount: the command.
    """
    script = f'{mount} && cd "$2" && shift 2 && exec "$@"'
    made.as_user("unshare", "--mount", "sh", "-c", script, "sh", str(place), str(made.root))
