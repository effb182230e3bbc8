"""A small process that cleans up behind a worker of Ray's, however that ends.

A worker is killed without warning: by Ray, with its node, by the kernel. Its container would go on.
So each worker holds the end of a pipe, and a process in a session of its own reads the other. When
the pipe closes without the word that all is well, the containers with the worker's label are
removed; its directory in any case. It is there before the directory, and the label is known before
any container is made, so there is no gap.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import IO, Any, cast

from msgspec.structs import replace

from reprorun.engine import Engine, connect
from reprorun.errors import EngineError
from reprorun.model import ContainerSpec

LABEL = "reprorun.leash"
"""Label of a container: the worker that made it."""

PATIENCE = 600.0  # seconds that the engine may be away
_PAUSE = 2.0  # seconds between two tries
_SETTLING = (0.5, 1.0, 2.0, 4.0)  # seconds; the engine may still be creating what was asked for
_BUSY, _WELL, _KEEP = "busy", "well", "keep"


class Leash:
    """The worker's end.

    Args:
        name: of the worker; value of its containers' label.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        words = [sys.executable, "-m", "reprorun.cluster.leash", name]
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
        assert process.stdin
        self._pipe = process.stdin
        process.wait()  # it has left a child that is nobody's: Ray ends the children of its workers

    def begin(self, place: str) -> None:
        """Said before all else: the directory that goes with the worker."""
        self._say(json.dumps(place))

    def busy(self) -> None:
        """Containers may be made from now on."""
        self._say(_BUSY)

    def well(self) -> None:
        """None is left of those since the last `busy`, but for what is to be kept."""
        self._say(_WELL)

    def keep(self, container: str) -> None:
        """Leave that container alone: it holds the only copy of something."""
        self._say(f"{_KEEP} {container}")

    def engine(self, engine: Engine) -> Engine:
        """The same engine, which gives its containers the label."""
        return cast(Engine, _Labelling(engine, {LABEL: self.name}))

    def close(self) -> None:
        """Let go, as the worker's end would."""
        self._pipe.close()

    def _say(self, line: str) -> None:
        self._pipe.write(f"{line}\n".encode())
        self._pipe.flush()


class _Labelling:
    """An engine that adds labels to the containers that it creates."""

    def __init__(self, engine: Engine, labels: dict[str, str]) -> None:
        self._engine = engine
        self._labels = labels

    def create(self, spec: ContainerSpec) -> str:
        return self._engine.create(replace(spec, labels={**spec.labels, **self._labels}))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


# ---------------------------------------------------------------- the other end


def watch(
    lines: Iterator[str],
    name: str,
    reach: Callable[[], Engine],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the worker lets go, then clean up behind it.

    Args:
        lines: what it says, to the end.
        name: of the worker.
        reach: connects to its engine.
        sleep: waits so many seconds.
    """
    place = next(lines, None)
    if place is None:  # it had not begun
        return
    well, kept = _listen(lines)
    if not well:
        _clear(name, kept, reach, sleep)
    shutil.rmtree(json.loads(place), ignore_errors=True)


def _listen(lines: Iterable[str]) -> tuple[bool, set[str]]:
    """Whether all was well each time, and which containers the worker wants to be kept."""
    open_ones, kept = 0, set()
    for line in lines:
        word, _, container = line.strip().partition(" ")
        open_ones += (word == _BUSY) - (word == _WELL)
        if word == _KEEP:
            kept.add(container)
    return open_ones == 0, kept


def _clear(
    name: str, kept: set[str], reach: Callable[[], Engine], sleep: Callable[[float], None]
) -> None:
    """Remove containers, also those that the engine is only now making."""
    waited = 0.0
    while not _cleared(name, kept, reach) and waited < PATIENCE:
        sleep(_PAUSE)
        waited += _PAUSE
    for seconds in _SETTLING:
        sleep(seconds)
        _cleared(name, kept, reach)


def _cleared(name: str, kept: Iterable[str], reach: Callable[[], Engine]) -> bool:
    """Remove the worker's containers. False where the engine does not let us."""
    try:
        with closing(reach()) as engine:
            for container in engine.labelled_containers(f"{LABEL}={name}"):
                if container.id not in kept:
                    engine.remove(container.id)
    except EngineError:
        return False
    return True


def _detach() -> None:
    """Go on as a process that is nobody's child and that no signal for the worker reaches."""
    if os.fork():
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _lines(pipe: IO[bytes]) -> Iterator[str]:
    return (line.decode(errors="replace") for line in pipe)


if __name__ == "__main__":
    _detach()
    watch(_lines(sys.stdin.buffer), sys.argv[1], connect)
