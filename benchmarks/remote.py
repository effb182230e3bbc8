"""What an engine on another machine costs: a run over ssh against one on this machine's engine, and
the way home of large outputs against `docker cp`, over the same ssh.

    python benchmarks/remote.py [PAIRS] [--quick]

needs root, a running engine, a base image and sshd. The machine is this one, over loopback; its
engine does not see the records, for another disk lies over their directory where the command runs.
Exit code 1 when a target is missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

import docker
from measuring import (
    MEGABYTE,
    REPRORUN,
    Effort,
    Figure,
    Target,
    alone,
    compared,
    run,
    seconds,
    trivial_project,
)

from reprorun.engine import connect
from reprorun.workflow.carrying import carry_home

if TYPE_CHECKING:
    from tests.engine.ways import Sshd

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

BASE = os.environ.get("REPRORUN_BASE_IMAGE", "python:3.11-slim")
SIZE, QUICK_SIZE = 1_000, 50  # MB
_HIDE = 'mount -t tmpfs tmpfs "$0" && echo ready && exec sleep 86400'
_THERE = 'cd "$0" && exec "$@"'


def measure(effort: Effort) -> Iterator[Figure]:
    """The figures."""
    from tests.engine.ways import running_sshd

    with tempfile.TemporaryDirectory() as place, running_sshd() as sshd:
        sshd.stop()
        sshd.start(f"SetEnv HOME={place}")  # empty: what a login reads there is not ours to measure
        env = {**os.environ, **sshd.env}
        near, far = (os.path.join(place, name, "trivial") for name in ("near", "far"))
        for project in (near, far):
            trivial_project(project)
            os.mkdir(os.path.join(project, "data"))
        with hidden(os.path.join(far, "data")) as there:
            for what, configured in (
                ("a trivial run over ssh, nothing changed, an empty home there", nullcontext()),
                ("the same, with a shared connection (ControlPersist)", sharing(sshd)),
            ):
                with configured:
                    yield compared(
                        what,
                        "the same on this machine's engine",
                        lambda: there(far, env),
                        lambda: there(near, dict(os.environ)),
                        effort,
                        Target(at_most=2.0),
                    )
        megabytes = effort.size(SIZE, QUICK_SIZE)
        with container_with(megabytes) as name, patch.dict(os.environ, sshd.env):
            yield compared(
                f"{megabytes:,} MB of outputs brought home over ssh",
                "`docker cp` over ssh",
                partial(in_scratch, partial(bring_home, name)),
                partial(in_scratch, partial(copy, name)),
                Effort(pairs=min(effort.pairs, 5)),
                Target(at_least=0.5),
            )


@contextmanager
def sharing(sshd: Sshd) -> Iterator[None]:
    """The user's ssh shares its connection, which stays; none is left in the end."""
    alone = sshd.config.read_text()
    sshd.share("ControlMaster auto", "ControlPersist 60")
    try:
        yield
    finally:
        sshd.ask("-O", "exit")
        sshd.config.write_text(alone)


@contextmanager
def hidden(directory: str) -> Iterator[Callable[[str, dict[str, str]], float]]:
    """A place where another disk lies over a directory; yields what times a run there."""
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _HIDE, directory]
    sleeper = subprocess.Popen(words, stdout=subprocess.PIPE)
    try:
        if not (sleeper.stdout and sleeper.stdout.readline()):
            raise SystemExit("another disk can't be mounted: it needs root")
        enter = ("nsenter", "--target", str(sleeper.pid), "--mount", "sh", "-c", _THERE)
        yield (
            lambda project, env: (
                run(*enter, project, REPRORUN, "exec", "trivial.py", env=env).seconds
            )
        )
    finally:
        sleeper.kill()
        sleeper.communicate()


@contextmanager
def container_with(megabytes: int) -> Iterator[str]:
    """A container that has written a file into its log directory."""
    with closing(docker.from_env()) as client:
        script = f"mkdir -p /log && head -c {megabytes * MEGABYTE} /dev/urandom >/log/large.bin"
        labels = {"reprorun": "benchmark"}
        made = client.containers.create(BASE, ["sh", "-c", script], labels=labels)
        try:
            made.start()
            made.wait()
            yield str(made.id)
        finally:
            made.remove(force=True)


def in_scratch(work: Callable[[str], float]) -> float:
    """Do something in a directory that is thrown away."""
    with tempfile.TemporaryDirectory() as place:
        return work(place)


def bring_home(container: str, place: str) -> float:
    """Seconds that it takes as at the end of a run."""
    with closing(connect()) as engine:
        engine.info()
        return seconds(lambda: carry_home(engine, container, place))


def copy(container: str, place: str) -> float:
    """Seconds of docker's own client."""
    return run("docker", "cp", f"{container}:/log", place).seconds


if __name__ == "__main__":
    sys.exit(alone(measure, __doc__))
