"""The engine is killed while a build runs something: for apt.txt, or of the project's Dockerfile.

On a dockerd of its own, by its own builder and by BuildKit.
"""

from __future__ import annotations

import io
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from reprorun.errors import EngineError

from ..engine.bench import Done
from ..engine.daemon import Daemon
from ..kit import BASE
from .base import Fault
from .engine import containers, engine
from .lab import Lab, lab
from .looking import false_after, message, unfinished

PATIENCE = 60.0  # seconds until the step is under way
TAKES = 3  # seconds that it takes
DOCKERFILE = f"FROM {BASE}\nRUN echo one >/one\nRUN {{slow}} && echo two >/two\n"
SLOW_APT = f"""\
FROM {BASE}
RUN rm -rf /etc/apt/sources.list /etc/apt/sources.list.d \\
    && echo 'APT::Update::Pre-Invoke {{{{ "{{slow}}"; }}}};' >/etc/apt/apt.conf.d/slow
"""
INSTALLED = "coreutils"  # there already: nothing has to be fetched


def of_a_dockerfile(made: Lab, slow: str) -> tuple[str, ...]:
    """A project with a Dockerfile of its own."""
    made.write({"Dockerfile": DOCKERFILE.format(slow=slow)})
    return ("--file", "Dockerfile")


def of_apt(made: Lab, slow: str) -> tuple[str, ...]:
    """A project with apt.txt, and a base image whose apt takes its time."""
    tag = f"reprorun-test/slow-apt:{uuid.uuid4().hex[:8]}"
    client = made.client()
    try:
        text = io.BytesIO(SLOW_APT.format(slow=slow).encode())
        client.images.build(fileobj=text, tag=tag, network_mode="none", rm=True)
    finally:
        client.close()
    made.write({"apt.txt": INSTALLED})
    return ("--base-image", tag)


class Case(NamedTuple):
    """What is built, and how."""

    name: str
    project: Callable[[Lab, str], tuple[str, ...]]
    buildkit: bool = False
    live: bool = False  # with live-restore

    def __str__(self) -> str:
        way = ", BuildKit" if self.buildkit else ""
        return f"SIGKILL while {self.name} runs{way}{', live-restore' if self.live else ''}"


def inject(case: Case, place: Path) -> list[str]:
    """Kill the engine in the middle of the step, start it again, and build once more."""
    own = engine(live=case.live, bridge=case.buildkit)  # which BuildKit wants
    with lab(place, own.address) as made:
        (_give_buildx if case.buildkit else _hide_buildx)(made)
        slow = f"sleep {TAKES}.{uuid.uuid4().int % 10**9:09}"
        flags = case.project(made, slow)
        made.script()
        before = set(containers(own.address))
        done = _struck(made, own, flags, slow)
        after = made.run(*flags)
        wrong = [*_ended_badly(done), *unfinished(made, after), *false_after(made, after)]
        left = set(containers(own.address)) - before
        return [*wrong, *(f"the container {name} is left" for name in left)]


def _ended_badly(done: Done) -> Iterator[str]:
    """What is wrong with the end of the command; the last lines of a build may be in its error."""
    if done.code != EngineError.exit_code or "Traceback" in done.err or not message(done):
        yield f"it ended with {done.code}: {done.err.strip()[-300:]}"


def _struck(made: Lab, own: Daemon, flags: tuple[str, ...], slow: str) -> Done:
    """A run whose engine is killed when a build has come to its slow step."""
    process, log_dir = made.start("train.py", *flags)
    end = time.monotonic() + PATIENCE
    while not any(_programs(slow)):
        if time.monotonic() > end or process.poll() is not None:
            raise TimeoutError(f"the step is not taken: {process.communicate()[1][-300:]!r}")
        time.sleep(0.02)
    os.kill(own.pid, signal.SIGKILL)
    own.ended()
    own.start()
    out, err = process.communicate()
    return Done(process.returncode, out.decode(), err.decode(), log_dir)


def _programs(words: str) -> Iterator[str]:
    """Processes that were started with exactly these words."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().rstrip(b"\0").replace(b"\0", b" ") == words.encode():
                yield path.parent.name
        except OSError:
            continue  # it has ended


def _give_buildx(made: Lab) -> None:
    """Let docker's client have the plugin of the tests."""
    plugins = made.place / "docker/cli-plugins"
    plugins.mkdir(parents=True)
    plugin = Path(os.environ["REPRORUN_TEST_BUILDX"]) / "docker-buildx"
    (plugins / plugin.name).symlink_to(plugin)
    made.env["DOCKER_CONFIG"] = str(plugins.parent)


def _hide_buildx(made: Lab) -> None:
    """Let there be a client without it, whatever this machine has."""
    client = made.place / "bin/docker"
    client.parent.mkdir()
    client.write_text("#!/bin/sh\nexit 1\n")
    client.chmod(0o755)
    made.env["PATH"] = f"{client.parent}:{made.env['PATH']}"


def _cases() -> Iterator[Case]:
    for name, project in (("a Dockerfile", of_a_dockerfile), ("apt.txt", of_apt)):
        yield Case(name, project)
        yield Case(name, project, live=True)
        yield Case(name, project, buildkit=True)


FAULTS = tuple(
    Fault(
        str(case),
        f"dockerd is killed while a build runs a step of {case.name}",
        partial(inject, case),
    )
    for case in _cases()
)
